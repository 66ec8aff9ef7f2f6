# One image for every role of a swarm: `docker run IMAGE worker`, `docker run IMAGE
# target`. It holds the static executable with the web page, the certificates that TLS to Redis or to
# a target is checked against, and no shell.

FROM node:22 AS page
WORKDIR /ui
COPY master/web/ui/package.json master/web/ui/package-lock.json master/web/ui/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --loglevel=error
COPY master/web/ui ./
RUN npm run --silent build

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
COPY --from=page /ui/dist master/web/ui/dist
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/throng ./cmd/throng
# What the image's user may write to; a volume that is mounted there is its too.
RUN mkdir -p /var/lib/throng/throng-runs /data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /var/lib/throng /var/lib/throng
COPY --from=build --chown=65532:65532 /data /data
COPY --from=build /out/throng /throng
USER 65532:65532
WORKDIR /var/lib/throng
ENTRYPOINT ["/throng"]
# Right for workers and probes, which are what one scales; other roles give a URL.
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 CMD ["/throng", "health"]

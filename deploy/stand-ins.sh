#!/bin/sh
# stand-ins.sh: makes the images that the Dockerfile and docker-compose.yml name and
# that cannot be pulled, from Debian's packages and from the Go and the
# Node that are installed here, under the same names. Needs root and debootstrap.
#
#   stand-ins.sh make FOLDER    what is missing; the Debian tree is kept in FOLDER
#   stand-ins.sh remove         the names; the layers stay as throng-stand-in
#
# An image that is there or can be pulled is left alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

node=$(sed -n 's/^FROM \(node:[^ ]*\) .*/\1/p' "$root/Dockerfile")
golang=$(sed -n 's/^FROM \(golang:[^ ]*\) .*/\1/p' "$root/Dockerfile")
redis=$(sed -n 's/^ *image: \(redis:.*\)/\1/p' "$root/docker-compose.yml")
locust=$(sed -n 's/^ *image: \(locustio\/.*\)/\1/p' "$root/docker-compose.yml")

# What a build image holds depends on what is to be built.
of() { cksum <"$1" | cut -d ' ' -f 1; }
node_role=node-$(of "$root/master/web/ui/package-lock.json")
golang_role=golang-$(of "$root/go.sum")
redis_role=redis locust_role=locust

# have NAME: the image is there, or can be pulled.
have() {
	docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull -q "$1" >/dev/null 2>&1
}

# id NAME: the image's, or nothing.
id() { docker image inspect -f '{{.Id}}' "$1" 2>/dev/null || true; }

# stand_in ROLE NAME CHANGES... reads a file system and names it as an image.
stand_in() {
	role=$1 name=$2
	shift 2
	echo "$name cannot be pulled: a stand-in is made of what is installed here"
	docker import "$@" - "throng-stand-in:$role" >/dev/null
	docker tag "throng-stand-in:$role" "$name"
}

# kept ROLE NAME: there is a stand-in from before.
kept() { docker tag "throng-stand-in:$1" "$2" 2>/dev/null; }

# debian PACKAGES...: a small Debian, once for all images.
debian() {
	[ -e "$tree/made" ] && return
	. /etc/os-release
	rm -rf "$tree"
	# debootstrap follows no virtual package: python3-zmq wants one of python3-cffi-backend.
	debootstrap --variant=minbase --include=ca-certificates,redis-server,redis-tools,python3-cffi-backend,python3-locust \
		"$VERSION_CODENAME" "$tree" >"$folder/debootstrap.log" 2>&1 || { tail "$folder/debootstrap.log"; exit 1; }
	touch "$tree/made"
}

files() { tar -C "$tree" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' --exclude='./var/cache/apt/*' --exclude=./made -cf - "$@"; }

make_all() {
	if ! have "$redis" && ! kept redis "$redis"; then
		debian
		mkdir -p "$tree/data" && chroot "$tree" chown redis:redis /data
		files . | stand_in redis "$redis" -c 'WORKDIR /data' -c 'VOLUME /data' -c 'USER redis' -c 'CMD ["redis-server"]'
	fi
	if ! have "$locust" && ! kept locust "$locust"; then
		debian
		chroot "$tree" id -u locust >/dev/null 2>&1 || chroot "$tree" useradd -m locust
		files . | stand_in locust "$locust" -c 'WORKDIR /home/locust' -c 'USER locust' -c 'ENTRYPOINT ["locust"]'
	fi
	if ! have "$node" && ! kept "$node_role" "$node"; then
		debian
		binary=$(readlink -f "$(command -v node)")
		npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
		# The packages of the lock file alone, from here: the build needs no network.
		mkdir -p "$folder/ui"
		(cd "$root/master/web/ui" && cp package.json package-lock.json .npmrc "$folder/ui")
		(cd "$folder/ui" && npm ci --cache "$folder/npm" --loglevel=error)
		mkdir -p "$folder/bin"
		ln -sf "$binary" "$folder/bin/node"
		ln -sf "$npm/bin/npm-cli.js" "$folder/bin/npm"
		# Not in the cache's usual place, which the Dockerfile mounts something else on.
		files . -C / "${binary#/}" "${npm#/}" "${folder#/}/npm" "${folder#/}/bin" | stand_in "$node_role" "$node" \
			-c "ENV PATH=$folder/bin:/usr/sbin:/usr/bin:/sbin:/bin npm_config_cache=$folder/npm npm_config_offline=true npm_config_registry=$(npm config get registry)"
	fi
	if ! have "$golang" && ! kept "$golang_role" "$golang"; then
		debian
		goroot=$(go env GOROOT)
		modules=$folder/modules
		# The modules of go.mod alone, from here: the build needs no network.
		(cd "$root" && GOMODCACHE=$modules GOFLAGS=-modcacherw GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download)
		files . -C / "${goroot#/}" "${modules#/}/cache/download" | stand_in "$golang_role" "$golang" \
			-c "ENV PATH=$goroot/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPATH=/go GOTOOLCHAIN=local GOPROXY=file://$modules/cache/download"
	fi
}

[ "${1-}" = make ] && [ -z "${2-}" ] && set -- help
case "${1-}" in
make)
	folder=$(mkdir -p "$2" && cd "$2" && pwd)
	tree=$folder/debian
	make_all
	;;
remove)
	for image in redis locust node golang; do
		eval "name=\$$image role=\$${image}_role"
		if [ "$(id "$name")" = "$(id "throng-stand-in:$role")" ]; then
			docker image rm "$name" >/dev/null 2>&1 || true
		fi
	done
	;;
*)
	echo "use: stand-ins.sh make FOLDER | stand-ins.sh remove" >&2
	exit 2
	;;
esac

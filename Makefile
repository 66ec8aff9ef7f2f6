# Names for commands that one could type. `make trial` runs a whole swarm,
# `make test` passes the tests; both do all set-up on Debian with Go.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
TIMED = sh .ci/timed

.PHONY: build ui trial test lint bench fuzz chaos mutants locust compose-test scale setup clean

# With the web page where Node can build it.
build:
	@if sh .ci/node quiet; then $(MAKE) --no-print-directory ui; fi
	@$(MAKE) --no-print-directory bin/throng

# The web page, which the executable embeds. It is built anew when its sources
# are newer than it.
UI = master/web/ui
ui: $(UI)/dist/index.html

$(UI)/dist/index.html: $(UI)/package.json $(UI)/package-lock.json $(UI)/vite.config.js $(UI)/index.html $(wildcard $(UI)/src/*)
	@sh .ci/node
	cd $(UI) && npm ci --no-audit --no-fund --loglevel=error && rm -rf dist/assets dist/index.html && npm run --silent build

# The Go tool knows best what has changed.
.PHONY: bin/throng
bin/throng:
	CGO_ENABLED=0 go build -trimpath -o bin/throng ./cmd/throng

# Flags for the trial: make trial ARGS="-u 500 -t 1m"
trial: bin/throng
	./bin/throng trial $(ARGS)

test:
	@$(TIMED) "set-up" sh .ci/setup
	@$(TIMED) "build and lint" $(MAKE) --no-print-directory build lint
	@$(TIMED) "unit tests under -race" env CGO_ENABLED=1 go test -race -parallel 8 $$(go list ./... | grep -v -e /accounts -e /master/web)
	@# Two at a time: browsers are large, and pages wait for answers.
	@$(TIMED) "web under -race" env CGO_ENABLED=1 go test -race -parallel 2 ./master/web
	@# One after the other: their short leases want a machine that is not starved.
	@$(TIMED) "accounts under -race" env CGO_ENABLED=1 go test -race -p 1 -parallel 8 ./accounts/...
	@$(TIMED) "process tests" go test -count=1 -parallel 4 -tags process ./cmd/throng
	@$(TIMED) "web process tests" go test -count=1 -tags process -run 'Process' ./master/web

# What the tests need beside Go: see .ci/setup.
setup:
	sh .ci/setup

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go vet -tags process,compose ./...
	go run $(STATICCHECK) ./...

# Ratios within one run; the machine should be quiet. Nothing here passes or fails.
# Some fill pools with a million accounts: make bench BENCH='-short' leaves them out.
bench: setup
	go test -run '^$$' -bench . -timeout 30m $(BENCH) ./internal/... ./accounts/... ./scenarios/... ./worker/... ./master/web

# Every fuzz target for a while: make fuzz FUZZTIME=1m
FUZZTIME = 10s
fuzz:
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# Accounts under faults, for a while and a million hand-overs; short runs of it
# are part of the tests. THRONG_CHAOS_REPORT=FILE keeps the report as JSON.
CHAOSTIME = 10m
chaos: setup
	THRONG_CHAOS=$(CHAOSTIME) go test -count=1 -v -timeout 2h -run '^TestAccountsAreNeverSharedNorLost$$' ./accounts/chaos

# The same with the product broken on purpose, which must be noticed: one mutant
# with make mutants MUTANT=freeze-removed
MUTANT = all
mutants: setup
	THRONG_CHAOS_MUTANTS=$(MUTANT) go test -count=1 -v -timeout 2h -run '^TestMutants' ./accounts/chaos

# One master and one Redis with 10, 100 and 1,000 workers that report and run no
# users, and what that costs. It takes a core; the machine should be quiet.
SCALETIME = 5m
scale: setup
	THRONG_SCALE=$(SCALETIME) go test -count=1 -v -timeout 2h -run '^TestOneMasterCarriesAThousandWorkers$$' ./master/scale

# A real Locust master drives so many users, by throng's workers.
LOCUST_USERS = 5000
locust: setup
	THRONG_LOCUST_USERS=$(LOCUST_USERS) go test -count=1 -v -timeout 10m -tags process -run '^TestManyUsersOfLocust$$' ./cmd/throng

# What docker-compose.yml promises, with a real Docker: see docs/compose.md. Minutes.
compose-test:
	go test -tags compose -count=1 -v -timeout 30m ./deploy

clean:
	rm -rf bin

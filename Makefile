# What one types in this repository; `make help` lists it. Everything works on a
# new machine with Go, Node and npm. What else is needed is fetched by the
# target that needs it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARGS ?=
PLOTS ?= bin
FUZZTIME ?= 1m

# Static, and the same bytes from the same sources wherever they lie. The
# version comes from -ldflags, so Go need not ask git, which refuses to answer
# in a checkout that belongs to somebody else, as in many a container.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
GOLANGCI := go tool -modfile=tools/lint.mod golangci-lint
GOFILES = $(shell find . -name node_modules -prune -o -name '*.go' -print)

# The real identity provider, and who signs in at it, for the end-to-end tests.
PROVIDER := e2e/provider/node_modules/.package-lock.json

# Telnyx's SDK, for the softphone of `tokensvc dev`.
DEMO := web/demo/node_modules/.package-lock.json

# What checks the browser module, and everything else in web.
WEBTEST := web/test/node_modules/.package-lock.json

# What people write by hand in Node, to measure against.
HANDWRITTEN := bench/handwritten/node/node_modules/.package-lock.json

.PHONY: help
help: ## list the targets
	@sed -En 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' Makefile | expand -t 22

# The softphone registers with what npm fetches. Without it there are tokens all the
# same, so nothing that npm says stops anybody.
.PHONY: dev
dev: build ## run the service and a softphone on this machine, with a fake Telnyx and identity provider; ARGS="-listen 127.0.0.1:8088"
	@if ! command -v npm >/dev/null; then echo 'npm is not installed, so the softphone will not register: install Node and npm'; \
	else $(MAKE) --no-print-directory $(DEMO) || echo "npm could not fetch Telnyx's SDK, so the softphone will not register"; fi
	bin/tokensvc dev $(ARGS)

.PHONY: build
build: ## build bin/tokensvc
	$(GOBUILD) -o bin/tokensvc ./cmd/tokensvc

# build is here so that the end-to-end tests, which build too, find most of it
# done: on a cold machine that takes minutes, which are not theirs.
.PHONY: test
test: need lint build $(PROVIDER) $(WEBTEST) $(DEMO) ## check everything, as CI does; a skipped test is a failure
	@go build -o bin/gotest ./tools/gotest
	NO_SKIP=1 bin/gotest -race -count=1 -timeout=14m ./...
	@$(MAKE) --no-print-directory chart

# A module of its own, because Helm's and Kubernetes' packages are none of ours. They
# are compiled once, and so without the race detector, for which they would be again.
.PHONY: chart
chart: ## check the Helm chart
	@go build -o bin/gotest ./tools/gotest
	cd deploy/charttest && NO_SKIP=1 ../../bin/gotest -count=1 -timeout=10m ./...

.PHONY: chart-schema
chart-schema: ## have the chart's schema know the keys of docs/configuration.md
	cd deploy/charttest && go test -count=1 -run TestSchemaKnowsEveryKeyOfTheConfiguration . -write

.PHONY: verify-docs
verify-docs: need ## run what README.md and docs have one run, and compare what appears
	NO_SKIP=1 go test -count=1 ./e2e/manual

.PHONY: lint
lint: ## gofmt, go vet, golangci-lint
	@bad=$$(gofmt -l $(GOFILES)); [[ -z $$bad ]] || { printf 'gofmt would change:\n%s\n' "$$bad"; exit 1; }
	go vet ./...
	$(GOLANGCI) run

# What the packages' own tests execute of internal/. The servers that only tests use
# are not counted, and neither is what the end-to-end tests execute.
COVERED := grep -vE 'internal/([a-z/]*test|testserver)/'
.PHONY: cover
cover: need ## how much of internal/ its tests execute; fails below 85 %
	@mkdir -p bin
	go test -count=1 -timeout=14m -coverprofile=bin/cover.all ./internal/...
	@$(COVERED) bin/cover.all >bin/cover.out
	@go tool cover -func=bin/cover.out | awk '{ print > "bin/cover.txt"; all = $$NF } END { print "statements of internal/ that are executed: " all; exit all + 0 < 85 }'

# It takes hours: every mutant is compiled and tested.
.PHONY: mutate
mutate: ## change internal/authz and internal/handler in small ways, and see whether a test notices
	for package in authz handler; do \
		go tool -modfile=tools/mutate.mod gremlins unleash --timeout-coefficient 10 -E 'oidctest|contracttest' $(ARGS) ./internal/$$package; \
	done
	go run ./tools/mutatecases ./internal/authz ./internal/handler

# The database of what is known to be vulnerable is asked for over the network, or
# read from a folder: GOVULNDB=file:///path/to/it
.PHONY: vuln
vuln: ## look for known vulnerabilities in what this uses; GOVULNDB=file:///folder without a network
	go tool -modfile=tools/vuln.mod govulncheck $(if $(GOVULNDB),-db '$(GOVULNDB)') $(or $(ARGS),./...)

# The hash by which a page can say that it runs this module and no other.
.PHONY: integrity
integrity: ## put the hash of the browser's module into README.md
	@hash=$$(openssl dgst -sha384 -binary web/client/client.js | base64 | tr -d '\n'); \
	sed -i "s|sha384-[A-Za-z0-9+/=]*|sha384-$$hash|" README.md; grep -n 'sha384-' README.md

# Without a limit, making one input smaller can eat all of a target's minute.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (1m) each
	@grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz\w*' . | sort | \
	while IFS=: read -r file func; do \
		echo "$${file%/*} $${func#func }"; \
		go test -run='^$$' -fuzz="^$${func#func }\$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=5s "$${file%/*}" </dev/null; \
	done

.PHONY: bench
bench: $(HANDWRITTEN) ## measure what a token costs, beside bare net/http and servers written by hand; ARGS="-rounds 3"
	go run ./bench/vend -plot $(PLOTS)/latency.svg $(ARGS)

.PHONY: bench-storm
bench-storm: ## have 10,000 users log in within 10 s; ARGS="-replicas 2"
	@tools/need redis-server:redis-server
	go run ./bench/storm -plot $(PLOTS)/storm.svg $(ARGS)

.PHONY: dashboard
dashboard: ## draw docs/img/dashboard.png, the dashboard on the data of a storm; ARGS="-replicas 4"
	@tools/need redis-server:redis-server chromium:chromium prometheus:prometheus '/usr/lib/postgresql/*/bin/initdb:postgresql'
	go run ./bench/dashboard $(ARGS)

.PHONY: bench-flood
bench-flood: ## flood the service with forged bearers while somebody logs in
	go run ./bench/flood $(ARGS)

.PHONY: bench-memory
bench-memory: ## measure the memory of 100,000 cached tokens, the start and the binary
	go run ./bench/memory $(ARGS)

.PHONY: bench-directory
bench-directory: ## measure a directory of a million people, in SQLite and in PostgreSQL
	go run ./bench/directory $(ARGS)

.PHONY: reliability
reliability: need ## break everything the service needs for half a minute each, and write docs/reliability.md
	go test -count=1 -timeout=60m -v -run '$(or $(RUN),.)' ./e2e/reliability -fault 30s -document $(CURDIR)/docs/reliability.md $(ARGS)

SOAK ?= 1h

.PHONY: soak
soak: need ## run the service for SOAK (1h) at a moderate load, and see whether its memory stays flat; samples in bin/soak.csv
	@mkdir -p bin
	go test -count=1 -timeout=0 -v -run TestSoak ./e2e/reliability -soak $(SOAK) -soak-csv $(CURDIR)/bin/soak.csv $(ARGS)

.PHONY: bench-scale
bench-scale: ## count what a login costs Telnyx, Redis, PostgreSQL and the service, with 1, 2 and 4 replicas
	go run ./bench/scale $(ARGS)

# Images are built and run by buildah and runc, which want no daemon.
.PHONY: need-image
need-image:
	@tools/need buildah:buildah runc:runc systemd-analyze:systemd

# The race detector wants a C compiler, what dev prints for people is pasted by a
# test, the end-to-end tests want a browser, the directory's a PostgreSQL of their
# own, and those of what replicas share a Redis. Alerts are tried by promtool, a backup
# is made with sqlite3, certificates with openssl, and a disk is full by prlimit.
.PHONY: need
need: need-image
	@tools/need gcc:gcc curl:curl openssl:openssl /usr/include/stdlib.h:libc6-dev chromium:chromium \
		'/usr/lib/postgresql/*/bin/initdb:postgresql' redis-server:redis-server \
		promtool:prometheus sqlite3:sqlite3 prlimit:util-linux

$(PROVIDER): e2e/provider/package.json e2e/provider/package-lock.json
	npm ci --prefix e2e/provider --no-audit --no-fund
	@touch $@

$(DEMO): web/demo/package.json web/demo/package-lock.json
	npm ci --prefix web/demo --no-audit --no-fund --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000
	@touch $@

$(WEBTEST): web/test/package.json web/test/package-lock.json
	npm ci --prefix web/test --no-audit --no-fund
	@touch $@

$(HANDWRITTEN): bench/handwritten/node/package.json bench/handwritten/node/package-lock.json
	npm ci --prefix bench/handwritten/node --no-audit --no-fund
	@touch $@

# Weir's tasks; `make help` lists them. `make run` and `make test` need nothing
# prepared beyond Go: scripts/setup.sh installs what is missing, or says what to
# do. `.ci/run` is what CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
# A go.work around the checkout must not change what is built. The other two are
# ocb's build settings: with them tests and distribution share the build cache.
export GOWORK := off
export CGO_ENABLED ?= 0
export GOFLAGS := $(GOFLAGS) -trimpath -buildvcs=false

CONFIG    ?= examples/detect.yaml
export TESTFLAGS ?=
BENCH     ?= .
FUZZTIME  ?= 10s
TIMES     ?= 100
DURATION  ?=

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### the two that most people want

.PHONY: run
run: build ## watch this host's connections, a line each; CONFIG=file for another configuration
	@scripts/run.sh $(CONFIG)

.PHONY: test
test: build ## all tests; those that need the kernel run as root only, with sudo if it is there
	@scripts/setup.sh test
	@scripts/test.sh

.PHONY: score
score: ## what a replay tells of recorded traffic, beside what other tools tell of it; needs ../shared/corpora
	go test ./internal/engine -run '^TestScore$$' -count=1 -v

.PHONY: test-kernels
test-kernels: build ## tests on Debian's kernels 6.1 and 6.12, emulated; some 20 minutes; KERNELS selects
	@scripts/setup.sh kernels
	@scripts/kernels/run.sh

.PHONY: test-openssh
test-openssh: build ## the tests of SSH keys with the OpenSSH of another Debian RELEASE (trixie), as root
	@scripts/setup.sh openssh
	@scripts/openssh.sh

.PHONY: survival
survival: build ## end and start the Collector in every way under traffic, TIMES (100) each
	go test ./test/e2e -run TestSurvival -count=1 -v -timeout 60m -times $(TIMES)

.PHONY: mixed
mixed: build ## clients of every kind through the hold, while all happens to the Collector, for DURATION (10m), as root
	go test ./test/e2e -run '^TestMixed$$' -count=1 -v -timeout 120m -mixed $(or $(DURATION),10m)

.PHONY: subscribers
subscribers: build ## a hundred follow 20,000 events a second over the API for a minute, ten of them stuck; as root
	go test ./test/e2e -run '^TestSubscribers$$' -count=1 -v -timeout 10m -subscribers 100 -event-rate 20000 -subscribers-time 1m

.PHONY: race
race: build ## what has several threads, under the race detector; some 20 minutes, as root
	@scripts/setup.sh build
	@scripts/race.sh

##### building

.PHONY: build
build: ## bin/weir, the lean distribution
	@scripts/setup.sh build
	@scripts/build.sh builder-config.yaml build weir

.PHONY: build-wide
build-wide: ## bin/weir-wide, with more exporters; several minutes at first
	@scripts/setup.sh build
	@scripts/build.sh builder-config.wide.yaml build-wide weir-wide

.PHONY: weirctl
weirctl: ## bin/weirctl, the command-line companion (docs/weirctl.md)
	@scripts/setup.sh build
	@mkdir -p bin
	go build -ldflags='-s -w' -o bin/weirctl ./cmd/weirctl

.PHONY: deb
deb: build weirctl ## a Debian package of both: bin/weir_VERSION_ARCHITECTURE.deb
	@scripts/deb.sh bin

.PHONY: cross
cross: ## build for arm64, and the policy language for WebAssembly
	GOARCH=arm64 go build ./...
	cd build && GOARCH=arm64 go build -ldflags='-s -w' -o weir-arm64 .
	GOOS=js GOARCH=wasm go build ./internal/policy

##### changing

.PHONY: generate
generate: ## regenerate what is generated; kernel programs need clang-14, llvm-14, libbpf-dev
	go generate ./...

.PHONY: generate-check
generate-check: ## show that regenerating changes nothing
	@scripts/generate-check.sh

.PHONY: lint
lint: ## go vet, staticcheck, gofumpt, clang-format
	@scripts/lint.sh

.PHONY: fmt
fmt: ## format Go and C
	@scripts/format.sh write

.PHONY: bench
bench: build ## measure Weir beside other filters, some minutes, as root; BENCH=regexp selects lines
	go build -o bin/bench ./test/bench
	bin/bench -run '$(BENCH)'

.PHONY: bench-docs
bench-docs: build ## the same with all sizes and more rounds; writes docs/performance.md
	go build -o bin/bench ./test/bench
	bin/bench -full -json bin/bench-full.json -docs docs

.PHONY: bench-go
bench-go: ## the benchmarks of the Go packages; BENCH=regexp selects
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: soak
soak: ## a million connections at the highest rate for DURATION (20m), as root
	go build -o bin/bench ./test/bench
	bin/bench -soak $(or $(DURATION),20m)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (10s)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin build build-wide

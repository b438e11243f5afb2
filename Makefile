# What a person runs and what CI runs are the same targets: .ci/run installs
# what they need and calls them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

# How long each fuzz target runs.
FUZZTIME ?= 20s

.PHONY: build test race alloc e2e fuzz bench fmt vet static lint image docker ci clean

build: ## the binary, in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/weir ./cmd/weir

test: ## all tests, quickly
	go test ./...

race: ## all tests, as they count
	go test -race ./...

alloc: ## what the hot path allocates; the race detector would count its own
	go test -count=1 -run Alloc ./...

e2e: ## the binary against nginx, signals, kills and attacks; wants Linux, nginx, haproxy and wrk
	go test -count=1 -tags e2e -timeout 20m ./internal/e2e/

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: ## micro-benchmarks; bench/versus and bench/failures compare with other proxies
	go test -run '^$$' -bench . -benchmem ./...

fmt:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi

# The tag e2e and darwin select files that the plain run does not see.
vet:
	go vet ./...
	go vet -tags e2e ./internal/e2e/
	GOOS=darwin go vet ./...

static: ## staticcheck.conf says which checks
	go tool staticcheck -tags e2e ./...

lint: fmt vet static

image: ## what the Dockerfile's first stage makes, without Docker
	.ci/image

docker:
	docker build -t weir .

ci:
	.ci/run

clean:
	rm -rf bin

# The same targets for a person and for CI. `make demo` needs Go alone; `make test` also a C
# compiler for the race detector; what `make interop` needs is in interop/README.md.

GO ?= go
BIN := bin/fairlead
COMMIT := $(shell git describe --always --dirty 2>/dev/null)
LINT_VERSION := v2.15.0
LINT := .tools/golangci-lint-$(LINT_VERSION)/golangci-lint
INTEROP := FAIRLEAD_INTEROP=1 FAIRLEAD_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -v
H2SPEC := .tools/h2spec
CONTROLLER_GEN := .tools/controller-gen
FUZZTIME ?= 20s
SOAK ?= 10m
CHAOS ?= 2m
CHAOS_SESSIONS ?= 2000

.PHONY: help tools build demo generate test lint bench interop http gateway conformance schema zowe chaos soak fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/fairlead, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.commit=$(COMMIT)" -o $(BIN) ./cmd/fairlead

demo: build ## the gateway with two instances of a sample service, until Ctrl-C
	$(BIN) demo

generate: $(CONTROLLER_GEN) ## config/crd and the deep copies of api, from the types in api
	$(CONTROLLER_GEN) object crd paths=./api/... output:crd:dir=config/crd

$(CONTROLLER_GEN): tools/controller-gen/go.mod tools/controller-gen/go.sum
	tools/again $(GO) -C tools/controller-gen build -o $(CURDIR)/$@ sigs.k8s.io/controller-tools/cmd/controller-gen

tools: $(CONTROLLER_GEN) $(LINT) $(H2SPEC) ## what the other targets build before they need it

test: ## every test in Go, with the race detector where there is a C compiler
	@if command -v "$$($(GO) env CC)" >/dev/null; then race=-race; else \
		echo "no C compiler: without the race detector"; fi; \
	set -x; $(GO) test $$race ./...

lint: $(LINT) ## formatting and the linters of .golangci.yml
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/$(@D) tools/again $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

bench: build ## the numbers of bench/README.md, beside nginx and HAProxy
	bench/run

interop: build ## the built gateway with services and clients that others wrote
	interop/prepare
	$(INTEROP) -timeout 14m -skip '^Test(HTTP|Gateway|Soak|Chaos)' ./interop/

http: build $(H2SPEC) ## the built gateway's HTTP: clients of others, h2spec, hostile bytes, gigabytes
	FAIRLEAD_H2SPEC=$(CURDIR)/$(H2SPEC) $(INTEROP) -timeout 8m -run '^TestHTTP' ./interop/

gateway: build ## the built gateway with manifests: each feature of the Gateway API, with traffic; needs Go and curl
	$(INTEROP) -timeout 4m -run '^TestGateway' ./interop/

$(H2SPEC): interop/h2spec/go.mod interop/h2spec/go.sum
	tools/again $(GO) -C interop/h2spec build -o $(CURDIR)/$@ github.com/summerwind/h2spec/cmd/h2spec

conformance: zowe ## what others hold gateways to: Zowe's cases, and the Gateway API's suite (ARGS: its arguments)
	conformance/run $(ARGS)

zowe: build ## the WebSocket cases of the Zowe API Mediation Layer; needs Go alone
	$(INTEROP) -timeout 3m -run '^TestZowe' ./interop/

schema: ## objects in files, judged as an API server judges them; needs Go alone
	$(GO) -C interop/schema test -count=1 -timeout 10m ./...

chaos: build ## two gateways and five instances that are killed, stopped, paused and cut for CHAOS (2m), while CHAOS_SESSIONS (2000) clients count
	FAIRLEAD_CHAOS=$(CHAOS) FAIRLEAD_CHAOS_SESSIONS=$(CHAOS_SESSIONS) $(INTEROP) -timeout 30m -run '^TestChaos' ./interop/

soak: build ## sessions of every kind for SOAK (10m): no byte may change, nothing may be left behind
	FAIRLEAD_SOAK=$(SOAK) $(INTEROP) -timeout 24h -run '^TestSoak' ./interop/

fuzz: ## every fuzz target for FUZZTIME (20s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		list=$$($(GO) test -list '^Fuzz' "$$pkg"); \
		for target in $$(echo "$$list" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

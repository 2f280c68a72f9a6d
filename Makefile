# `make` lists the targets. Everything but `judges` needs Go alone.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

BUILD    := .build
JUDGES   := .judges/bin
export PATH := $(CURDIR)/$(JUDGES):$(PATH)
LISTEN   ?= 127.0.0.1:8000
CHARTER  ?= policies/development/charter.yaml
CHARTERS := development staging production

# Set to run the tests under the race detector, as CI does.
RACE ?=
# The least share of the statements in internal/ that the tests must reach, in percent.
COVERAGE ?= 85
# Flags of `make load`, such as '-rate 500 -reload 0'.
LOAD ?=
# Flags of `make demo`, such as '--fast --keep'.
DEMO ?=
# Seconds that `make fuzz` shares among all fuzzers.
FUZZTIME ?= 600

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## serve the development charter on 127.0.0.1:8000 and print questions to try (LISTEN=, CHARTER=)
	@mkdir -p $(BUILD)
	@go build -o $(BUILD)/charter-server ./cmd/charter-server
	@exec $(BUILD)/charter-server --charter $(CHARTER) --listen $(LISTEN) --data $(BUILD)/data --insecure-self-asserted

.PHONY: build
build: ## build all commands into .build/bin
	@mkdir -p $(BUILD)/bin
	go build -trimpath -o $(BUILD)/bin/ ./cmd/...

.PHONY: demo
demo: ## play through what a charter is for, on real components, and check every claim (DEMO=flags)
	@mkdir -p $(BUILD)/bin
	@go build -o $(BUILD)/bin/ ./cmd/charter-admin ./cmd/charter-server
	@exec $(BUILD)/bin/charter-admin demo $(DEMO)

.PHONY: test
test: vet layers test-go test-rego ## everything that needs only Go: vet, layers, Go and Rego tests, coverage gates (RACE=1)

.PHONY: vet
vet:
	go vet ./...

# The rules about who imports whom read the whole tree, which the test cache
# does not see: never from the cache.
.PHONY: layers
layers: ## check layers, homes of third-party modules, what binaries link, hygiene
	go test -count=1 ./tests/layers/...

# Packages that compute and share nothing: the race detector has nothing to watch in
# them, and makes them slow. A test of tests/layers holds them to it.
SEQUENTIAL := internal/charter internal/committee internal/compile internal/export internal/exportconfig internal/policytest internal/report internal/statedoc

# Coverage counts what any test of any package reaches in internal/, the
# programs that black-box tests start included. The race detector watches the
# packages where the goroutines are: the tests below tests/ ask one question
# after another, thousands of them, and would take many times as long under it.
.PHONY: test-go
test-go:
	@for judge in 'opa (make judges)' 'promtool (package prometheus)' 'amtool (package prometheus-alertmanager)' \
	  'docker-registry (package docker-registry)' 'skopeo (package skopeo)' 'cosign (make judges-sigstore)'; do \
	  command -v "$${judge%% *}" >/dev/null || echo "judge $$judge is missing: tests that compare with it are skipped"; \
	done
	@go -C tests/judges mod download github.com/prometheus/node_exporter || \
	  echo "judge node_exporter (its fixtures) cannot be had: tests on a real exposition are skipped"
	@mkdir -p $(BUILD)
	go test $(if $(RACE),-race) -timeout 20m -coverpkg=./internal/... -coverprofile=$(BUILD)/packages.cover \
	  $$(go list ./... | grep -v /tests/ | grep -vE '($(subst $() $(),|,$(SEQUENTIAL)))$$')
	go test -timeout 20m -coverpkg=./internal/... -coverprofile=$(BUILD)/tests.cover $(addprefix ./,$(SEQUENTIAL)) ./tests/...
	@go run ./tests/gate -min $(COVERAGE) $(BUILD)/packages.cover $(BUILD)/tests.cover

# The short forms are part of `make test`.
.PHONY: test-fault
test-fault: ## the ledger under faults, long form: 200 killed writers, every bit flipped, minutes
	CHARTER_FAULT=long go test -count=1 -timeout 60m ./tests/ledger/... ./internal/ledgerdb/...

.PHONY: test-fleet
test-fleet: ## 50 nodes on this machine: a release reaches all, partitions heal, 60 kills; minutes
	CHARTER_LONG=1 go test -count=1 -v -timeout 30m ./tests/fleet

.PHONY: test-rego
test-rego:
	go run ./cmd/charter-admin test --coverage --threshold 100 rego
	go run ./cmd/charter-admin test policies

.PHONY: lint
lint: judges ## gofumpt, vet, staticcheck, opa fmt and check, shellcheck
	@out=$$($(JUDGES)/gofumpt -l .); [ -z "$$out" ] || { echo "gofumpt would change:"; echo "$$out"; exit 1; }
	go vet ./...
	$(JUDGES)/staticcheck ./...
	$(JUDGES)/opa fmt --fail --list rego policies
	$(JUDGES)/opa check --strict rego
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run tests/*.sh; \
	elif [ -n "$${CHARTER_JUDGES_REQUIRED:-}" ]; then echo "judge shellcheck is missing"; exit 1; \
	else echo "judge shellcheck is missing: shell scripts are not checked"; fi

.PHONY: generate
generate: ## regenerate what is committed: JSON Schema, bundles/, docs/metrics.md, dashboards
	go test ./internal/charter -run '^TestSchemaIsPublished$$' -update
	go test ./internal/metrics -run '^TestDocumentation$$' -update
	go test ./internal/dashboard -run '^TestDashboardsArePublished$$' -update
	@mkdir -p $(BUILD)
	go build -o $(BUILD)/charter-admin ./cmd/charter-admin
	@for name in $(CHARTERS); do \
	  $(BUILD)/charter-admin compile policies/$$name/charter.yaml -o bundles/$$name; \
	done

.PHONY: bench
bench: ## measure Charter beside rivals and print ratios, minutes (tests/bench, a module of its own)
	go -C tests/bench run .

.PHONY: bench-short
bench-short: ## the same with fewer sizes and rounds, at most 45 s once it is built
	@go -C tests/bench build -o /dev/null .
	go -C tests/bench run . -short

.PHONY: load
load: ## a minute of 1,000 questions a second while charters are replaced; fails on a wrong answer or p99 >= 10 ms (LOAD=flags)
	go run ./tests/load $(LOAD)

.PHONY: hostile
hostile: ## attack the server in every way, with 10,000 idle connections
	CHARTER_LONG=1 go test -count=1 -v ./tests/hostile

.PHONY: fuzz
fuzz: ## run every fuzzer for a share of FUZZTIME seconds (600)
	tests/fuzz.sh $(FUZZTIME)

# go build is its own judge of what is stale.
.PHONY: judges
judges: ## build opa, staticcheck and gofumpt at the versions the tests pin, into .judges/bin
	@mkdir -p $(JUDGES)
	@go -C tests/judges build -o $(CURDIR)/$(JUDGES)/ tool
	@go -C tests/judges mod download github.com/prometheus/node_exporter

# Minutes of compiling, once: what is there is left alone. Each program is built in its
# own module, at the versions that docs/signing.md names.
.PHONY: judges-sigstore
judges-sigstore: ## build cosign, fulcio, rekor and a timestamp authority into .judges/bin, minutes
	@mkdir -p $(JUDGES)
	@build() { \
	  [[ -x $(JUDGES)/$$1 ]] || { echo "building $$1"; GOBIN=$(CURDIR)/$(JUDGES)/tmp go install "$$2" && mv $(JUDGES)/tmp/* $(JUDGES)/$$1; }; \
	}; \
	build cosign github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3; \
	build fulcio github.com/sigstore/fulcio@v1.8.8; \
	build rekor-server github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0; \
	build timestamp-server github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.3; \
	rm -rf $(JUDGES)/tmp

.PHONY: test-judges
test-judges: judges judges-sigstore ## what needs a private Sigstore, cosign, a registry and skopeo
	CHARTER_JUDGES_REQUIRED=all go test -count=1 -timeout 20m ./tests/sigstore ./tests/distribution ./tests/registry ./tests/stockopa

.PHONY: clean
clean: ## remove what building and testing left behind
	rm -rf $(BUILD) .judges charter-data

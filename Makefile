# Carillon: every command that people and CI run. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/carillon
TARGET := $(or $(CARGO_TARGET_DIR),target)
CARILLON := $(TARGET)/release/carillon
CARGO_DENY := 0.20.2
DENY := $(CACHE)/cargo-deny-$(CARGO_DENY)/bin/cargo-deny
SECONDS_EACH ?= 10

# lane NAME COMMAND: runs a command, prints what it took, fails when it fails.
lane = @begun=$$SECONDS; echo "── $(1)"; $(2); echo "── $(1): $$((SECONDS - begun)) s"

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: release
release: ## Build the optimized binary.
	cargo build --locked --release -p carillon

.PHONY: up
up: release ## Build and start the whole product: durable, in ./carillon-data, on 127.0.0.1:8080.
	@exec $(CARILLON) up $(ARGS)

.PHONY: demo
demo: release ## Two tenants, four subscribers, isolation, last-N, a drop and a resume.
	@exec $(CARILLON) demo --drop-subscriber $(ARGS)

.PHONY: smoke
smoke: release ## Check a running instance: POST, frame, Kafka record, stored state, refused tokens.
	@exec $(CARILLON) smoke $(ARGS)

.PHONY: test
test: tools format lint unit deny ## Everything: formatting, lints, all tests, licences and bans.
	@echo "make test: passed"

.PHONY: tools
tools: ## What the tests run beside Rust: curl, which pastes the lines that `carillon up` prints.
	@command -v curl >/dev/null || { command -v apt-get >/dev/null && apt-get update -q && apt-get install -qy curl; } \
	  || { echo "make test needs curl: install it and try again" >&2; exit 1; }

.PHONY: format
format: ## Check the formatting.
	$(call lane,format,cargo fmt --all --check)

.PHONY: lint
lint: ## Clippy, warnings are errors.
	$(call lane,lint,cargo clippy --locked --workspace --all-targets --all-features -- -D warnings)

.PHONY: unit
unit: ## Build and run the tests of every package, stacks on the embedded broker included.
	$(call lane,build,cargo test --locked --workspace --no-run)
	$(call lane,tests,cargo test --locked --workspace)

.PHONY: deny
deny: $(DENY) ## Check licences and bans.
	$(call lane,deny,$(DENY) --all-features check licenses bans sources)

$(DENY):
	cargo install cargo-deny --version $(CARGO_DENY) --locked --root $(CACHE)/cargo-deny-$(CARGO_DENY)

.PHONY: bench
bench: release ## Measure everything; prints tables and writes loadtest/baselines/*.json.
	cargo build --locked --release -p carillon-loadtest
	cargo build --locked --release -p carillon-ingest --example bare_handler
	cargo bench --locked -p carillon-bus --bench produce_consume
	cargo bench --locked -p carillon-store --bench writes
	cargo bench --locked -p carillon-router --bench full_path
	$(TARGET)/release/carillon-loadtest --binary $(CARILLON) --seconds $(SECONDS_EACH) ingest --bare $(TARGET)/release/examples/bare_handler
	$(TARGET)/release/carillon-loadtest --binary $(CARILLON) --seconds $(SECONDS_EACH) fan-out --sockets 1000 --rate 20
	$(TARGET)/release/carillon-loadtest --binary $(CARILLON) --seconds $(SECONDS_EACH) end-to-end --rate 1000
	$(TARGET)/release/carillon-loadtest --binary $(CARILLON) --seconds $(SECONDS_EACH) --fsync interval end-to-end --rate 1000

.PHONY: kill
kill: ## The process under load and under kill -9, KILLS times (10).
	KILLS=$(or $(KILLS),10) cargo test --locked -p carillon --test it -- --nocapture kill::

.PHONY: clean
clean: ## Remove what was built (not ./carillon-data).
	cargo clean

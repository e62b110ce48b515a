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
test: tools format lint unit cluster chaos-short deny ## Everything: formatting, lints, all tests on both lanes, licences and bans.
	@echo "make test: passed"

# need PROGRAM PACKAGE: installs what brings a program, where that is missing and can be installed.
need = @command -v $(1) >/dev/null || { command -v apt-get >/dev/null && apt-get update -q && apt-get install -qy $(2); } \
	  || { echo "make test needs $(1): install it ($(2)) and try again" >&2; exit 1; }

.PHONY: tools
tools: ## What the tests run beside Rust: curl for the README's lines, Java and Maven for Kafka and Cassandra.
	$(call need,curl,curl)
	$(call need,$(if $(JAVA_HOME),$(JAVA_HOME)/bin/java,java),openjdk-17-jdk-headless)
	$(call need,mvn,maven)

.PHONY: format
format: ## Check the formatting.
	$(call lane,format,cargo fmt --all --check)

.PHONY: lint
lint: ## Clippy, warnings are errors.
	$(call lane,lint,cargo clippy --locked --workspace --all-targets --all-features -- -D warnings)

.PHONY: unit
unit: ## Build and run the tests of every package, stacks on the embedded broker included.
	$(call lane,build,cargo test --locked --workspace --all-features --no-run)
	$(call lane,tests,cargo test --locked --workspace --all-features)

.PHONY: cluster
cluster: tools ## The tests that need three Kafka brokers and Cassandra, on servers of their own.
	$(call lane,build,cargo test --locked --workspace --all-features --no-run)
	$(call lane,cluster,$(TARGET)/debug/cluster -- cargo test --locked --workspace --all-features -- \
	  --ignored --skip under_chaos:: --skip seeded:: --test-threads $(or $(THREADS),4))

# Each run starts servers of its own. SEED, MINUTES, KINDS and FAULTS are read by the test: docs/testing.md.
CHAOS = cargo test --locked --workspace --all-features --test chaos -- --ignored --nocapture
CHAOS_cluster := under_chaos::whatever_is_struck_every_rule_holds_on_the_cluster
CHAOS_embedded := under_chaos::whatever_is_struck_every_rule_holds_on_one_machine
LANE ?= cluster

.PHONY: chaos
chaos: tools ## Faults drawn from SEED under load, MINUTES (10) long, on LANE=cluster or embedded; every rule checked.
	$(call lane,chaos $(LANE),$(CHAOS) $(CHAOS_$(LANE)))

# Recovery times are held against half as much again: a machine that runs tests is busy otherwise.
CHAOS_SHORT = SEED=$(or $(SEED),1) RECOVERY_PERCENT=150
.PHONY: chaos-short
chaos-short: tools ## The same in two minutes, and half a minute on the embedded stack.
	$(call lane,chaos cluster,$(CHAOS_SHORT) MINUTES=2 $(CHAOS) $(CHAOS_cluster))
	$(call lane,chaos embedded,$(CHAOS_SHORT) MINUTES=0.5 $(CHAOS) $(CHAOS_embedded))

.PHONY: chaos-checked
chaos-checked: tools ## The checker of chaos runs checked: each seeded bug must be caught.
	$(call lane,chaos-checked,$(CHAOS) seeded:: --test-threads 1)

.PHONY: deny
deny: $(DENY) ## Check licences and bans.
	$(call lane,deny,$(DENY) --all-features check licenses bans sources)

$(DENY):
	cargo install cargo-deny --version $(CARGO_DENY) --locked --root $(CACHE)/cargo-deny-$(CARGO_DENY)

LOADTEST := $(TARGET)/release/carillon-loadtest --binary $(CARILLON) --seconds $(SECONDS_EACH)
BARE := $(TARGET)/release/examples
# Always the same packages, so that what they depend on is built once.
BENCH := cargo bench --locked -p carillon-bus -p carillon-store -p carillon-router
CLUSTER_REPORTS := ingest-one-broker post-to-frame-one-broker store-cassandra router-cassandra ingest-three-brokers post-to-frame-three-brokers

.PHONY: bench
bench: release ## Measure everything on embedded parts; prints tables and writes loadtest/baselines/*.json.
	cargo build --locked --release -p carillon-loadtest
	cargo build --locked --release -p carillon-ingest --example bare_handler
	$(BENCH) --bench produce_consume
	$(BENCH) --bench writes
	$(BENCH) --bench full_path
	$(BENCH) --bench fairness
	$(BENCH) --bench ladder
	$(LOADTEST) ingest --bare $(BARE)/bare_handler
	$(LOADTEST) fan-out --sockets 1000 --rate 20
	$(LOADTEST) end-to-end --rate 1000
	$(LOADTEST) --fsync interval end-to-end --rate 1000

.PHONY: bench-cluster
bench-cluster: release ## Measure on one real Kafka broker with Cassandra, and on three, beside bare loops; one table.
	cargo build --locked --release -p carillon-loadtest -p carillon-fixtures
	cargo build --locked --release -p carillon-bus --examples
	$(BENCH) --bench cassandra --bench full_path --no-run
	cd loadtest/baselines && rm -f $(CLUSTER_REPORTS:=.json)
	$(TARGET)/release/cluster --steady --brokers 1 -- $(MAKE) --no-print-directory bench-one-broker
	$(TARGET)/release/cluster --steady --brokers 3 --no-cassandra -- $(MAKE) --no-print-directory bench-three-brokers
	$(LOADTEST) summary $(CLUSTER_REPORTS)

.PHONY: bench-one-broker bench-three-brokers
# Servers run as in production (`--steady`): compilers and caches need minutes of load before they are measured. What is
# measured first warms them for the rest; the whole way comes last.
WARM_UP ?= 150
bench-one-broker: # On the cluster of CARILLON_TEST_CLUSTER, which has one broker.
	$(LOADTEST) --threads 8 cluster-ingest --connections 200 --bare $(BARE)/bare_producer
	$(BENCH) --bench cassandra
	$(BENCH) --bench full_path
	$(LOADTEST) --warm-up $(WARM_UP) cluster-end-to-end --rate 1000 --bare $(BARE)/bare_hops

# Three brokers alone fill two cores: the store beside them is SQLite, so that brokers are measured and not Cassandra.
bench-three-brokers: # On the cluster of CARILLON_TEST_CLUSTER, which has three.
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; set -x; \
	$(LOADTEST) --threads 8 cluster-ingest --connections 200 --store sqlite:$$dir/ingest.db --bare $(BARE)/bare_producer; \
	$(LOADTEST) --warm-up $(WARM_UP) cluster-end-to-end --rate 200 --tenants 50 --store sqlite:$$dir/way.db --bare $(BARE)/bare_hops

.PHONY: kill
kill: ## The process under load and under kill -9, KILLS times (10).
	KILLS=$(or $(KILLS),10) cargo test --locked -p carillon --test it -- --nocapture kill::

.PHONY: clean
clean: ## Remove what was built (not ./carillon-data).
	cargo clean

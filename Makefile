# The ways in. Every target first checks its tools and says how to install a missing one.
# All builds use the dev profile, so that the demo, the tests and the checks share one build.

DIR ?= ./actorline-demo

# Where tools of the tests are installed, outside of the source tree, and the S3 gateway's version.
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/actorline/tools/bin
VERSITYGW_VERSION := v1.8.0

.PHONY: demo test test-all fuzz faults faults-load check bench tools-build tools-test tools-test-all tools-check

# The whole product once, on this machine, with nothing else running. `make demo DIR=…` puts its lake elsewhere.
demo: tools-build
	@# The demo wants a new folder. Only its own default, which holds nothing else, is cleared for it.
	@if [ "$(DIR)" = ./actorline-demo ]; then rm -rf ./actorline-demo; fi
	cargo run --quiet -- demo --dir "$(DIR)"

# Every test, also those against a real Apache Kafka.
test: tools-test
	cargo test

# Everything in `test`, and the lake on a real S3 API.
test-all: tools-test-all
	GOBIN="$(TOOLS)" go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)
	PATH="$(TOOLS):$$PATH" $(MAKE) test

# Damaged events, paths and mapping files, so many rounds of them, under limits on time and memory. `SEED=…` begins elsewhere.
fuzz: ROUNDS ?= 50
SEED ?= 1
fuzz: tools-test
	ACTORLINE_FUZZ_ROUNDS=$(ROUNDS) ACTORLINE_FUZZ_SEED=$(SEED) cargo test --test it -- --nocapture fuzz

# Kills, zombies, lost replies, failing stores: all of them, so many times. `make test-all` runs a selection. Filling a disk
# takes root, who may mount one.
faults: ROUNDS ?= 1
faults: tools-test-all
	GOBIN="$(TOOLS)" go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)
	PATH="$(TOOLS):$$PATH" ACTORLINE_FAULTS_ROUNDS=$(ROUNDS) cargo test --test it -- --nocapture faults:: run::kills run::refusals

# The table of docs/guarantees.md: how much load is held while things fail, in events a second offered.
RATE ?= 5000
FAULT_SECONDS ?= 30
faults-load: tools-test-all
	GOBIN="$(TOOLS)" go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)
	cargo build --release
	PATH="$(TOOLS):$$PATH" ACTORLINE_PROGRAM="$${CARGO_TARGET_DIR:-target}/release/actorline" \
		ACTORLINE_LOAD_RATE=$(RATE) ACTORLINE_LOAD_SECONDS=$(FAULT_SECONDS) cargo test --test it -- --nocapture load_is_held

# What a change must pass beside the tests.
check: tools-check
	cargo fmt --check
	cargo clippy --all-targets -- --deny warnings
	cargo deny check licenses bans sources

bench: tools-build
	cargo bench

tools-build:
	@.ci/require build

tools-test:
	@.ci/require test

tools-test-all:
	@.ci/require test-all

tools-check:
	@.ci/require check

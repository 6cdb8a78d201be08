# `make help` lists what there is. Everything that is installed goes below target/tools.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help run test lint bench bench-docs bench-guard bench-guard-accept schema-accept vectors sim sim-mutants slow-readers faults

CARGO ?= cargo
BUF := target/tools/npm/node_modules/.bin/buf

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: ## Hub, plugin and a sample pod, over a real link on loopback; ends by itself
	$(CARGO) run --release -- demo --once

test: ## All tests, the Python stub plugin included; prints the counts
	tools/run-tests

lint: $(BUF) ## Formatting, clippy, the pure core alone, docs, contract, layers
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --features bench -- -D warnings
	$(CARGO) clippy -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	$(CARGO) clippy --no-default-features --features link -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	$(BUF) lint
	$(BUF) format --diff --exit-code
	$(BUF) breaking --against proto/towline.v1.binpb
	tools/schema-image --check $(BUF)
	$(CARGO) test --test layering

# What `towline bench` measures, with its arguments if it takes any.
BENCHES ?= link hub codec fleet
TOWLINE_BENCH := $(CARGO) run --release --features bench --bin towline -- bench

bench: ## Benchmarks beside their peers; results in target/bench (JSON) and target/criterion
	mkdir -p target/bench
	for bench in $(BENCHES); do
	    $(TOWLINE_BENCH) $$bench -o json > target/bench/$$bench.json
	done
	$(CARGO) bench --features bench

bench-docs: ## Measure anew for docs/BENCHMARKS.md: an idle machine, some twenty minutes
	mkdir -p docs/bench
	for bench in $(BENCHES); do
	    args=$$(case $$bench in hub) echo --rounds 5 ;; fleet) echo --plugins 5000 --tls ;; esac)
	    $(TOWLINE_BENCH) $$bench $$args -o json > docs/bench/$$bench.json.new
	    mv docs/bench/$$bench.json.new docs/bench/$$bench.json
	done
	$(TOWLINE_BENCH) report docs/bench/*.json

bench-guard: ## Instructions of hot paths (callgrind) against benches/guard/bounds.tsv; ONLY=text for some
	tools/bench-guard $(if $(ONLY),--only $(ONLY))

bench-guard-accept: ## Take what they need now as the new bounds; commit them with the reason
	tools/bench-guard --accept $(if $(ONLY),--only $(ONLY))

schema-accept: $(BUF) ## Take the changed contract as the new one (needs a CHANGELOG line)
	tools/schema-image --accept $(BUF)

N ?= 100000
sim: ## N schedules of the simulator (100000); FIRST=seed to begin elsewhere
	SIM_N=$(N) SIM_FIRST=$(or $(FIRST),1) $(CARGO) test --profile sim --test sim no_schedule -- --nocapture

sim-mutants: ## Shows that each planted bug is found, within N schedules
	SIM_MUTANTS=$(N) $(CARGO) test --profile sim --test sim every_planted -- --nocapture

slow-readers: ## 1 GiB of log to ten readers, nine of which stall: memory, every byte, the times of others
	SLOW_MIB=$(or $(MIB),1024) SLOW_CALLS=1000 SLOW_ROUNDS=3 SLOW_PAUSE=45 SLOW_JUDGE=1 \
		$(CARGO) test --release --test slow_readers -- --nocapture --test-threads=1

CYCLES ?= 200
SECONDS_EACH ?= 120
faults: ## Real processes killed, stopped, cut off, out of disk, in 15 minutes at most; SEED=n for the same decisions
	tools/install nft || true # what needs it then says that it is not run
	mkdir -p target && rm -f target/faults
	status=0
	FAULTS_SEED=$(or $(SEED),$$RANDOM) FAULTS_CYCLES=$(CYCLES) FAULTS_SECONDS=$(SECONDS_EACH) FAULTS_REPORT=$(CURDIR)/target/faults \
	    $(CARGO) test --release --test faults -- --test-threads=16 || status=$$?
	cat target/faults
	echo "rows: $$(grep -c '^run: ' target/faults) run, $$(grep -c '^not run: ' target/faults) not run, $$(grep -c '^FAILED: ' target/faults) failed"
	exit $$status

vectors: ## Write proto/vectors anew and replay them; `git diff` shows what changed on the wire
	TOWLINE_VECTORS=write $(CARGO) test --test vectors golden
	$(CARGO) test --test vectors

$(BUF): tools/package.json tools/package-lock.json
	tools/install npm

# `make` alone says what there is.

CARGO ?= cargo

# make simulate: how many seeds, or the one to repeat.
SEEDS ?= 100000
SEED ?=
# make chaos: how long.
MINUTES ?= 5
# make bench: how often each contestant runs, and with how many events.
ROUNDS ?= 3
EVENTS ?= 60000
# Further arguments, such as BENCH="--targets 20 --only shovel,relay".
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: dashboards help setup setup-unless-uri build demo run test lint fmt bench simulate chaos

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what is missing: RabbitMQ, and what tests check with (apt, pip; starts no service)
	@.ci/install-rabbitmq
	@.ci/install-checkers

# With a RabbitMQ of the user's there is nothing to install.
setup-unless-uri:
	@if [ -n "$$WSB_AMQP_URI" ]; then echo "using the RabbitMQ of WSB_AMQP_URI"; else .ci/install-rabbitmq; fi

build: ## Build the broker, optimized
	$(CARGO) build --release

demo: setup-unless-uri build ## Tell the story on real traffic; KEEP=1 stays up afterwards
	@$(CARGO) run --quiet --release --example demo

run: setup-unless-uri build ## Run the broker with a RabbitMQ node of its own until Ctrl-C
	@$(CARGO) run --quiet --release --example run_private

test: setup ## Run all tests, on real RabbitMQ nodes of their own
	$(CARGO) test
	@set -e; for script in $(sort $(wildcard tests/*.sh)); do echo "== $$script"; sh "$$script"; done

lint: ## Check formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fmt: ## Format
	$(CARGO) fmt

dashboards: ## Write dashboards/ anew from tests/monitoring/dashboards.rs
	WSB_WRITE_DASHBOARDS=1 $(CARGO) test --quiet --test monitoring the_files

bench: setup build ## Compare with Shovel and a bare relay: ROUNDS=3 EVENTS=60000
	$(CARGO) run --quiet --release --example throughput -- --rounds $(ROUNDS) --events $(EVENTS) $(BENCH)

simulate: ## Simulate with many seeds, SEEDS=100000, or repeat one, SEED=42
	WSB_SEEDS=$(SEEDS) WSB_SEED=$(SEED) $(CARGO) test --release --test simulator -- --nocapture

chaos: setup ## Kill and disturb a broker under load on a real node: MINUTES=5
	WSB_CHAOS_MINUTES=$(MINUTES) $(CARGO) test --release --test chaos -- --ignored --nocapture

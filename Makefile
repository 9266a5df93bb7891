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
# make measure-retention: RETENTION="--only scan --clocks 500000", see examples/retention_cost.
RETENTION ?=

# make measure-failures: how many deliveries wait, and how many are replayed.
WAITING ?= 1000000
DEAD ?= 100000

# make install: where to, and what.
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
# Where systemd looks: below /usr and /usr/local, otherwise only in /etc.
SEEN = $(filter /usr /usr/local,$(PREFIX))
UNITDIR ?= $(if $(SEEN),$(PREFIX)/lib/systemd/system,/etc/systemd/system)
SYSUSERSDIR ?= $(if $(SEEN),$(PREFIX)/lib/sysusers.d,/etc/sysusers.d)
BINARY ?= target/release/wsb-broker

.DEFAULT_GOAL := help
.PHONY: measure-retention measure-failures dashboards install reproducible sbom audit help setup setup-unless-uri build demo run test lint fmt bench simulate chaos

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what is missing: RabbitMQ, and what tests check with (apt, pip; starts no service)
	@.ci/install-rabbitmq
	@.ci/install-checkers

# With a RabbitMQ of the user's there is nothing to install.
setup-unless-uri:
	@if [ -n "$$WSB_AMQP_URI" ]; then echo "using the RabbitMQ of WSB_AMQP_URI"; else .ci/install-rabbitmq; fi

build: ## Build the broker, optimized, as it is to run for real
	$(CARGO) build --release

# Nobody waits minutes for a fast program to look at it: these two take the quick build,
# which is that of the tests as well.
demo: setup-unless-uri ## Tell the story on real traffic; KEEP=1 stays up afterwards
	$(CARGO) build --bin wsb-broker --example demo
	@$(CARGO) run --quiet --example demo

run: setup-unless-uri ## Run the broker with made-up traffic and show its console; TRAFFIC=0 without
	$(CARGO) build --bin wsb-broker --example run_private
	@$(CARGO) run --quiet --example run_private

test: setup ## Run all tests, on real RabbitMQ nodes of their own
	$(CARGO) test
	@set -e; for script in $(sort $(wildcard tests/*.sh)); do echo "== $$script"; sh "$$script"; done

lint: ## Check formatting and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

fmt: ## Format
	$(CARGO) fmt

install: ## Install on this host: PREFIX=/usr/local DESTDIR= (after make build; keeps settings that are there)
	@[ -x "$(BINARY)" ] || { echo "there is no $(BINARY): make build first" >&2; exit 1; }
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/wsb-broker
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR)
	sed 's#/usr/local/#$(PREFIX)/#g; s#/etc/wsb-broker#$(SYSCONFDIR)/wsb-broker#g' deploy/systemd/wsb-broker.service > $(DESTDIR)$(UNITDIR)/wsb-broker.service
	install -m 0644 deploy/systemd/wsb-broker.sysusers $(DESTDIR)$(SYSUSERSDIR)/wsb-broker.conf
	install -d $(DESTDIR)$(SYSCONFDIR)/wsb-broker
	install -d -m 0700 $(DESTDIR)$(SYSCONFDIR)/wsb-broker/credentials
	for file in routing.toml $(wildcard retention.toml) deploy/systemd/settings; do \
		there=$(DESTDIR)$(SYSCONFDIR)/wsb-broker/$$(basename $$file); [ -e $$there ] || install -m 0644 $$file $$there; done
	install -d $(DESTDIR)$(PREFIX)/share/doc/wsb-broker $(DESTDIR)$(PREFIX)/share/wsb-broker/dashboards $(DESTDIR)$(PREFIX)/share/wsb-broker/prometheus
	install -m 0644 README.md CHANGELOG.md LICENSE NOTICE THIRD-PARTY.txt docs/*.md $(DESTDIR)$(PREFIX)/share/doc/wsb-broker/
	install -m 0644 dashboards/*.json $(DESTDIR)$(PREFIX)/share/wsb-broker/dashboards/
	install -m 0644 deploy/prometheus/*.yml $(DESTDIR)$(PREFIX)/share/wsb-broker/prometheus/
	@echo "next: docs/runbook.md, section \"A plain host\""

sbom: ## Write sbom.cdx.json and THIRD-PARTY.txt anew from Cargo.lock
	WSB_WRITE_SBOM=1 $(CARGO) test --quiet --test supply_chain the_

audit: ## Check licenses, sources and known vulnerabilities of the libraries (cargo-deny, network)
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "there is no cargo-deny: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny check

reproducible: ## Build the release twice in different folders and compare
	@deploy/reproducible

dashboards: ## Write dashboards/ anew from tests/monitoring/dashboards.rs
	WSB_WRITE_DASHBOARDS=1 $(CARGO) test --quiet --test monitoring the_files

bench: setup build ## Compare with Shovel and a bare relay: ROUNDS=3 EVENTS=60000
	$(CARGO) run --quiet --release --example throughput -- --rounds $(ROUNDS) --events $(EVENTS) $(BENCH)

measure-retention: setup build ## Measure the scan of 5 million clocks, the ledger, and a deletion night
	$(CARGO) run --quiet --release --example retention_cost -- $(RETENTION)

measure-failures: setup build ## A recipient gone with WAITING=1000000, its return, and a replay of DEAD=100000
	$(CARGO) run --quiet --release --example failures -- --waiting $(WAITING) --dead $(DEAD)

simulate: ## Simulate with many seeds, SEEDS=100000, or repeat one, SEED=42
	WSB_SEEDS=$(SEEDS) WSB_SEED=$(SEED) $(CARGO) test --release --test simulator -- --nocapture

chaos: setup ## Kill and disturb a broker under load on a real node: MINUTES=5
	WSB_CHAOS_MINUTES=$(MINUTES) $(CARGO) test --release --test chaos -- --nocapture

# Everything that is done to this project by one word. Plain `make` lists the words.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

export CARGO_TERM_COLOR ?= always

RELEASE = $(abspath $(or $(CARGO_TARGET_DIR),target))/release/vmimg
# A test that is a program of its own, on the release binary.
RELEASE_TEST = VMIMG_BINARY="$(RELEASE)" cargo test --locked --test

.PHONY: help test checks dev fix lint unit docs build kills kills-run faults power power-run e2e e2e-run acceptance acceptance-run screenshots bench fuzz audit clean-tools

help: ## List these words
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## Install and start what the tests need, then run every check there is
	@tests/tools/setup
	@tests/tools/postgres with $(MAKE) checks

# What `make test` runs once the tools are there and a PostgreSQL answers at $VMIMG_TEST_POSTGRES. All that starts the program starts the
# one that is released, which is also the faster one.
checks: export VMIMG_BINARY = $(RELEASE)
checks: lint build unit docs kills-run power-run e2e-run

dev: ## Run the console with debug log, its state in ./vmimg-data
	@VMIMG_LOG="$${VMIMG_LOG:-info,vmimg=debug}" cargo run -- serve

fix: ## Format, and let clippy correct what it can
	cargo fmt
	cargo clippy --fix --allow-dirty --allow-staged --all-targets

lint: ## Formatting and clippy, with warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test power --test faults -- -D warnings

unit: ## Unit and integration tests on both databases (needs $VMIMG_TEST_POSTGRES; see tests/tools/postgres)
	@: "$${VMIMG_TEST_POSTGRES:?names no PostgreSQL: run 'make test', or 'tests/tools/postgres with make unit'}"
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --locked --run-ignored all --no-tests fail --test-threads $$(( $$(nproc) + 1 )); \
	else \
	    cargo test --locked --lib --bins --tests -- --include-ignored; \
	fi

docs: ## The crate's documentation, with warnings denied
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items

build: ## The release binary
	cargo build --locked --release

kills: ## 1,000 kills at random moments under load, and 500 in uploads in chunks, on both databases (minutes)
	@tests/tools/setup
	@tests/tools/postgres with $(MAKE) build kills-alone

.PHONY: kills-alone
kills-alone:
	$(RELEASE_TEST) faults -- kills --count $${COUNT:-1000}
	$(RELEASE_TEST) faults -- chunks

# What `make test` runs: 200 kills, 100 in uploads in chunks, and a kill, EIO and ENOSPC at every write, flush, rename and commit; disks and
# lines that go bad.
kills-run:
	@: "$${VMIMG_TEST_POSTGRES:?names no PostgreSQL: run 'make test', or 'make kills'}"
	$(RELEASE_TEST) faults -- kills --count 200
	$(RELEASE_TEST) faults -- chunks --count 60 --first 40
	$(RELEASE_TEST) faults -- calls --quick
	$(RELEASE_TEST) faults -- disks --cuts 12
	$(RELEASE_TEST) faults -- lines

faults: ## Every call on files killed before and failing with every error, one after the other; bad disks and lines, as root (an hour)
	@tests/tools/setup
	@$(MAKE) build
	$(RELEASE_TEST) faults -- calls
	$(RELEASE_TEST) faults -- disks
	$(RELEASE_TEST) faults -- lines

power: ## Power cuts at every write of a long workload, and subsets of what was not flushed (as root; minutes)
	@tests/tools/setup power
	@$(MAKE) build
	@$(RELEASE_TEST) power

power-run:
	$(RELEASE_TEST) power -- --short

e2e: ## Only the browser tests, with all that they need
	@tests/tools/setup
	@tests/tools/postgres with $(MAKE) build e2e-run

e2e-run:
	node --test --test-concurrency=2 --test-reporter=spec e2e/

acceptance: ## 5 GiB through a bad proxy, cuts, kills and two machines (as root; ten minutes; 1 GiB of it is part of `make test`)
	@tests/tools/setup
	@VMIMG_ACCEPTANCE_GIB=5 tests/tools/postgres with $(MAKE) build acceptance-run

acceptance-run:
	node --test --test-reporter=spec e2e/acceptance.test.mjs

screenshots: ## The browser tests, keeping pictures in docs/screenshots
	@tests/tools/setup
	@VMIMG_SCREENSHOTS=1 tests/tools/postgres with $(MAKE) build e2e-run

bench: ## How long 1 GiB takes through the form, resumably and elsewhere, and each list with a million images (fails above its limits)
	@tests/tools/setup bench
	@$(MAKE) build
	@benches/upload.sh
	@benches/lists.sh

fuzz: ## Look for inputs that break a parser, ten minutes for each (VMIMG_FUZZ_SECONDS); a short run is part of `make test`
	@tests/tools/fuzz

audit: ## Let scanners look: cargo-deny, schemathesis, wapiti, sqlmap (an hour)
	@tests/tools/setup audit
	@$(MAKE) build
	@tests/tools/postgres with tests/tools/audit

clean-tools: ## Remove what the tests installed below this folder and the test database
	@tests/tools/postgres stop
	rm -rf e2e/node_modules

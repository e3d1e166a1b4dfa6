# Everything runs in .venv, which is made from pyproject.toml on first use and remade when that changes.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Tests at once. They wait for servers half of the time, so that three are quickest on two cores.
WORKERS ?= 3

.PHONY: help run test test-all test-lowest test-others test-others-quick test-units test-units-quick check format docs bench soak clean native test-native native-fuzz native-miri
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@echo "Installing into $(VENV), once: this takes about a minute."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/dev: $(VENV)/run
	@echo "Installing the tools of developers, once."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]' --group dev
	@touch $@

$(VENV)/docs: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

run: $(VENV)/run ## a nats-server, services and the dashboard; Ctrl-C stops
	@$(BIN)/python examples/demo.py

check: $(VENV)/dev ## format, lint, types, import contracts, samples of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src services tests
	$(BIN)/lint-imports
	$(BIN)/python .ci/samples.py --check

format: $(VENV)/dev ## rewrite the sources in the project's format, and the samples of the documentation
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python .ci/samples.py

test: check $(VENV)/docs ## everything: check, then the tests on real servers, those of the framework on both transport paths
	MICRO_NATIVE=0 $(BIN)/pytest -n $(WORKERS)
	MICRO_NATIVE=0 MICRO_TRANSPORT=public $(BIN)/pytest -n $(WORKERS) tests/micro tests/runtime --ignore tests/micro/cli --ignore tests/micro/dashboard \
	  --ignore tests/micro/_endpoint/test_task_pool.py --ignore tests/micro/_wire/test_fast_transport.py # these take both paths

NATIVE := $(shell find native -name '*.rs' -o -name '*.toml' -o -name Cargo.lock | grep -v /target/)
$(VENV)/native: $(VENV)/dev $(NATIVE)
	@command -v cargo > /dev/null || { echo "natsmicro-native needs Rust: see https://rustup.rs"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ./native
	@touch $@

native: $(VENV)/native ## build the accelerator natsmicro-native and install it; needs Rust

test-native: $(VENV)/native ## the tests of Rust, and those of the framework's core, streams and events on the accelerator
	cargo test --quiet --locked --manifest-path native/Cargo.toml --package natsmicro-wire
	MICRO_NATIVE=1 $(BIN)/pytest -n 2 -q tests/micro/_wire tests/micro/_endpoint tests/micro/_client tests/micro/_handlers \
	  tests/micro/_streams tests/micro/_events tests/runtime/test_stop.py::test_rolling_restarts_under_load_lose_no_request

FUZZ_SECONDS ?= 200
native-fuzz: ## fuzz the accelerator under AddressSanitizer (FUZZ_SECONDS=200 for each target); needs nightly Rust and cargo-fuzz
	cd native && for target in frames headers blocks; do \
	  cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=512 || exit 1; done

native-miri: ## run the tests of Rust under Miri; needs nightly Rust with the component miri
	cargo +nightly miri test --locked --manifest-path native/Cargo.toml --package natsmicro-wire

test-all: ## test with each supported Python that is installed
	.ci/each-python test 3.11 3.12 3.13

test-lowest: ## the tests of the framework, of HTTP and of the command line with the lowest versions of the dependencies
	PYTHON="$(PYTHON)" .ci/lowest

test-others: ## the tests of the framework, of HTTP and of compatibility verdicts with Python 3.12 and 3.13, where installed
	.ci/each-python test-units 3.12 3.13

test-units: $(VENV)/dev
	$(BIN)/pytest -n 2 -q tests/micro tests/micro_http tests/micro_schema_registry/_compatibility \
	  --ignore tests/micro/cli --ignore tests/micro/dashboard

$(VENV)/units: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli,msgpack,nkeys,server,schema-registry]' --group units
	@touch $@

test-others-quick: ## a part of that for CI: requests, errors, signals and compatibility verdicts
	.ci/each-python test-units-quick 3.12 3.13

test-units-quick: $(VENV)/units
	$(BIN)/pytest -n 2 -q tests/micro/_protocol tests/micro/_handlers tests/micro/_endpoint tests/micro/_service \
	  tests/micro/test_errors.py tests/micro/test_signatures.py tests/runtime/test_forks.py tests/micro_schema_registry/_compatibility

PEERS := benchmarks/.build/venv
$(PEERS)/done:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check nats-py nats-micro 'faststream[nats]'
	@touch $@

bench: $(VENV)/dev $(PEERS)/done ## measure against the peers; prints tables (needs Linux and a C compiler)
	for script in throughput cost overhead waiting asking typed_calls startup discovery; do $(BIN)/python benchmarks/$$script.py || exit 1; done

SOAK_SECONDS ?= 600
soak: $(VENV)/dev ## departures that lose nothing, five times; random faults under load on both paths (SOAK_SECONDS=600); etcd for five minutes
	$(BIN)/python -m tests.faults.losses
	MICRO_TRANSPORT=fast $(BIN)/python -m tests.faults.soak $(SOAK_SECONDS)
	MICRO_TRANSPORT=public $(BIN)/python -m tests.faults.soak $(SOAK_SECONDS)
	$(BIN)/python -m tests.micro_etcd.soak --seconds 300

docs: $(VENV)/docs ## build the documentation into site/
	$(BIN)/zensical build --strict --clean

clean: ## remove the environment and every build product
	rm -rf $(VENV) benchmarks/.build benchmarks/peers/node_modules build dist site .pytest_cache .mypy_cache .ruff_cache .cache .coverage native/target native/fuzz/target

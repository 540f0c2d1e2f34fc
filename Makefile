# Everything from a bare machine with Python 3.11, pip, make, Java 17 and Maven: `make run`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export FUZZ_EXAMPLES ?= 2000

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format bench bench-scale fuzz mlflow lock setup setup-dev clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup ## set up, then show the main job live (ARGS=--exit-when-done for a summary)
	$(BIN)/tidewatch up --demo $(ARGS)

test: setup-dev $(VENV)/interop.stamp ## set up, then run the tests (ARGS="tests/streams -k broker" for some)
	OPENC2_PYTHON=$(CURDIR)/$(VENV)/interop/bin/python $(BIN)/python -m pytest $(ARGS)

lint: setup-dev ## style, types, and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy agents schemas streams
	$(BIN)/lint-imports

format: setup-dev ## put the code in its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev $(VENV)/bench.stamp $(VENV)/scanners.stamp ## throughput, latency and detection, beside other engines and scanners
	$(BIN)/python -m tests.bench $(ARGS)
	$(BIN)/python -m tests.bench.packages
	$(BIN)/python -m tests.bench.scanners

bench-scale: setup-dev ## the ledger with ten million sightings of a million components (ARGS="--sightings 1000000")
	$(BIN)/python -m tests.bench.scale $(ARGS)

scenarios: setup-dev ## replay real incidents through the whole chain, and print what came out
	$(BIN)/python -m tests.scenarios.table

fuzz: setup-dev ## fuzz every parser for a minute each (ARGS="10 pickle zip" for some), then the property tests
	$(BIN)/python -m tests.fuzz $(ARGS)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz

mlflow: $(VENV)/mlflow.stamp ## bring an MLflow of its own for the tests that speak to one

lock: setup ## resolve all dependencies anew, with hashes
	$(LOCK) pyproject.toml --extra build --output-file requirements.lock
	$(LOCK) pyproject.toml --extra build --extra dev --constraints requirements.lock --output-file requirements-dev.lock
	for name in bench interop mlflow scanners; do $(LOCK) locks/$$name.in --output-file locks/$$name.lock || exit 1; done

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --no-strip-extras --python-version 3.11 \
	--exclude-newer $(shell date --utc --date "7 days ago" +%Y-%m-%d) \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

setup: $(VENV)/run.stamp

setup-dev: $(VENV)/dev.stamp

# the dependencies as locked, then this checkout, from what is installed already
INSTALL = $(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement
EDITABLE = $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tidewatch needs Python 3.11 or later; name one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) requirements.lock
	$(EDITABLE)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(INSTALL) requirements-dev.lock
	$(EDITABLE)
	@touch $@ $(VENV)/run.stamp

# an environment of its own: a whole model registry, only for the tests that speak to one
$(VENV)/mlflow.stamp: locks/mlflow.lock | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/mlflow
	$(VENV)/mlflow/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/mlflow.lock
	@touch $@

# an environment of its own: the OpenC2 library needs an older STIX library
$(VENV)/interop.stamp: locks/interop.lock | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/interop
	$(VENV)/interop/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/interop.lock
	@touch $@

# an environment of its own: it brings other versions of the Kafka clients
$(VENV)/bench.stamp: locks/bench.lock | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/bench.lock
	@touch $@

# an environment of its own: other scanners, to compare with
$(VENV)/scanners.stamp: locks/scanners.lock | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/scanners
	$(VENV)/scanners/bin/python -m pip install --quiet --no-deps --require-hashes --requirement locks/scanners.lock
	@touch $@

clean: ## remove the environment and caches; the broker's data in .state stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

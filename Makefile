# Everything from a bare machine with Python 3.11 to 3.14, pip, make and Maven: `make run`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
export FUZZ_EXAMPLES ?= 2000

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# compiled once and kept, not by every process that is started
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-fast test-python lint format docs bench bench-scale scenarios fuzz mlflow opensearch connect kusto openid lock setup setup-dev clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: setup ## set up, then show the main job live (ARGS=--exit-when-done for a summary)
	$(BIN)/tidewatch up --demo $(ARGS)

test: setup-dev $(VENV)/interop.stamp $(VENV)/siem.stamp ## set up, then run the tests (ARGS="tests/streams -k broker" for some)
	OPENC2_PYTHON="$(CURDIR)/$(VENV)/interop/bin/python" SIEM_PYTHON="$(CURDIR)/$(VENV)/siem/bin/python" $(BIN)/python -m pytest --numprocesses 4 $(SPREAD) $(ARGS)

test-fast: setup-dev ## the tests that need no Kafka, kill nothing and are quick
	$(BIN)/python -m pytest --numprocesses 2 $(SPREAD) -m "not kafka and not fault and not slow" $(ARGS)

# processes that take tests as tests/scheduling.py says (ARGS="--numprocesses 0": one). With Kafka,
# more of them than cores, since tests wait for servers and sessions; the fast ones wait for little,
# and each process costs what it collects.
SPREAD := --dist loadscope --no-loadscope-reorder

lint: setup-dev ## style, types, and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy agents schemas streams
	$(BIN)/lint-imports

format: setup-dev ## put the code in its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup-dev ## write the generated pages of the documentation anew
	$(BIN)/python -m streams.reports.rule_pages docs/rules
	$(BIN)/python -m streams.reports.reference_pages docs/reference
	$(BIN)/python -m streams.reports.contract_pages docs/contract
	$(BIN)/python -m tests.corpus.evasions docs/evasions.md

bench: setup-dev $(VENV)/bench.stamp $(VENV)/scanners.stamp ## throughput, latency and detection, beside other engines and scanners
	$(BIN)/python -m tests.bench.before
	$(BIN)/python -m tests.bench $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.bench.packages)
	$(if $(ARGS),,$(BIN)/python -m tests.bench.event_path)
	$(if $(ARGS),,$(BIN)/python -m tests.bench.scanners)

bench-scale: setup-dev ## the ledger with ten million sightings of a million components (ARGS="--sightings 1000000")
	$(BIN)/python -m tests.bench.scale $(ARGS)

scenarios: setup-dev ## replay real incidents through the whole chain, and print what came out
	$(BIN)/python -m tests.scenarios.table

fuzz: setup-dev ## fuzz every parser for a minute each (ARGS="10 pickle zip" for some), measure how scans grow, then the property tests
	$(BIN)/python -m tests.fuzz $(ARGS)
	$(BIN)/python -m tests.fuzz.scaling
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz

mlflow: $(VENV)/mlflow.stamp ## bring an MLflow of its own for the tests that speak to one

opensearch: $(VENV)/opensearch.stamp ## bring an OpenSearch for the tests of the SIEM kits

connect: $(VENV)/connect.stamp ## bring a Kafka Connect for the tests of the SIEM kits

openid: $(VENV)/openid.stamp ## bring a certified OpenID provider for the tests of the console

kusto: $(VENV)/kusto.stamp ## bring the language service of KQL for the tests of the SIEM kits

lock: ## bring the locks in line with what is declared (ARGS=--upgrade: everything anew, a week after its release)
	$(LOCK) locks/installer.in --output-file locks/installer.lock
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml $(ROLES) --constraints requirements.lock --output-file locks/local.lock
	$(LOCK) pyproject.toml $(ROLES) --extra build --extra dev --constraints locks/local.lock --output-file requirements-dev.lock
	for name in bench interop mlflow scanners siem; do $(LOCK) locks/$$name.in --output-file locks/$$name.lock || exit 1; done
	$(VENV)/installer/bin/python locks/metadata.py locks/metadata.json requirements.lock requirements-dev.lock locks/*.lock

# what a person's machine has and a worker has not
ROLES := --extra embedded --extra lock --extra notify --extra stores

LOCK = $(INSTALLER) uv pip compile --quiet --generate-hashes --universal --no-strip-extras --python-version 3.11 \
	--exclude-newer $(shell date --utc --date "7 days ago" +%Y-%m-%d) \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(ARGS)

setup: $(VENV)/run.stamp

setup-dev: $(VENV)/dev.stamp

# every environment is made by this: exactly the lock, by its hashes; nothing is resolved
INSTALLER = $(PYTHON) locks/installer.py --installer $(VENV)/installer
RECIPE := locks/installer.py locks/installer.lock

$(VENV)/run.stamp: locks/local.lock pyproject.toml $(RECIPE)
	$(INSTALLER) install $(VENV) $< --project . --editable
	@rm -f $(VENV)/dev.stamp
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml $(RECIPE)
	$(INSTALLER) install $(VENV) $< --project . --editable
	@touch $(VENV)/run.stamp $@

# environments of their own; locks/README.md says what for
$(VENV)/%.stamp: locks/%.lock $(RECIPE)
	$(INSTALLER) install $(VENV)/$* $<
	@touch $@

# packages of npm, exactly those whose hashes are written down
$(VENV)/kusto.stamp: tests/deploy/kusto/package.json tests/deploy/kusto/package-lock.json
$(VENV)/openid.stamp: tests/streams/console/certified/package.json tests/streams/console/certified/package-lock.json
$(VENV)/kusto.stamp $(VENV)/openid.stamp: $(VENV)/%.stamp:
	mkdir -p $(VENV)/$*
	cp $^ $(VENV)/$*
	npm ci --prefix $(VENV)/$* --ignore-scripts --no-audit --no-fund --silent --fetch-timeout 60000 --fetch-retries 1
	@touch $@

# jars of Maven, exactly those whose hashes are written down
$(VENV)/opensearch.stamp $(VENV)/connect.stamp: $(VENV)/%.stamp: tests/deploy/%/pom.xml tests/deploy/%/jars.sha256
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory="$(CURDIR)/$(VENV)/$*"
	cd $(VENV)/$* && sha256sum --check --strict --quiet "$(CURDIR)/tests/deploy/$*/jars.sha256"
	@touch $@

# beside the environment of $(PYTHON): the same packages on another interpreter
test-python: ## run the fast tests on each interpreter that is here (PY=python3.12 for one)
	@for python in $(PY); do \
	  if ! $$python -c '' 2>/dev/null; then echo "$$python: not on this machine"; continue; fi; \
	  echo "$$python:"; \
	  $$python locks/installer.py --installer $(VENV)/installer install $(VENV)/$${python##*/} requirements-dev.lock --project . --editable \
	    && $(VENV)/$${python##*/}/bin/python -m pytest --numprocesses 2 $(SPREAD) -m "not kafka and not fault and not slow" $(ARGS) || exit 1; \
	done

PY ?= python3.11 python3.12 python3.13 python3.14

clean: ## remove the environment and caches; the broker's data in .state stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

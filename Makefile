# Everything that a developer or a build server does here. `make` alone lists it.

BIN := .venv/bin
PORT ?= 8000
# Passed on to pytest: make test ARGS="-k labs"
ARGS ?=
# The documented example key (examples/README.md): the goldens and the examples are made with it, nothing else may be.
EXAMPLE_KEY := casebridge-example-key-do-not-use-in-production
TYPED := $(strip service $(wildcard scripts/*.py) scripts/hapi-server)

export PORT
ifdef PYTHON
export PYTHON
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup java postgres run test lint types golden faults bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## everything into .venv (the command is then .venv/bin/casebridge)
	@scripts/setup.sh venv

run: setup ## convert the example cases into build/bundles, validate them, then start the service (PORT=8000)
	@mkdir -p build/bundles
	@CASEBRIDGE_KEY=$(EXAMPLE_KEY) $(BIN)/casebridge convert examples/cases -o build/bundles
	@$(BIN)/casebridge validate build/bundles --errors-only
	@exec $(BIN)/casebridge serve --port "$$PORT"

test: setup java postgres lint types ## all checks and every test (ARGS=... goes to pytest)
	$(BIN)/pytest $(ARGS)

java: # a JDK and Maven for the tests that ask HAPI, where they can be installed
	@scripts/setup.sh java

postgres: # PostgreSQL for the tests that store in it, where it can be installed
	@scripts/setup.sh postgres

lint: setup ## style, format and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: setup ## mypy --strict
	$(BIN)/mypy --strict $(TYPED)

golden: setup ## write examples/bundles anew from examples/cases: review the diff
	CASEBRIDGE_KEY=$(EXAMPLE_KEY) $(BIN)/casebridge convert examples/cases -o examples/bundles
	@git --no-pager diff --stat -- examples

faults: setup java ## run every test of the fault matrix, and write docs/fault-matrix.md anew: review the diff
	-$(BIN)/pytest tests/faults $(ARGS)
	$(BIN)/python -m scripts.build_fault_matrix

bench: setup ## run every bench/bench_*.py
	@set -e; for file in bench/bench_*.py; do \
	  [ -e "$$file" ] || { echo "no bench/bench_*.py yet"; break; }; \
	  echo "== $$file"; $(BIN)/python "$$file"; \
	done

# Versions in the locks stay as they are unless pyproject.toml forbids them; UPGRADE=--upgrade takes the newest.
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-config --custom-compile-command "make lock" $(UPGRADE)

lock: setup ## compile requirements.lock (a deployment, see Dockerfile) and requirements-dev.lock anew (UPGRADE=--upgrade)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --extra postgres --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove .venv and everything that was built or cached
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

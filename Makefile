# `make site` and `make test` do all the set-up; both are quick when nothing changed.
# A bare machine needs Python 3.11 or later with venv, make, and (for the tests) a C++ compiler.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
ALL := $(VENV)/.all
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help site test check serve format schema mutants clean

help:  ## Say what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

site: $(CORE)  ## Check all records and build the tables and the searchable site into build/site
	$(BIN)/qkb validate
	$(BIN)/qkb build

test: $(ALL)  ## Run all tests, then reproduce every toy result, on the CPU and as simulated hardware
	$(BIN)/python -m pytest -n 2
	$(BIN)/qkb reproduce
	$(BIN)/qkb reproduce --target fpga

check: $(ALL)  ## What a pull request must pass besides the tests: style, types, records, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/qkb validate
	$(BIN)/qkb fmt --check
	$(BIN)/qkb links --offline > /dev/null
	$(BIN)/qkb doctor orphans results
	$(BIN)/python -m qkb.reference --check

serve: $(CORE)  ## Serve the site on this machine and rebuild it when a record changes
	$(BIN)/qkb serve

format: $(ALL)  ## Put code and records into their canonical layout
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/qkb fmt
	$(BIN)/python -m qkb.reference

mutants: $(ALL)  ## Mutation-test one method: make mutants METHOD=binary/xnor_net
	$(BIN)/python tests/mutants.py $(METHOD)

clean:  ## Remove what was built, and the virtual environment
	rm -rf build dist .qkb mutants $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "qkb needs Python 3.11 or later; name it: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "no virtual environment: install your system's python3-venv"; exit 1; }

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(ALL): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[impls,fpga,dev]'
	@touch $(CORE) $@

# make run                        set up, make sample images, inspect them, say where the report lies
# make run IMAGES=folder OUT=out  the same for your own images
# make test                       everything the project is checked with
# make test PYTEST="-k zones"     the same with fewer tests

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
SAMPLE := sample
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
IMAGES ?= $(SAMPLE)/images

.DEFAULT_GOAL := help
.PHONY: help run test format clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make run PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# the stamps are renewed only when the list of dependencies changes
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing endface into $(VENV), about a minute ..."
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing endface and its checks into $(VENV), about a minute ..."
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(SAMPLE)/.made: | $(VENV)/.installed
	$(BIN)/endface synth --preset sample -n 12 --seed 1 -o $(SAMPLE)
	@touch $@

run: $(VENV)/.installed $(if $(filter-out $(SAMPLE)/images,$(IMAGES)),,$(SAMPLE)/.made) ## inspect IMAGES (default: rendered samples) into OUT
	@$(BIN)/endface run "$(IMAGES)" -o "$(OUT)"

test: $(VENV)/.installed-dev ## lint, types, layers, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST)

format: $(VENV)/.installed-dev ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment, samples and results
	rm -rf $(VENV) $(SAMPLE) out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

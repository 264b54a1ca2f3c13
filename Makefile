# make quickstart [OUT=dir]   install into .venv, run the loop twice in the embedded world, write OUT/report.html
# make test                   install into .venv with the test tools, run the suite
# make bench [QUICK=1]         time training and sampling against TRL, transformers and vLLM (installs them into PEERS=.peers)
# make ci                     what continuous integration runs: lint, types, import contracts, the suite, the wheel
#
# PYTHON=python3.12 chooses the interpreter, VENV=dir the environment.

OUT ?= quickstart-run
VENV ?= .venv
PEERS ?= $(or $(TRUING_PEERS),.peers)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST ?= $(BIN)/python -m pytest -n auto --maxprocesses 8

.PHONY: quickstart test bench ci lint types imports wheel docs clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "truing needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pinned versions into $(VENV) (the first time takes a few minutes)"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pinned versions and the test tools into $(VENV) (the first time takes a few minutes)"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

quickstart: $(VENV)/.installed
	$(BIN)/truing quickstart --out "$(OUT)"

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(PYTEST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

bench: $(VENV)/.installed
	TRUING_PEERS="$(abspath $(PEERS))" $(BIN)/python -m benchmarks.all $(if $(QUICK),--quick)

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py

ci: lint types imports test

clean:
	rm -rf $(VENV) dist

# Habits of the project; `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
BENCH  ?= runs/bench

.DEFAULT_GOAL := help
.PHONY: help demo test outcomes lint format bench clean

help: ## list the habits
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed; name one with make PYTHON=python3.12 …" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/installed ## run the whole study on the miniature family and print the main table
	$(BIN)/python -m experiments.reproduce

test: $(VENV)/installed ## run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile

outcomes: $(VENV)/installed ## make the committed tables, claims and reports again
	$(BIN)/python -m experiments.study.outcomes
	$(BIN)/python -m results.claims.error_rates

lint: $(VENV)/installed ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed $(BENCH)/mergekit/installed ## time the main steps against their peers (an hour, 15 GB in runs/)
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.evaluation
	$(BIN)/python -m tests.benchmarks.merge $(BENCH) --mergekit $(BENCH)/mergekit
	$(BIN)/python -m tests.benchmarks.hot $(BENCH) --mergekit $(BENCH)/mergekit

$(BENCH)/mergekit/installed:
	$(PYTHON) -m venv $(BENCH)/mergekit
	$(BENCH)/mergekit/bin/pip install --quiet "$$(grep ^torch== constraints.txt)" mergekit==0.1.5
	@touch $@

clean: ## remove the virtual environment, run folders and caches of tools (trained models stay in LATA_CACHE)
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Commands that need nothing but make and Python: each makes the environment that it needs.
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test faults lint types clean

quickstart: $(VENV)/.run
	$(BIN)/jaxlin quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

faults: $(VENV)/.dev
	$(BIN)/python -m pytest tests/faults --slow -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/.run: pyproject.toml constraints.txt scripts/environment.sh
	sh scripts/environment.sh $(VENV) .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt scripts/environment.sh
	sh scripts/environment.sh $(VENV) '.[dev]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .cache build *.egg-info

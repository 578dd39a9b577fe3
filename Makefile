# `make demo` and `make test` create the environment themselves; nothing but Python >= 3.10 is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?=
STAMP := $(VENV)/.installed

.PHONY: demo test lint clean

$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --config-settings editable_mode=compat
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/extract-features --backbone vgg16 --weights random --limit 128 --cache-dir demo/features
	$(BIN)/extract-features --backbone vgg16 --weights random --limit 128 --padding none --cache-dir demo/features
	$(BIN)/train-probes --sweep --batch-size 8 --cache-dir demo/features --results-dir demo/results
	$(BIN)/make-tables --results-dir demo/results --out demo/tables

test: $(STAMP)
	$(BIN)/python -m pytest $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo build dist *.egg-info

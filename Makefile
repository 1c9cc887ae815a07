# Two commands do everything on a fresh machine: `make train` and `make test`.
# Each makes .venv on its first run and skips the installation while nothing it depends on has changed.
SHELL  := /bin/bash
PYTHON ?= python3
BIN    := .venv/bin
DATA   ?= digits

# Cells run in nbs/ and scripts anywhere: a relative path would point somewhere else in each.
ifdef MINIAI_DATA
export MINIAI_DATA := $(abspath $(MINIAI_DATA))
endif

# The tests must not depend on a network, a display, or on who else uses the cores.
TEST_ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 MPLBACKEND=agg

.PHONY: help train test test-long bench lessons outputs clean

help:
	@echo "make train [DATA=digits|clothes|mnist|fashion_mnist]   train a classifier; curves and predictions go to train.png"
	@echo "make test        lint, pytest, every lesson, and that notebooks and package agree"
	@echo "make test-long   what takes minutes: the wheel in an empty venv, nbdev 3, the long tests"
	@echo "make bench       ours against PyTorch's, interleaved, medians and ratios"
	@echo "make lessons     open Jupyter on nbs/"
	@echo "make outputs     run every lesson top to bottom and keep its outputs in the notebook"
	@echo "make clean       remove .venv and everything that was built"

.venv/.installed: settings.ini setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("miniai needs Python 3.11 or later; %s is %d.%d. Name another one: make PYTHON=python3.11 ..." % (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: .venv/.installed
	$(BIN)/python examples/train.py --data $(DATA)

test: .venv/.installed
	$(BIN)/ruff check -q .
	$(TEST_ENV) $(BIN)/python -m pytest
	$(TEST_ENV) $(BIN)/python tests/run_nbdev_test.py
	$(BIN)/python tests/check_export.py

test-long: test
	$(TEST_ENV) $(BIN)/python -m pytest -m long

bench: .venv/.installed
	$(BIN)/python -m tests.bench

lessons: .venv/.installed
	$(BIN)/jupyter lab nbs

outputs: .venv/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/run_lessons.py

clean:
	rm -rf .venv build dist *.egg-info train.png .pytest_cache .ruff_cache .hypothesis

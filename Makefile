# Two commands do everything on a fresh machine: `make train` and `make test`.
# Each makes .venv on its first run and skips the installation while nothing it depends on has changed.
SHELL  := /bin/bash
PYTHON ?= python3
BIN    := .venv/bin
DATA   ?= digits

# Cells run in nbs/ and scripts anywhere: a relative path would point somewhere else in each.
# (make's abspath would take a path with a space in it for two.)
ifdef MINIAI_DATA
ifeq (,$(filter /%,$(firstword $(MINIAI_DATA))))
override MINIAI_DATA := $(CURDIR)/$(MINIAI_DATA)
endif
export MINIAI_DATA
endif

# Jupyter, matplotlib and Hugging Face keep files in the home folder. Who has none that can be written gets one.
ifneq (yes,$(shell test -w "$$HOME" && echo yes))
export HOME := $(CURDIR)/.venv/home
endif

# torch's threads wait for each other by spinning, and long: beside a busy process a step then takes 10 to 70 times as
# long as it should. A thousand turns are enough when nothing else runs. Your own setting wins.
ifeq (,$(GOMP_SPINCOUNT)$(OMP_WAIT_POLICY))
export GOMP_SPINCOUNT := 1000
endif

# The tests must not depend on a network, a display, or on who else uses the cores.
TEST_ENV := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 MPLBACKEND=agg

.PHONY: help train test test-long bench records lessons export outputs book hooks clean

help:
	@echo "make train [DATA=digits|clothes|mnist|fashion_mnist]   train a classifier; curves and predictions go to train.png"
	@echo "make test        lint, pytest, every lesson, and that notebooks and package agree"
	@echo "make test-long   what takes minutes: the wheel in an empty venv, nbdev 3, the long tests"
	@echo "make bench       ours against PyTorch's, interleaved, medians and ratios"
	@echo "make records     train for each number of README's records [ONLY=\"digits_cnn …\"]: minutes, an hour with real data"
	@echo "make lessons     open Jupyter on nbs/"
	@echo "make export      write the package from the notebooks, and README's table of lessons"
	@echo "make outputs     run every lesson top to bottom and keep its outputs in the notebook"
	@echo "make book        the lessons as pages to read, in book/: contents, formulas, pictures; offline, nothing is run"
	@echo "make hooks       git: merge notebooks cell by cell; no commit whose notebooks and package differ"
	@echo "make clean       remove .venv and everything that was built"

.venv/.installed: settings.ini setup.py pyproject.toml constraints.txt
	@"$(PYTHON)" .ci/install.py
	@mkdir -p .venv/home

train: .venv/.installed
	$(BIN)/python examples/train.py --data $(DATA)

test: .venv/.installed
	$(BIN)/ruff check -q .
	$(TEST_ENV) $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile
	$(TEST_ENV) $(BIN)/python tests/run_nbdev_test.py
	$(BIN)/python tests/check_export.py

test-long: test
	$(TEST_ENV) $(BIN)/python -m pytest -m long

bench: .venv/.installed
	$(BIN)/python -m tests.bench

records: .venv/.installed
	$(BIN)/python -m tests.records $(ONLY)

lessons: .venv/.installed
	$(BIN)/jupyter lab nbs

export: .venv/.installed
	$(BIN)/nbdev_export
	$(BIN)/python tests/readme.py

outputs: .venv/.installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/run_lessons.py

book: .venv/.installed
	rm -rf book
	$(BIN)/python tests/book.py book

hooks: .venv/.installed
	git config merge.nbdev-merge.name "merge notebooks cell by cell"
	git config merge.nbdev-merge.driver ".venv/bin/nbdev_merge %O %A %B %P"
	git config core.hooksPath .githooks

clean:
	rm -rf .venv .venv.lock build dist book *.egg-info train.png .pytest_cache .ruff_cache .hypothesis

# Everything sets itself up; only Python 3.11 or newer and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The CPU build: from the configured index if it has one, else from PyTorch's own.
TORCH := torch==2.13.0+cpu
TORCH_INDEX := https://download.pytorch.org/whl/cpu
BACKENDS ?= jax tensorflow torch
# PyTorch, the quickest to test on, speaks for all where one backend can.
ONCE_jax := -m "not once and not matrix"
ONCE_tensorflow := -m "not once and not matrix"
ONCE_torch := -m "not matrix"
# JAX compiles thousands of functions that run once each: not worth optimising.
ENV_jax := JAX_DISABLE_MOST_OPTIMIZATIONS=1

export TF_CPP_MIN_LOG_LEVEL := 3
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test lint docs bench features clean

demo: $(VENV)/demo.stamp  ## search on synthetic micrographs
	$(BIN)/kerasloss-search demo --backend jax --output demo

test: $(VENV)/dev.stamp  ## all tests, each backend in a process of its own, two at a time
	@$(MAKE) --no-print-directory -j 2 $(BACKENDS:%=test-%) test-search

test-%: $(VENV)/dev.stamp
	@echo "== $*"
	@KERAS_BACKEND=$* $(ENV_$*) $(BIN)/python -m pytest -q --ignore=tests/search $(ONCE_$*) tests
	@KERAS_BACKEND=$* $(BIN)/python -m pytest -q -m backend tests/search
	@echo "== $*: passed"

test-search: $(VENV)/dev.stamp
	@echo "== search"
	@KERAS_BACKEND=jax $(BIN)/python -m pytest -q -m "not backend" tests/search
	@echo "== search: passed"

lint: $(VENV)/dev.stamp  ## style, types, dependency directions, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --quiet --strict

docs: $(VENV)/dev.stamp  ## the documentation, served on 127.0.0.1:8000
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000

bench: $(VENV)/dev.stamp  ## speed, as ratios against a baseline in the same run
	KERAS_BACKEND=jax $(BIN)/python benchmarks/weighting_overhead.py
	KERAS_BACKEND=tensorflow $(BIN)/python benchmarks/weighting_overhead.py
	KERAS_BACKEND=torch $(BIN)/python benchmarks/weighting_overhead.py
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/weighting.py --steps 160 --size 64 --seeds 1
	$(BIN)/python benchmarks/distance_transform.py
	$(BIN)/python benchmarks/search.py throughput --backend jax
	$(BIN)/python benchmarks/search.py throughput --backend tensorflow
	$(BIN)/python benchmarks/search.py riding
	$(BIN)/python benchmarks/search.py memory
	$(BIN)/python benchmarks/search.py overhead

features: $(VENV)/dev.stamp  ## every strategy in every way of training; writes the table of the docs
	KERAS_BACKEND=jax KERASLOSS_MATRIX=1 $(BIN)/python tests/features_table.py jax
	KERAS_BACKEND=tensorflow KERASLOSS_MATRIX=1 $(BIN)/python tests/features_table.py tensorflow
	KERAS_BACKEND=torch KERASLOSS_MATRIX=1 $(BIN)/python tests/features_table.py torch

clean:
	rm -rf $(VENV) site demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kerasloss needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e '.[search,jax]'
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet '$(TORCH)' || \
	  $(BIN)/python -m pip install --quiet '$(TORCH)' --index-url $(TORCH_INDEX)
	$(BIN)/python -m pip install --quiet -e '.[search,tensorflow,jax,torch,dev,docs]'
	@touch $@

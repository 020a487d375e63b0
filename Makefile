# `make` alone lists the verbs.  Every verb sets up what it needs first; a second run finds it done.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV  ?= .venv
PYTHON = $(VENV)/bin/python

# The packages that have kernels: their tests run once more as plain Python, where coverage can see them
# (but not where it takes a compiler, as on the public traces).
NOJIT_TESTS   = $(wildcard tests/engine tests/policy tests/mechanisms tests/planning) \
                -m 'not slow and not compiled and not public_traces'
NOJIT_INCLUDE = snapsim/engine/*,snapsim/policy/*,snapsim/mechanisms/*,snapsim/planning/*

# Compiled tests that stand in rows of their own in `make test`.
RECORDING = tests/recording
BESIDE = tests/integration tests/differential tests/test_benchmarks.py

PYTEST   = $(PYTHON) -m pytest
SANITIZE = tests/notebooks/sanitize.cfg
NBVAL    = $(PYTEST) --nbval $(if $(wildcard $(SANITIZE)),--nbval-sanitize-with $(SANITIZE))

# ---------------------------------------------------------------------------------------------- for users

.PHONY: help
help:  ## list the verbs (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(VENV)/.core  ## answer, from a real recorded disk trace, how much space a snapshot policy needs; write build/demo.html
	@mkdir -p build
	$(VENV)/bin/snapsim simulate data/traces/postgres.parquet --policy data/policies/demo.toml --mechanism qcow2-external --initial data/traces/postgres.initial-map.json --report build/demo.html

.PHONY: lab
lab: $(VENV)/.core  ## open JupyterLab on the start notebook
	$(VENV)/bin/jupyter lab notebooks/00_start_here.ipynb

# ----------------------------------------------------------------------------------------- for developers

.PHONY: check
check: $(VENV)/.dev  ## style, docstrings, types and the import contract (changes nothing)
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/numpydoc lint $$(find snapsim -name '*.py')
	$(PYTHON) tools/check_docstrings.py
	$(VENV)/bin/mypy

.PHONY: format
format: $(VENV)/.dev  ## let ruff reformat and repair what it can
	$(VENV)/bin/ruff check --quiet --fix-only .
	$(VENV)/bin/ruff format .

# Two rows side by side, about as long as each other, and one that mostly waits for other programs: nothing in one
# needs anything of another.
.PHONY: test
test: system-packages $(VENV)/.dev  ## every test: compiled; beside them the kernels as plain Python, then the notebooks
	@$(MAKE) --jobs=3 --output-sync=recurse test-compiled test-beside test-recording \
		COMPILED='$(BESIDE:%=--ignore=%) --ignore=$(RECORDING)'

.PHONY: test-compiled
test-compiled: $(VENV)/.dev  ## the tests with the compiler
	$(PYTEST) $(COMPILED)

.PHONY: test-beside
test-beside: $(VENV)/.dev  ## what `make test` runs beside them: the next two, and the compiled tests that call other programs
	@$(MAKE) test-nojit
	@$(MAKE) notebooks
	$(PYTEST) $(BESIDE)

.PHONY: test-recording
test-recording: $(VENV)/.dev  ## the tests of recordings, with real guests and clients; most of their time is waiting
	$(PYTEST) $(RECORDING)

.PHONY: test-nojit
test-nojit: $(VENV)/.dev  ## the kernels' tests without the compiler, with coverage (HTML in build/coverage)
	@mkdir -p build/coverage
	NUMBA_DISABLE_JIT=1 $(PYTHON) -m coverage run -m pytest $(NOJIT_TESTS)
	$(PYTHON) -m coverage html --quiet --include '$(NOJIT_INCLUDE)'
	$(PYTHON) -m coverage report --include '$(NOJIT_INCLUDE)'

.PHONY: test-slow
test-slow: system-packages $(VENV)/.dev  ## everything once more with ten times the random examples, slow tests included
	HYPOTHESIS_PROFILE=slow $(PYTEST) -m 'not network'

.PHONY: notebooks
notebooks: $(VENV)/.dev  ## run every notebook and compare its outputs with the stored ones
	$(if $(wildcard notebooks/*.ipynb),$(NBVAL) notebooks,@echo "no notebooks yet")

.PHONY: notebooks-update
notebooks-update: $(VENV)/.dev  ## run every notebook and store what it puts out
	$(PYTHON) tools/update_notebooks.py

.PHONY: bench
bench: $(VENV)/.bench  ## measure; results go to benchmarks/results and into the tables of the documentation
	$(PYTHON) -m benchmarks.run
	$(PYTHON) -m benchmarks.report

.PHONY: constraints
constraints: $(VENV)/.dev  ## choose new versions for constraints.txt (needs Python 3.11)
	$(PYTHON) tools/pin_constraints.py

.PHONY: clean
clean:  ## remove what was built and cached; the virtual environment stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find snapsim tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: distclean
distclean: clean  ## as clean, and the virtual environment too
	rm -rf $(VENV)

# ------------------------------------------------------------------------------------------------- set-up

.PHONY: system-packages
system-packages:
	@tools/install-system-packages.sh
	@tools/fetch-guest-kernel.sh

$(VENV)/bin/pip:
	@tools/make-venv.sh $(VENV)

# A stamp each: without extras for users, then what developers and benchmarks add to it.
$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

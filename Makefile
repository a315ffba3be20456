# `make help` lists what can be made.

VENV := .venv
BIN := $(VENV)/bin
# Empty: the first Python 3.10 to 3.12 on the path.
PYTHON ?=
DEMO_FLAGS ?= --out=runs/demo
PYTEST_FLAGS ?=

RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PROJECT := setup.cfg setup.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL_PROJECT := $(PIP) --no-deps --no-build-isolation --use-pep517 --editable .

.PHONY: help demo test test-all check bench format lock clean clean-all
.DEFAULT_GOAL := help

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(RUNTIME)  ## the case study on synthetic people: set-up, run, table, report
	$(BIN)/python -m recipes.case_study $(DEMO_FLAGS)

# A process a core. The tests of a file stay together: they share what was built for the first of them. In the order of
# the files: those with the most tests first would leave a few long ones for the end, and a core without work.
test: check  ## what CI runs: format, lint, types, import order, unit tests, doctests
	$(BIN)/python -m pytest -m "not slow" --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

# Large networks: two processes are all that 16 GB of memory hold.
test-all: check  ## the same with the slow tests
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=2 --dist=loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

# The quick ones first, so that a slip is known within a minute.
check: $(DEV)  ## format, lint, types and import order only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layering.py

# All but those that need a trained network, a folder of networks, or what `tta-lite setup-emulator` says.
NOT_BY_THEMSELVES := adaptive_memory bottleneck channel_criteria channel_removal distillation distillation_pose early_exits load \
  many_in_one once_for_all pose_blocks pose_channels predict quantized_pose quantizers ratios counts search_pose margin zero_cost
bench: $(DEV)  ## the benchmarks; figures, no verdict
	@for file in $(filter-out $(NOT_BY_THEMSELVES:%=benchmarks/bench_%.py),$(wildcard benchmarks/bench_*.py)); do \
	  echo "== $$file"; $(BIN)/python "$$file" || exit 1; \
	done

format: $(DEV)  ## put the code into its format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK := $(BIN)/uv pip compile setup.cfg --quiet --universal --python-version 3.10 --upgrade --no-header \
  --annotation-style line --constraint requirements/constraints.txt
# PyTorch's CPU build needs none of these, and its CUDA build names them itself.
CUDA := ^(nvidia-|cuda-|triton=)

lock: $(DEV)  ## take the newest allowed versions into requirements/*.lock
	$(LOCK) --output-file requirements/runtime.lock
	$(LOCK) --output-file requirements/dev.tmp --extra dev --extra torch --constraint requirements/runtime.lock
	grep -vE '$(CUDA)' requirements/dev.tmp >requirements/dev.lock
	rm requirements/dev.tmp

clean:  ## remove builds and caches; runs/ and .venv stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

clean-all: clean  ## remove .venv as well
	rm -rf $(VENV)

$(RUNTIME): requirements/runtime.lock $(PROJECT) | $(BIN)/python
	@echo "Installing the pinned packages into $(VENV) (0.7 GB of downloads the first time, a few minutes)"
	@$(PIP) --requirement requirements/runtime.lock
	@$(INSTALL_PROJECT)
	@touch $@

$(DEV): requirements/dev.lock $(PROJECT) | $(BIN)/python
	@echo "Installing the pinned packages and the test tools into $(VENV) (1 GB of downloads the first time, a few minutes)"
	@$(PIP) --requirement requirements/dev.lock
	@$(INSTALL_PROJECT)
	@# The dev lock holds all of the runtime lock.
	@touch $(RUNTIME) $@

# A Python that answers to its name may still be none: a version manager's stand-in, or one without venv.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3.11 python3.12 python3.10 python3 python); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
	    echo "Creating $(VENV) with $$("$$python" --version) ($$python)"; \
	    exec "$$python" -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "tta_lite needs Python 3.10, 3.11 or 3.12 with its venv module, and found none under: $(or $(PYTHON),python3.11 python3.12 python3.10 python3 python)." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=/path/to/python3.11" >&2; \
	exit 1

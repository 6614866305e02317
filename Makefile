# The commands of explaind. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
# A machine without a GPU may take PyTorch's smaller CPU build: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# How many processes `make test` runs the tests in; each starts its own servers and loads its own models.
PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help install dev demo up check test test-real test-faults test-soak test-gpu test-all test-planted generate clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Create .venv and install the service, the worker, the SDK and the command line

dev: $(VENV)/.installed-dev ## The same, with the tools that check and test

demo: install ## Start the service, explain one answer of the built-in model, show it, stop
	@$(BIN)/explaind demo

up: install ## Start the service on http://127.0.0.1:8000 and keep it running; Ctrl-C stops it
	@$(BIN)/explaind up

check: dev ## Lint, types, import rules, and no drift in what is generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check

test: dev ## All tests that need nothing but this checkout, in three processes
	$(BIN)/pytest -n $(PROCESSES) --dist loadscope

test-real: dev ## Tests on real models and texts: EXPLAIND_REAL_INPUTS names their folder
	$(BIN)/pytest -m real tests/real

test-faults: dev ## The fault matrix: servers and workers killed, frozen and cut off (some minutes)
	$(BIN)/pytest -n $(PROCESSES) -m faults tests/fault_injection

test-soak: dev ## Small jobs by fifty clients, memory watched, and made-up requests to a whole service (some minutes)
	$(BIN)/pytest -n $(PROCESSES) --dist loadfile -m soak tests/load

test-gpu: ## Tests on a CUDA device, with the python3 at hand where there is no .venv: it needs no network
	PYTHONPATH=clients/python:jobs:service:worker:$$PYTHONPATH \
	  $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m pytest -m gpu tests/gpu

test-all: export EXPLAIND_TESTS = long
test-all: dev ## test, test-faults and test-soak in their long forms: every case, 10,000 jobs (an hour)
	$(BIN)/pytest -n $(PROCESSES) --dist loadscope
	$(BIN)/pytest -n $(PROCESSES) -m faults tests/fault_injection
	$(BIN)/pytest -n $(PROCESSES) --dist loadfile -m soak tests/load

test-planted: dev ## Plant faults in a copy of the checkout: does a test catch each? (half an hour; AREA=store for one area)
	$(BIN)/python -m tools.planted_faults $(if $(AREA),--area $(AREA)) --against tools/planted_faults/before.json

generate: dev ## Write the generated files: sync client, SDK methods, OpenAPI, pages of the docs
	$(BIN)/python -m tools.generate --write

clean: ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "explaind needs Python 3.11 or newer; choose one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@echo "Creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing explaind (the first time takes some minutes) …"
	@$(PIP) $(INDEX) torch==2.13.0
	@$(PIP) $(INDEX) -e ".[all]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the tools …"
	@$(PIP) $(INDEX) -e ".[all,dev]"
	@touch $@

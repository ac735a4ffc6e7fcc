# One command for each thing; `make` alone lists them.
#
# The virtual environment is .venv, or, where this checkout cannot be written to (it belongs to another user),
# one in the cache directory of whoever calls; all that a run leaves behind goes there too. It is made again when
# pyproject.toml or the Python changed.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
OWN := $(shell [ -O . ] && [ -w . ] && { [ ! -e .venv ] || [ -O .venv ]; } && echo yes)
CACHE = $(shell cache="$${XDG_CACHE_HOME:-$$HOME/.cache}/raftkv"; mkdir -p "$$cache" 2>/dev/null && [ -w "$$cache" ] \
	&& echo "$$cache" || echo "$${TMPDIR:-/tmp}/raftkv-$$(id -u)")

ifeq ($(OWN),yes)
VENV ?= .venv
DATA ?= data
PYTEST = "$(VENV)/bin/python" -m pytest
else
VENV ?= $(CACHE)/venv-$(firstword $(shell pwd | cksum))
DATA ?= $(CACHE)/data
PYTEST = "$(VENV)/bin/python" -m pytest -p no:cacheprovider
export MYPY_CACHE_DIR := $(CACHE)/mypy
export RUFF_CACHE_DIR := $(CACHE)/ruff
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
export PYTHONDONTWRITEBYTECODE := 1
endif

SEED ?= 1
SEEDS ?= 2000
SEQUENCES ?= 100

.PHONY: help env run test differential verify fix bench sim sim-long clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 21

env: ## the virtual environment with everything that development needs
	@.ci/make-env "$(PYTHON)" "$(VENV)" dev

run: env ## three members on this machine: redis-cli -p 7001
	@"$(VENV)/bin/python" -m raftkv dev --data "$(DATA)" $(ARGS)

test: env ## all tests; ARGS="-k name" selects
	@$(if $(ARGS),$(PYTEST) $(ARGS),.ci/test $(PYTEST))

differential: env ## many random sequences beside a real redis-server: make differential SEED=1 SEQUENCES=100
	@"$(VENV)/bin/python" -m tests.machines.long_differential --seed "$(SEED)" --sequences "$(SEQUENCES)"

verify: env ## formatting, lint, types and floors; changes nothing
	@"$(VENV)/bin/ruff" format --check .
	@"$(VENV)/bin/ruff" check .
	@"$(VENV)/bin/mypy"
	@$(PYTEST) tests/test_architecture.py

fix: env ## what can be put right by a tool
	@"$(VENV)/bin/ruff" format .
	@"$(VENV)/bin/ruff" check --fix .
	@"$(VENV)/bin/python" -m raftkv settings > conf/raftkv.toml
	@"$(VENV)/bin/python" -m tests.support.compatibility > docs/redis-compatibility.md

bench: env ## side by side with redis-server, etcd and PySyncObj, as far as they are installed
	@.ci/make-env "$(PYTHON)" "$(VENV)" bench
	@"$(VENV)/bin/python" -m benchmarks $(ARGS)

sim: env ## one simulated cluster: make sim SEED=42
	@"$(VENV)/bin/python" -m raftkv.testing --seed "$(SEED)" $(ARGS)

sim-long: env ## many of them: make sim-long SEED=1 SEEDS=2000
	@"$(VENV)/bin/python" -m raftkv.testing --seed "$(SEED)" --seeds "$(SEEDS)" $(ARGS)

clean: ## remove the environment and all caches; data stays
	@rm -rf "$(VENV)" .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

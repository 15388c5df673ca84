# Every target sets itself up: a fresh clone needs Python 3.11 or newer, git and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo sandbox test bench lint format lock clean setup

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# --- environments -----------------------------------------------------------------------------------------------

# The development environment: pip brings uv (hash-checked), uv brings the rest (hash-checked).
.venv/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@echo "Setting up .venv (about a minute the first time) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/.ready

lock: .venv/.ready ## Pin the requirements anew, with hashes
	@for name in deploy training dev uv; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    requirements/$$name.in -o requirements/$$name.txt; done

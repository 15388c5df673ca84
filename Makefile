# Every target sets itself up: a fresh clone needs Python 3.11 or newer, git and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
SITE ?= .docs/site
DOCS_PORT ?= 8000

.PHONY: help demo sandbox acceptance check test bench lint format docs site generate lock regions release screenshots vendor clean setup chromium

# The tests of the sandbox's page need one. As root, in a container, it is installed; elsewhere the tests say how.
chromium:
	@for name in $$CHROMIUM chromium chromium-browser google-chrome google-chrome-stable chrome; do \
	  command -v $$name > /dev/null && exit; done; \
	[ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null || exit 0; \
	echo "Installing Chromium (about a minute) ..."; \
	apt-get update --quiet=2 && apt-get install --quiet=2 --no-install-recommends --yes chromium fonts-dejavu-core > /dev/null \
	  || echo "That failed: the tests of the page will."

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: setup ## Run the whole loop once, unattended; with VERBOSE=1 the jobs' whole logs
	@$(BIN)/python -m sandbox demo $(if $(VERBOSE),--verbose)

sandbox: setup ## Start AWS and GitLab on this machine and leave them to you until Ctrl-C; with FRESH=1 anew
	@$(BIN)/python -m sandbox up $(if $(FRESH),--fresh)

acceptance: setup ## Run the loop on a real AWS account and GitLab, and take it all away: see docs/guides/acceptance.md
	@$(BIN)/python -m sandbox acceptance

check: setup ## Run the tests that start nothing: under a minute
	@$(BIN)/python -m pytest tests/unit tests/contract --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: setup chromium ## Run every test, the end-to-end demo included: about 22 minutes on two cores
	@$(BIN)/python -m sandbox images
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder # three for two cores: the sandbox's tests wait a good deal

screenshots: setup ## Take the pictures of the documentation anew: the loop by clicks, in a headless Chromium, and the demo
	@$(BIN)/python -m sandbox images
	@SCREENSHOTS=docs/images/page $(BIN)/python -m pytest tests/browser/test_loop_by_clicks.py
	@$(BIN)/python -m release.recording

vendor: setup ## Fetch the scripts of the sandbox's page anew, by hash, from their npm packages
	@$(BIN)/python -m release.vendored

bench: setup ## Measure speed and size as ratios, and try every fault at every call: hours
	@$(BIN)/python -m sandbox images
	@$(BIN)/python -m bench

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/cfn-lint infra/*.yml ci_scripts/hosting/templates/*.yml seed-deploy/endpoint-config-template.yml
	@$(BIN)/hadolint Dockerfile

format: setup ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: site ## Show the documentation, with its search, on this machine
	@echo "http://127.0.0.1:$(DOCS_PORT) until Ctrl-C"
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory $(SITE) $(DOCS_PORT)

site: .docs/.ready ## Build the documentation as a site, in .docs/site
	@.docs/venv/bin/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . $(SITE)

generate: setup ## Write what comes from components/, the code and other texts: templates/, docs/reference, schemas, infra/
	@$(BIN)/python -m components
	@$(BIN)/python -m release.docs
	@$(BIN)/python -m release.policies

lock: setup ## Pin the requirements anew, with hashes
	@for name in deploy training-sdk-v3 training-sdk-v2 image-build dev uv checkov release docs; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    requirements/$$name.in -o requirements/$$name.txt; done

regions: setup ## Write anew in which regions a part does not exist, from the lists of cfn-lint and the SageMaker SDK
	@$(BIN)/python -m sandbox images
	@$(BIN)/python -m release.regions

release: ## Commit a release: make release VERSION=1.2.3
	@$(PYTHON) -m release prepare "$(VERSION)"

clean: ## Remove everything the targets above created
	rm -rf .venv .docs .sandbox .mypy_cache .pytest_cache .ruff_cache bench/results

# --- environments -----------------------------------------------------------------------------------------------

setup: .venv/.ready

# pip brings uv, uv brings the rest; both check every file against the hashes in requirements/.
.venv/.ready: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; old = sys.version_info < (3, 11); sys.exit(old and "error: $(PYTHON) is Python %d.%d, older than 3.11. Name a newer one: make PYTHON=python3.13 ..." % sys.version_info[:2] or 0)'
	@echo "Setting up .venv (about a minute the first time) ..."
	@$(BIN)/python -c 'import sys, pip; assert sys.version_info >= (3, 11)' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Sphinx needs a newer docutils than awscli takes: an environment of its own, made anew only when the pins have changed.
.docs/.ready: requirements/docs.txt
	@cmp -s $< .docs/pins.txt || { echo "Setting up .docs/venv (the first time) ..." && $(PYTHON) -m venv --clear .docs/venv && \
	  .docs/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< && cp $< .docs/pins.txt; }
	@touch $@

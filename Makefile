# Two commands do everything: `make run` leaves a report, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lessons lint bench clean help
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/installed ## Install if need be, train both networks on the digits, leave a report
	$(BIN)/handgrad run digits --force

test: $(VENV)/installed ## Install if need be, run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal

lessons: $(VENV)/installed ## Run every lesson, render them to lessons/_site/index.html
	$(BIN)/python -m teach.kit.site

lint: $(VENV)/installed ## Lint, format check, type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed ## Time the hand-written step beside torch eager
	$(BIN)/handgrad bench

clean: ## Remove the environment and caches (reports stay)
	rm -rf $(VENV) lessons/_site build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# torch first and by itself: the pinned version is the one that installs without GPU packages
# where a CPU build is at hand.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "handgrad needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" or 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing torch and the rest into $(VENV) (about a minute, once) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# Two commands do everything: `make run` leaves a report, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

SPHINX := $(BIN)/python -m sphinx -q -c docs
# The shell's own LANGUAGE is none of ours: `make docs LANGUAGE=vi` says it.
TONGUE := $(if $(filter command,$(firstword $(origin LANGUAGE))),$(LANGUAGE),en)

.PHONY: run test docs lessons gettext lint bench clean help
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/installed ## Install if need be, train both networks on the digits, leave a report
	$(BIN)/handgrad run digits --force

test: $(VENV)/installed ## Install if need be, run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal

docs: $(VENV)/docs ## Run every lesson, build the site: docs/_site/en/index.html (or LANGUAGE=vi)
	rm -rf docs/_site/$(TONGUE)
	$(SPHINX) -b html -W --keep-going -j auto $(if $(UNEXECUTED),-D nb_execution_mode=off) -D language=$(TONGUE) -d build/doctrees/$(TONGUE) . docs/_site/$(TONGUE)
	@echo "Open docs/_site/$(TONGUE)/index.html"

lessons: docs ## The same: the lessons are pages of the site

gettext: $(VENV)/docs ## Write what there is to translate: build/pot/, a catalogue for each page
	$(SPHINX) -b gettext -t gettext -D nb_execution_mode=off -j auto -d build/doctrees/pot . build/pot
	PYTHONPATH=docs/_ext $(BIN)/python -m babel.messages.frontend -q extract -F docs/babel.cfg --project=handgrad --no-location -o build/handgrad.pot teach lessons docs/_ext docs/conf.py compare handgrad manual/expression

lint: $(VENV)/installed ## Lint, format check, type check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed ## Time the hand-written step beside torch eager
	$(BIN)/handgrad bench

clean: ## Remove the environment and caches (reports stay)
	rm -rf $(VENV) docs/_site docs/api build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

# torch first and by itself: the pinned version is the one that installs without GPU packages
# where a CPU build is at hand.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "handgrad needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" or 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing torch and the rest into $(VENV) (about a minute, once) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

$(VENV)/docs: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	@touch $@

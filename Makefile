# Ballast. `make run` and `make test` need Python 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Workers of the test suite; "auto" is one per core.
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help run test check format bench chaos migration clean

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/ready  ## serve on PORT (8080), with a database and a bot of its own
	@$(BIN)/python -m service run

test: check  ## everything that must hold: check, then the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/ready  ## ruff, mypy, sqlfluff and the migration linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --processes 2 -q sql migrations
	$(BIN)/squawk migrations/*.sql

format: $(VENV)/ready  ## let ruff lay out the Python
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format -q .

bench: $(VENV)/ready  ## measure beside yardsticks that run next to it; a quarter of an hour
	$(BIN)/python -m benchmarks

chaos: $(VENV)/ready  ## the long forms of the tests under fire; half an hour
	CHAOS=long $(BIN)/python -m pytest -n 0 tests/chaos tests/e2e/test_workers.py tests/payments/test_machine.py tests/payments/test_refunds.py tests/features/broadcasts/test_killed.py

migration: $(VENV)/ready  ## make migration NAME=what: the files of the next one
	@$(BIN)/python -m service migrate new $(NAME)

clean:  ## forget the virtual environment and the development database
	rm -rf $(VENV) .ballast

# The marker is written last: an installation that was cut off is done again, as is an environment without pip, which
# Debian leaves behind where python3-venv is missing. From / because pyenv would insist on what .python-version names,
# and that is for the platforms.
$(VENV)/ready: requirements.txt requirements-dev.txt
	@cd / && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || (cd / && $(PYTHON) -m venv --clear "$(CURDIR)/$(VENV)")
	@echo "installing what requirements-dev.txt names; once, about a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# make serve   sets up and serves the examples on 127.0.0.1:8080 (make serve LISTEN=127.0.0.1:9000 elsewhere)
# make test    sets up and runs all checks: ruff, mypy --strict, pytest
# make fuzz    200,000 generated requests through both ways of reading HTTP; about a minute
# make bench   the table of the README, with its JSON and HTML; about eleven minutes on a quiet machine
# make bench-check    compares a minute's ratios with the committed ones; bench-peers, bench-scale, bench-profile
# make bench-compare  is this checkout as fast as an earlier commit (BASE=9bb7d26)? about four minutes

PYTHON ?= python3
VENV ?= .venv
LISTEN ?=
# What no change may fall behind; another one: make bench-compare BASE=HEAD~1.
BASE ?= 9bb7d26

BIN = $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: serve test lint pytest pytest-slow pytest-others fuzz bench bench-check bench-compare bench-peers bench-scale \
  bench-profile clean

serve: $(VENV)/.installed
	exec $(BIN)/whd serve $(if $(LISTEN),--listen $(LISTEN))

test: lint pytest

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two halves side by side: most tests wait more than they work. PYTEST="tests/http -x" runs those alone.
SLOW_TESTS = tests/contract tests/bench

pytest: $(VENV)/.installed-test
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target pytest-slow pytest-others
endif

pytest-slow:
	$(BIN)/python -m pytest -q $(SLOW_TESTS)

pytest-others:
	$(BIN)/python -m pytest -q $(addprefix --ignore=,$(SLOW_TESTS))

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.http.fuzz --count 200000

bench: $(VENV)/.installed
	mkdir -p bench/results
	$(BIN)/python bench/sync_wait.py --pin --json bench/results/sync_wait.json --html bench/results/sync_wait.html

bench-check: $(VENV)/.installed
	$(BIN)/python bench/check.py --pin $(BENCH)

bench-compare: $(VENV)/.installed
	mkdir -p bench/results
	$(BIN)/python bench/compare.py --pin --base $(BASE) --json bench/results/compare.json \
	  --html bench/results/compare.html $(BENCH)

bench-peers bench-scale bench-profile: bench-%: $(VENV)/.installed
	mkdir -p bench/results
	$(BIN)/python bench/$*.py --pin --json bench/results/$*.json --html bench/results/$*.html $(BENCH)

# Editable, so that a change of the source needs no new set-up; a change of what is needed does.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "whd needs Python 3.11 or newer; make PYTHON=python3.12 names another" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

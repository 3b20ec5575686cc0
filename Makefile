# make serve   sets up and serves the examples on 127.0.0.1:8080 (make serve LISTEN=127.0.0.1:9000 elsewhere)
# make check   ruff, mypy --strict and all tests that start no process: a minute, for the loop of a person at work
# make test    sets up and runs all checks: ruff, mypy --strict, pytest; about six minutes on two cores
# make test-all  what CI runs: make test, then what takes longer (make test-more)
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
# Not --quiet: on a slow network that would be minutes without a sign.
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: serve check check-waiting check-working test test-all test-more lint pytest pytest-first pytest-second fuzz \
  bench bench-check bench-compare bench-peers bench-scale bench-profile clean

serve: $(VENV)/.installed
	exec $(BIN)/whd serve $(if $(LISTEN),--listen $(LISTEN))

# What runs side by side prints when it is done. Where somebody waits for that, descriptor 9 leads to the terminal, and
# pytest tells there how far it is (tests/progress.py).
progress = if { true >&9; } 2>/dev/null; then WHD_TEST_PROGRESS="9:$(1)"; export WHD_TEST_PROGRESS; fi;

# Side by side: one half of these tests waits for clocks most of the time.
check: $(VENV)/.installed-test $(VENV)/.installed-lint
	@echo "whd: ruff, mypy and the tests that start no process, all at once; each prints when it is done"
	@exec 9>&2; $(MAKE) --no-print-directory --jobs=3 --output-sync=target lint check-waiting check-working

WAITING_TESTS = tests/settings tests/rest

check-waiting:
	@$(call progress,tests that wait) $(BIN)/python -m pytest -q -m "not process" $(WAITING_TESTS)

check-working:
	@$(call progress,tests that work) $(BIN)/python -m pytest -q -m "not process" $(addprefix --ignore=,$(WAITING_TESTS))

test: lint pytest

test-all: test test-more

test-more: fuzz

# mypy reads the tests too, and with them pytest.
lint: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "whd: mypy reads all of the source: up to a minute the first time"
	$(BIN)/mypy

# Two halves of about the same length side by side: most tests wait more than they work. PYTEST="tests/http -x" runs
# those alone.
FIRST_HALF = tests/contract tests/bench tests/settings tests/saved

pytest: $(VENV)/.installed-test
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	@echo "whd: all tests, in two halves at once, about six minutes on two cores; each half prints when it is done"
	@exec 9>&2; $(MAKE) --no-print-directory --jobs=2 --output-sync=target pytest-first pytest-second
endif

pytest-first:
	@$(call progress,first half) $(BIN)/python -m pytest -q $(FIRST_HALF)

pytest-second:
	@$(call progress,second half) $(BIN)/python -m pytest -q $(addprefix --ignore=,$(FIRST_HALF))

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
	@echo "whd: setting up $(VENV), once; pip fetches what whd needs (less than a minute on most networks)"
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "whd: adding to $(VENV), once, what the tests need"
	$(PIP_INSTALL) --editable '.[test]'
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed
	@echo "whd: adding to $(VENV), once, what checks the source"
	$(PIP_INSTALL) --editable '.[lint]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

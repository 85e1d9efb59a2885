# Two commands: `make demo` shows the whole product, `make test` runs the tests. Everything goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q
ARGS ?=
KILLS ?= 300

.PHONY: demo test soak fuzz test-browser lint format clean

demo: $(VENV)/installed
	$(BIN)/raptor demo $(ARGS)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not browser" -n 2 --dist loadfile

fuzz: $(VENV)/installed-test
	$(BIN)/python -m tests.readers.fuzz --count 5000 $(ARGS)

test-browser: $(VENV)/installed-test
	$(BIN)/python -m pytest -m browser

soak: $(VENV)/installed-test
	RAPTOR_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/catalog/test_kills.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml requirements-assets.txt
	$(PYTHON) -c 'import sys; sys.exit("raptor-search needs Python 3.11 or later, this is %d.%d: run make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): a few minutes the first time"
	$(PIP) install -e '.[cpu]'
	$(PIP) install --no-deps -r requirements-assets.txt
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install -e '.[cpu,test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

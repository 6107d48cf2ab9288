# Two commands from a fresh clone: `make demo` and `make test`. Everything else is for those who work on it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/*.c csrc/*.h csrc/*.py) setup.py pyproject.toml
ROOMS := csrc drivers netstack kernel userland terrella tools
JOBS ?= 2

.PHONY: demo test lint fast bench bench-check soak build sanitize clean
.DEFAULT_GOAL := demo

$(VENV)/.installed: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@

build: $(VENV)/.installed

demo: $(VENV)/.installed
	@$(BIN)/terrella demo

test: $(VENV)/.installed
	@$(BIN)/python -m pytest -n $(JOBS) tests

lint: $(VENV)/.lint
	$(BIN)/ruff check $(ROOMS) tests setup.py
	$(BIN)/mypy

# The hot modules as machine code (docs/explanation/compiled.md); nothing else needs it.
$(VENV)/.fast: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fast]'
	@touch $@

fast: $(VENV)/.fast
	@$(BIN)/python -m tools.compile

bench: fast
	@$(BIN)/python -m tools.bench

bench-check: fast
	@$(BIN)/python -m tools.bench --check

soak: $(VENV)/.installed
	@$(BIN)/python -m pytest -m soak --run-soak tests

clean:
	rm -rf $(VENV) build *.egg-info csrc/*.so csrc/_leaves.c csrc/_tap.c

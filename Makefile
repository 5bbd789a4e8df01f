# `make quick` builds the pipeline from the release in the repository, `make run` trains it;
# both analyse a sample. `make test` passes all tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

define analyse
$(BIN)/python -m pip install --quiet --force-reinstall --no-deps packages/en_goback-$$($(BIN)/goback version)/dist/*.whl
$(BIN)/goback entities assets/samples/audit.txt --html metrics/sample.html
endef

.PHONY: quick run test clean

quick: $(VENV)/installed
	$(BIN)/python -m spacy project run assemble
	$(analyse)

run: $(VENV)/installed
	$(BIN)/python -m spacy project run all
	$(analyse)

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or later is needed: make PYTHON=...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) corpus training packages metrics/dev* assets/encoder project.lock

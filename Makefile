# Two commands: `make study` runs the main job, `make test` runs the tests.
# Each does all of its own set-up in .venv; nothing else on the machine is touched.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
STUDY ?= quick
BENCH_ARGS ?= --quick
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help study model test pythons check lint types layers format bench fuzz architectures lock docs clean

help:  ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up -------------------------------------------------------------------------------

$(BIN)/python:
	@test "$$(uname)" = Linux || { echo "drdeploy runs on Linux alone, and this is $$(uname): use a Linux machine, a virtual machine or a container"; exit 2; }
	@test -n "$(PYTHON)" || { echo "drdeploy needs Python 3.11, 3.12 or 3.13: install one, or say make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "drdeploy needs Python 3.11, 3.12 or 3.13 (TensorFlow has no package for 3.14 yet), and $(PYTHON) is another: say make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 2; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installer: requirements/installer.txt | $(BIN)/python
	-$(BIN)/python -m pip install --quiet --require-hashes -r requirements/installer.txt
	@touch $@

# uv is fast; pip knows the index and the certificates that the machine is configured for.
define install
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) \
	  || $(BIN)/python -m pip install --quiet --require-hashes -r $(1)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endef

# The test environment holds all that a study needs, so it serves both.
$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.installer
	@echo "setting up $(VENV) (a few minutes the first time)"
	$(call install,requirements/dev.txt)
	@touch $(VENV)/.study $@

$(VENV)/.study: requirements/study.txt pyproject.toml | $(VENV)/.installer
	@echo "setting up $(VENV) (a few minutes the first time)"
	$(call install,requirements/study.txt)
	@touch $@

# Scans infrastructure/; its pins of boto3 and others are no one else's, so it lives by itself.
# Where it cannot be had, its test says so.
CHECKOV := build/checkov
$(CHECKOV)/.ready: requirements/checkov.txt | $(VENV)/.installer
	$(BIN)/python -m venv $(CHECKOV)
	-$(BIN)/uv pip install --quiet --python $(CHECKOV)/bin/python --require-hashes -r $< \
	  || $(CHECKOV)/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

# ---- the main job -------------------------------------------------------------------------

# `quick` needs no TensorFlow; the others export SavedModels, and a file may ask for anything.
study: $(VENV)/$(if $(filter quick,$(STUDY)),.study,.dev)  ## measure, price and report (STUDY=quick|images|profiles|thesis|FILE.toml)
	$(BIN)/drdeploy study run $(STUDY)
	$(BIN)/drdeploy report results/$(basename $(notdir $(STUDY)))

model: $(VENV)/.dev  ## train the grader in the box (half an hour; DATA=DIR WEIGHTS=FILE)
	$(BIN)/python scripts/make_model.py $(if $(DATA),--data "$(DATA)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

# ---- checks -------------------------------------------------------------------------------

test: $(VENV)/.dev $(CHECKOV)/.ready  ## style, types, layers, and every test
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The other interpreters that pyproject.toml names, beside that of $(VENV), which runs every test.
PYTHONS = $(filter-out $(shell $(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'),3.11 3.12 3.13)

pythons: $(VENV)/.installer  ## the fast tests on every Python that is supported
	scripts/test-pythons.sh $(PYTHONS)

check: lint types layers  ## style, types, layers, cycles and names alone

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports --no-cache
	$(BIN)/python scripts/check_structure.py

format: $(VENV)/.dev  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Those on the harness know BENCH_ARGS; a missed target stops nobody and fails at the end.
bench: $(VENV)/.dev  ## benchmarks, side by side (quiet machine wanted; BENCH_ARGS= for all of it)
	@status=0; for file in benchmarks/*.py; do echo "== $$file"; \
	  if grep -q harness.options $$file; then arguments="$(BENCH_ARGS)"; else arguments=; fi; \
	  $(BIN)/python $$file $$arguments || status=1; done; exit $$status

# What it finds lies in build/fuzz/found; a run that is stopped goes on where it was.
fuzz: $(VENV)/.dev  ## feed every parser of foreign bytes with what guided chance makes (MINUTES=10)
	$(BIN)/python tests/fuzz/fuzz_all.py --minutes $(or $(MINUTES),10) $(FUZZ_ARGS)

architectures: $(VENV)/.dev  ## build and export all 27 networks (half an hour)
	$(BIN)/python scripts/export_every_architecture.py

docs: $(VENV)/.dev  ## write the generated reference pages anew
	$(BIN)/python scripts/write_reference.py

# ---- locks --------------------------------------------------------------------------------

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
LIKE_DEV = $(COMPILE) -c requirements/dev.txt

# The images' locks come from dependency groups: a plain install has the command line, which no
# image needs.
lock: $(VENV)/.installer  ## resolve the dependencies anew (all locks agree with dev.txt)
	$(COMPILE) --upgrade pyproject.toml --group editable --extra dev -o requirements/dev.txt
	$(LIKE_DEV) pyproject.toml --group editable --extra study -o requirements/study.txt
	$(LIKE_DEV) pyproject.toml --group fast-tests --extra study -o requirements/fast-tests.txt
	$(LIKE_DEV) pyproject.toml -o requirements/plain.txt
	$(LIKE_DEV) --group lean-image -o requirements/serve.txt
	$(LIKE_DEV) --group classic-image -o requirements/classic.txt
	$(LIKE_DEV) --group baseline-image -o requirements/baseline.txt
	echo "checkov>=3.2" | $(COMPILE) --upgrade - -o requirements/checkov.txt
	$(BIN)/python scripts/write_environment.py

clean:  ## remove what was built; results stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

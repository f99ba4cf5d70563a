# What a newcomer needs, and nothing to install beforehand but Python 3.11, make and pip's network.
# All paths are relative: a checkout may live in a directory whose name has spaces.

PYTHON ?= python3
ARGS ?=
# Most tests wait more than they compute. With 0 they run one after another, and -s shows all.
AT_ONCE ?= 2

VENV := .venv
# The benchmark's own: it needs the peer that the gateway is compared with.
BENCH := .venv-bench
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check
# twistd scans directories for its plugins; the default editable install hides them behind an
# import hook, the compat mode puts the checkout on the path.
INSTALL = $(PIP) install -qq --config-settings editable_mode=compat --editable
METADATA := setup.cfg pyproject.toml
# Questions of bandit that our code has no answer to. B101: our asserts tell the type checker what
# is known, and judge no input. B104, B105, B108: words that look like an address to listen on, a
# password or a temporary file (examples, help, Postgres' own /tmp). B311: chance spreads returns
# over time, and keeps no secret. B404, B603: programs are started by path, never through a shell.
NOT_ASKED := B101,B104,B105,B108,B311,B404,B603

.DEFAULT_GOAL := help
.PHONY: help run test test-more faults bench docs lint clean

help:
	@echo 'make run    run the gateway on http://127.0.0.1:8080; options in ARGS="..."'
	@echo 'make test   run all tests; some of them in ARGS="tests/domain -x"'
	@echo 'make test-more  run those that need tools from apt; the long ones with ARGS="-m long"'
	@echo 'make faults kill, starve and cut off the gateway for most of an hour, and count what was lost'
	@echo 'make bench  measure it beside a FastAPI peer, for an hour or two on an idle machine; needs wrk'
	@echo 'make docs   build the site of docs/ into build/docs; a warning or a dead link is an error'
	@echo 'make lint   check style, types and imports'
	@echo 'make clean  remove what was installed and built, but no data (var/)'
	@echo 'PYTHON=python3.12 in front chooses another Python for a new .venv.'

# Ctrl-C goes to make and twistd alike. The shell waits for twistd to stop in order, and a stop
# that was asked for (130) is not an error.
run: $(VENV)/.run
	@trap : INT; \
	$(VENV)/bin/twistd --nodaemon --pidfile= --logger=smsd.logs.observer smsd $(ARGS) || \
	{ code=$$?; [ $$code -eq 130 ] || exit $$code; }

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n $(AT_ONCE) --dist loadfile $(ARGS)

test-more: $(VENV)/.test
	$(VENV)/bin/python -m pytest tests/more -m 'not long' $(ARGS)

faults: $(VENV)/.test
	PYTHONPATH=.:tests $(VENV)/bin/python -m faults --report docs/faults-result.md $(ARGS)

bench: $(BENCH)/.bench
	PYTHONPATH=.:tests $(BENCH)/bin/python -m bench --report docs/performance/result.md $(ARGS)

# All pages anew each time: a page that has not changed may have lost what it links to.
docs: $(VENV)/.docs
	$(VENV)/bin/python -m sphinx -q -n -W --keep-going -E -d build/doctrees docs build/docs
	@echo 'The first page is build/docs/index.html'

lint: $(VENV)/.lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit -q -r smsd --skip $(NOT_ASKED)

clean:
	rm -rf $(VENV) $(BENCH) build dist smsd.egg-info .mypy_cache .pytest_cache .ruff_cache \
	    .hypothesis .import_linter_cache twisted/plugins/dropin.cache
	find smsd tests twisted -name __pycache__ -prune -exec rm -rf {} +

# Each stamp says that what it names was installed from the metadata as it is now.
$(VENV)/.run: $(METADATA) | $(VENV)/bin/python
	@echo 'Installing smsd into $(VENV); this takes a minute the first time ...'
	@$(INSTALL) .
	@touch $@

$(VENV)/.test $(VENV)/.docs $(VENV)/.lint: $(VENV)/.%: $(METADATA) | $(VENV)/bin/python
	@echo 'Installing smsd and what make $* needs into $(VENV) ...'
	@$(INSTALL) '.[$*]'
	@touch $@ $(VENV)/.run

$(BENCH)/.bench: VENV := $(BENCH)
$(BENCH)/.bench: $(METADATA) | $(BENCH)/bin/python
	@echo 'Installing smsd and its peer into $(BENCH) ...'
	@$(INSTALL) '.[bench]'
	@touch $@

$(VENV)/bin/python $(BENCH)/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'smsd needs Python 3.11 or newer: make PYTHON=python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'Python cannot make virtual environments here. As root: apt-get install python3-venv' >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $* || { rm -rf $*; exit 1; }

# Everything a newcomer types. Installs only into .venv, builds only below .state.

# The first Python of PATH that is new enough; none: the rule of .venv says so.
FOUND := $(shell for one in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done)
PYTHON ?= $(or $(FOUND),python3)
WORKERS ?= 2
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PINS := pyproject.toml client/pyproject.toml constraints.txt
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS)
# Compiled modules are kept, whatever the machine says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-long soak lint bench clean

help: ## What there is to type
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: .venv/.demo ## Build the sample mesh, ask it as three people, stop everything again
	@$(BIN)/sqluice demo

serve: .venv/.demo ## Keep the gateway of the sample mesh up until Ctrl-C
	@$(BIN)/sqluice demo --serve

test: .venv/.test ## All tests but the long ones, with the wall time of each folder
	@$(PYTEST) --dist loadfile --no-loadscope-reorder

test-long: .venv/.test ## The long tests; RECORD=1 writes the run down in docs/verification.md
	@$(PYTEST) --dist load --heaviest-first --no-loadscope-reorder -m long $(if $(RECORD),--record)

soak: .venv/.test ## All endpoints at once for ten minutes, then what is left; ARGS="--seconds 180"
	@$(BIN)/python -m tests.soak $(ARGS)

lint: .venv/.test ## Style, types, import rules and the figures of the house style
	@failed=0; \
	$(BIN)/python -m tests.style.count & counting=$$!; \
	$(BIN)/ruff check . || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports || failed=1; \
	wait $$counting || failed=1; \
	exit $$failed

bench: .venv/.test ## Measurements, beside the bounds that they are held to; ARGS="--sf 1" goes to TPC-H
	@$(BIN)/python -m bench.policies
	@$(BIN)/python -m bench $(ARGS)
	@$(BIN)/python -m bench --sf 1 --wire
	@$(BIN)/python -m bench --cancel

clean: ## Remove what demo, test and lint made, except .venv
	@for link in .state/*/*/cluster .state/*/*/programs .state/*/cluster .state/*/programs; do \
		if [ -L "$$link" ]; then rm -rf "$$(readlink -f "$$link")"; fi; \
	done
	rm -rf .state build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The stamps say which tools .venv holds; the one of the tests includes the one of the demo.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "sqluice needs Python 3.11 or newer on PATH, or make PYTHON=/path/to/python ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	echo "Python has no venv or no pip (Debian: apt install python3-venv)." >&2; exit 1; }

.venv/.demo: $(PINS) | $(BIN)/python
	@start=$$(date +%s) && echo "Installing into .venv ..." && \
	$(INSTALL) --editable client --editable '.[demo]' && \
	echo "Installed in $$(( $$(date +%s) - start )) s." && touch $@

.venv/.test: $(PINS) | $(BIN)/python
	@start=$$(date +%s) && echo "Installing into .venv, with the tools of the tests ..." && \
	$(INSTALL) --editable client --editable '.[bench,demo,fast,test]' && \
	echo "Installed in $$(( $$(date +%s) - start )) s." && touch .venv/.demo $@

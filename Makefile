# Everything a visitor needs: `make demo` to see it run, `make test` to see it proved.
# Nothing is installed by hand: the first target that needs .venv builds it (scripts/make-venv).

VENV ?= .venv
PYTHON ?=
bin := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test cover check bench clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(VENV)/.for-use ## Three nodes and two workers on this machine; the leader is killed while you watch
	@$(bin)/quorate up --nodes 3 --workers 2 --demo $(DEMO_FLAGS)

test: $(VENV)/.for-development ## Run every test
	@scripts/timed 'make test' $(bin)/python -m pytest $(TEST_FLAGS)

cover: $(VENV)/.for-development ## Run the machine's own tests; they must reach its every line and branch
	@scripts/timed 'make cover' $(bin)/python -m coverage run -m pytest $(TEST_FLAGS) tests/cluster/core
	@$(bin)/python -m coverage report

check: $(VENV)/.for-development ## Lint, formatting and types
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy

bench: $(VENV)/.for-development ## Measure the replica beside its bars: one write at a time, a hundred at once
	@scripts/timed 'make bench' $(bin)/python benchmarks/replica.py --json \
		--only fdatasync_p50_ms single_p50_ms outstanding_100_per_second

clean: ## Remove .venv and every cache
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps depend on pyproject.toml and on what is compiled (hatch_build.py): a second `make` does
# nothing here. A PYTHON that was asked for by name is looked at every time, so that a wrong one is
# never quietly ignored.
compiled := $(wildcard hatch_build.py cluster/compiled.py cluster/core/*.py)

$(VENV)/.for-use: pyproject.toml $(compiled) | $(if $(PYTHON),asked-python)
	@scripts/make-venv '$(VENV)' . '$(PYTHON)'
	@touch $@

$(VENV)/.for-development: pyproject.toml $(compiled) | $(if $(PYTHON),asked-python)
	@scripts/make-venv '$(VENV)' '.[dev]' '$(PYTHON)'
	@touch $@ $(VENV)/.for-use

.PHONY: asked-python
asked-python:
	@scripts/find-python '$(PYTHON)' > /dev/null

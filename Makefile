# Everything runs in .venv, which `setup` makes from requirements.lock (see scripts/setup.sh).
PYTHON := .venv/bin/python
# Packages of tests and mypy's scope are in pyproject.toml.
PYTEST := $(PYTHON) -m pytest
# Each worker has servers of its own. Some tests wait, so that one more than two cores pays; four take as long.
WORKERS ?= 3

.PHONY: setup demo test check bench lock format clean

setup:
	@scripts/setup.sh

demo: setup
	@$(PYTHON) -m demo $(DEMO)

check: setup
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m scripts.check_imports

test:
	@scripts/setup.sh --clients
	@$(MAKE) --no-print-directory check
	$(PYTEST) -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)

bench: setup
	@$(PYTHON) -m bench.run $(if $(QUICK),--quick) $(ARGS)

# After a change of dependencies in pyproject.toml.
lock:
	@scripts/lock.sh

format: setup
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info bench/out *.so
	find parser proxy -name '*.so' -delete

# The quick checks before a commit; .ci/run runs these and everything slower.
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: check lint test
check: lint test

lint:
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)pydoclint --quiet rocm scripts app.py
	$(BIN)lint-imports
	$(BIN)mypy
	$(BIN)codespell
	$(BIN)hadolint Dockerfile

test:
	$(BIN)python -m pytest

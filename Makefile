# The quick checks before a commit; .ci/run runs these and everything slower.
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: check lint ruff format pydoclint imports mypy codespell hadolint counted test
check: lint test

lint: ruff format pydoclint imports mypy codespell hadolint

ruff:
	$(BIN)ruff check .

format:
	$(BIN)ruff format --check .

pydoclint:
	$(BIN)pydoclint --quiet rocm scripts app.py

imports:
	$(BIN)lint-imports

mypy:
	$(BIN)mypy

codespell:
	$(BIN)codespell

hadolint:
	$(BIN)hadolint Dockerfile

# What an update at real size takes, on no device.
counted:
	$(BIN)python -m rocm bench dry --variants plain --ref-grad exact

test:
	$(BIN)python -m pytest

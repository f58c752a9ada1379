# The quick checks before a commit; .ci/run runs these and everything slower.
BIN ?= $(if $(wildcard .venv/bin/python),.venv/bin/,)

.PHONY: check lint ruff format pydoclint imports mypy codespell hadolint test
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

# Gradio writes stubs beside components as they are imported; two processes at once write them broken.
mypy:
	find rocm -name '*.pyi' -delete
	$(BIN)mypy

codespell:
	$(BIN)codespell

hadolint:
	$(BIN)hadolint Dockerfile

test:
	$(BIN)python -m pytest

"""Imports point down, and what the page needs stays free of torch."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = set("torch torchvision diffusers transformers peft open_clip".split())


def imported_by(module: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after importing `module`."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    return set(subprocess.check_output(command, cwd=ROOT, text=True).split())


def test_import_contracts_hold():
    lint_imports = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert lint_imports, "lint-imports is not installed. Run: pip install -r requirements-dev.txt"
    result = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_diagrams_show_the_contracts():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagrams = re.findall(r"^```layers\n(.*?)^```", text, re.M | re.S)
    shown = [[line.split("  ")[0] for line in one.splitlines()] for one in diagrams]
    with open(ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert shown == [one["layers"] for one in contracts if one["type"] == "layers"]


def test_page_process_holds_no_torch():
    assert not imported_by("rocm.ui.app") & HEAVY

"""Size of the code base against its limits: `python -m scripts.counts [--no-time]`.

Prints one row per count and names what exceeds a limit; the exit code is then 1. Lines are lines of
Python files, blank lines, comments and docstrings included. A function's lines run from its `def`
to its last statement; its parameters do not include `self`, `cls`, `*args` and `**kwargs`.
"""

import argparse
import ast
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
TREES = ("rocm", "scripts", "tests")
NUM_TIMED = 3
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 6
LIMITS: dict[str, float] = {
    "packages at the top of rocm/": 14,
    "modules at the top of rocm/": 4,
    "lines of rocm/": 40_000,
    "lines of tests/": 23_100,
    f"files over {MAX_FILE_LINES} lines": 0,
    f"functions over {MAX_FUNCTION_LINES} lines": 0,
    f"functions with over {MAX_PARAMETERS} parameters": 0,
    "words of docs/architecture.md": 1_800,
    "seconds of python -m rocm --help": 1.5,
}


@dataclass(frozen=True)
class Function:
    """A function or method.

    Attributes:
        place: `file:line name`.
        num_lines: from `def` to the last statement.
        num_parameters: without `self`, `cls` and variadic parameters.
    """

    place: str
    num_lines: int
    num_parameters: int


@dataclass(frozen=True)
class Count:
    """A row of the table.

    Attributes:
        name: what is counted; a key of `LIMITS` if there is a limit.
        value: the count.
        places: each thing that was counted, where it has a place.
    """

    name: str
    value: float
    places: tuple[str, ...] = ()

    @property
    def is_exceeded(self) -> bool:
        """Whether there is a limit and the value is above it."""
        return self.value > LIMITS.get(self.name, self.value)


def python_files(folder: Path) -> list[Path]:
    """Python files below a folder, sorted."""
    return sorted(folder.rglob("*.py"))


def top_packages(package: Path) -> list[str]:
    """Names of the folders in a package that hold Python files."""
    folders = [path for path in sorted(package.iterdir()) if path.is_dir()]
    return [folder.name for folder in folders if python_files(folder)]


def top_modules(package: Path) -> list[str]:
    """Names of a package's own files, `__init__.py` not counted."""
    return [path.name for path in sorted(package.glob("*.py")) if path.name != "__init__.py"]


def num_lines(path: Path) -> int:
    """Lines of a text file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path, root: Path) -> Iterator[Function]:
    """Every function of a file, nested ones and methods included.

    Args:
        path: of a Python file.
        root: folder that places are relative to.

    Yields:
        The functions, in no particular order.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place = f"{path.relative_to(root)}:{node.lineno} {node.name}"
            yield Function(place, node.end_lineno - node.lineno + 1, num_parameters(node))


def num_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters of a function without `self`, `cls`, `*args` and `**kwargs`."""
    given = [*node.args.posonlyargs, *node.args.args]
    is_bound = bool(given) and given[0].arg in ("self", "cls")
    return len(given) - is_bound + len(node.args.kwonlyargs)


def num_layers(pyproject: Path) -> int:
    """Layers of the first import contract of type `layers`; 0 without one."""
    tools = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    contracts = tools.get("importlinter", {}).get("contracts", [])
    return next(
        (len(contract["layers"]) for contract in contracts if contract["type"] == "layers"), 0
    )


def help_seconds(root: Path) -> float:
    """Median seconds of `python -m rocm --help` in a process of its own."""
    spent = []
    for _ in range(NUM_TIMED):
        began = time.perf_counter()
        command = [sys.executable, "-m", "rocm", "--help"]
        subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
        spent.append(time.perf_counter() - began)
    return median(spent)


def tree_counts(root: Path) -> list[Count]:
    """Every count that needs no clock.

    Args:
        root: of the repository.

    Returns:
        The counts, in the order of the table.
    """
    files = {name: python_files(root / name) for name in TREES}
    lines = {path: num_lines(path) for paths in files.values() for path in paths}
    known = [function for path in lines for function in functions(path, root)]
    long_files = [
        f"{path.relative_to(root)}: {number}"
        for path, number in lines.items()
        if number > MAX_FILE_LINES
    ]
    long_functions = [
        f"{function.place}: {function.num_lines}"
        for function in known
        if function.num_lines > MAX_FUNCTION_LINES
    ]
    wide_functions = [
        f"{function.place}: {function.num_parameters}"
        for function in known
        if function.num_parameters > MAX_PARAMETERS
    ]
    words = (root / "docs" / "architecture.md").read_text(encoding="utf-8").split()
    return [
        _listed("packages at the top of rocm/", top_packages(root / "rocm")),
        _listed("modules at the top of rocm/", top_modules(root / "rocm")),
        Count("lines of rocm/", sum(lines[path] for path in files["rocm"])),
        Count("lines of tests/", sum(lines[path] for path in files["tests"])),
        _listed(f"files over {MAX_FILE_LINES} lines", long_files),
        _listed(f"functions over {MAX_FUNCTION_LINES} lines", long_functions),
        _listed(f"functions with over {MAX_PARAMETERS} parameters", wide_functions),
        Count("import layers in pyproject.toml", num_layers(root / "pyproject.toml")),
        Count("words of docs/architecture.md", len(words)),
    ]


def table(counts: list[Count]) -> str:
    """The counts as text, and below each exceeded limit what was counted."""
    lines = [f"{'count':40} {'value':>8} {'limit':>8}"]
    for count in counts:
        limit = LIMITS.get(count.name)
        cells = [_cell(count.value), "-" if limit is None else _cell(limit)]
        note = "  exceeded" if count.is_exceeded else ""
        lines.append(f"{count.name:40} {cells[0]:>8} {cells[1]:>8}{note}")
        lines += [f"    {place}" for place in count.places if count.is_exceeded]
    return "\n".join(lines)


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _listed(name: str, places: list[str]) -> Count:
    return Count(name, len(places), tuple(places))


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.counts", description=__doc__)
    parser.add_argument("--no-time", action="store_true", help="leave out what takes a clock")
    options = parser.parse_args()
    counts = tree_counts(ROOT)
    if not options.no_time:
        counts.append(Count("seconds of python -m rocm --help", help_seconds(ROOT)))
    print(table(counts))
    return int(any(count.is_exceeded for count in counts))


if __name__ == "__main__":
    sys.exit(main())

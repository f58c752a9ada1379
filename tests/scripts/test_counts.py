"""The counts of a hand-made tree."""

from pathlib import Path

import pytest

from scripts.counts import LIMITS, Count, functions, num_layers, table, top_packages, tree_counts

SMALL = '''"""A module."""


class Box:
    def seven(self, a, b, /, c, d, *more, e, f, g, **rest):
        def inner(): return a
        return inner

    @classmethod
    def six(cls, a, b, c, d, e, f):
        return a


async def long():
BODY
'''
PYPROJECT = """
[[tool.importlinter.contracts]]
type = "forbidden"
[[tool.importlinter.contracts]]
type = "layers"
layers = ["ui | cli", "study", "errors"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "rocm/__init__.py": "",
        "rocm/errors.py": "pass\n" * 401,
        "rocm/study/store/tables.py": SMALL.replace("BODY", "    pass\n" * 60),
        "rocm/assets/page.css": "p {}\n",
        "rocm/__pycache__/errors.cpython-311.pyc": "",
        "scripts/one.py": "pass\n" * 400,
        "tests/test_one.py": "pass\n" * 3,
        "docs/architecture.md": "# House\n\nfour rooms, each once\n",
        "pyproject.toml": PYPROJECT,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_every_count_of_a_small_tree(tree: Path) -> None:
    counts = {count.name: count for count in tree_counts(tree)}
    assert {name: count.value for name, count in counts.items()} == {
        "packages at the top of rocm/": 1,
        "modules at the top of rocm/": 1,
        "lines of rocm/": 401 + 75,
        "lines of tests/": 3,
        "files over 400 lines": 1,
        "functions over 60 lines": 1,
        "functions with over 6 parameters": 1,
        "import layers in pyproject.toml": 3,
        "words of docs/architecture.md": 6,
    }
    assert counts["files over 400 lines"].places == ("rocm/errors.py: 401",)
    (wide,) = counts["functions with over 6 parameters"].places
    assert wide == "rocm/study/store/tables.py:5 seven: 7"
    (long,) = counts["functions over 60 lines"].places
    assert long == "rocm/study/store/tables.py:14 long: 61"


def test_methods_and_nested_functions_are_functions(tree: Path) -> None:
    found = functions(tree / "rocm/study/store/tables.py", tree)
    sizes = {one.place.split()[-1]: (one.num_lines, one.num_parameters) for one in found}
    assert sizes == {"seven": (3, 7), "inner": (1, 0), "six": (2, 6), "long": (61, 0)}


def test_a_folder_without_python_is_no_package(tree: Path) -> None:
    assert top_packages(tree / "rocm") == ["study"]


def test_a_project_without_contracts_has_no_layers(tree: Path) -> None:
    (tree / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert num_layers(tree / "pyproject.toml") == 0


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_may_be_reached_and_not_exceeded(name: str) -> None:
    assert not Count(name, LIMITS[name]).is_exceeded
    assert Count(name, LIMITS[name] + 1).is_exceeded


def test_every_limit_but_the_clocks_is_counted(tree: Path) -> None:
    counted = {count.name for count in tree_counts(tree)}
    assert set(LIMITS) - counted == {"seconds of python -m rocm --help"}


def test_the_table_names_what_exceeds_a_limit() -> None:
    counts = [
        Count("files over 400 lines", 1, ("rocm/long.py: 500",)),
        Count("packages at the top of rocm/", 1, ("study",)),
        Count("import layers in pyproject.toml", 29),
        Count("seconds of python -m rocm --help", 1.234),
    ]
    assert [line.split() for line in table(counts).splitlines()[1:]] == [
        ["files", "over", "400", "lines", "1", "0", "exceeded"],
        ["rocm/long.py:", "500"],
        ["packages", "at", "the", "top", "of", "rocm/", "1", "14"],
        ["import", "layers", "in", "pyproject.toml", "29", "-"],
        ["seconds", "of", "python", "-m", "rocm", "--help", "1.23", "1.50"],
    ]

"""The counts of a hand-made tree."""

from pathlib import Path

import pytest

from scripts.counts import tree_counts

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

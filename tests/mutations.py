"""Faults that a named test must catch: `python tests/mutations.py [-k NAME] [--known-green]`.

Each is applied to a copy of the tree, where its test must go red by a failed test, not by an error
while collecting or setting up. All tests must be green without the faults: they are run first,
unless they have just been.
"""

import argparse
import compileall
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import iter_modules
from threading import get_ident

import mutated
import pytest
from mutated.mutation import Mutation

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("rocm", "tests", "presets", "scripts", "docs", "pyproject.toml", "app.py")
NUM_WORKERS = 2
# What takes seconds to import, and is no part of the tree that is mutated.
LIBRARIES = ["torch", "pytest", "diffusers.pipelines.latent_consistency_models", "peft", "scipy"]
LIBRARIES += ["transformers.models.clip.modeling_clip", "statsmodels.api", "hypothesis"]
LOADED = multiprocessing.get_context("forkserver")
MUTATIONS = [
    mutation
    for area in sorted(found.name for found in iter_modules(mutated.__path__))
    if area != "mutation"
    for mutation in import_module(f"mutated.{area}").MUTATIONS
]


def copy_tree(origin: Path, target: Path) -> None:
    """The tree, with its bytecode where `origin` has some: compiling it costs a third of a test."""
    for name in COPIED:
        source = origin / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy2(source, target / name)
    (target / "assets").symlink_to((origin / "assets").resolve())


def pytest_in(tree: Path, tests: list[str]) -> tuple[int, str]:
    """Exit code and output of pytest in a process of its own, which has the libraries loaded."""
    arguments = ["-q", "-x", "-rf", "--tb=short", "--no-showlocals", "-m", "", *tests]
    output = tree / f"pytest-{get_ident()}.log"
    # `process.exitcode` is 255 where another thread's `start` reaps the process before `join` does.
    receiver, sender = LOADED.Pipe(duplex=False)
    process = LOADED.Process(target=be_pytest, args=(tree, output, arguments, sender))
    process.start()
    sender.close()
    try:
        code = receiver.recv()
    except EOFError:
        code = -1  # it died
    process.join()
    return code, output.read_text()


def be_pytest(tree: Path, output: Path, arguments: list[str], sender: Connection) -> None:
    # The libraries are no garbage: pytest's search for some at its end takes a second without this.
    gc.freeze()
    os.chdir(tree)
    sys.path[:] = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests")]
    with open(output, "w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sender.send(int(pytest.main(["-n", "0", "-p", "no:cacheprovider", *arguments])))


def verdict(mutation: Mutation, origin: Path) -> str:
    """`red` as demanded, or what happened instead."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(origin, tree)
        file = tree / mutation.file
        file.write_text(file.read_text().replace(mutation.old, mutation.new))
        code, output = pytest_in(tree, [mutation.test])
    if code == 0:
        return "GREEN: the fault went unnoticed"
    if code == 1 and f"FAILED {mutation.test}" in output:
        return "red"
    return f"BROKEN: pytest ended with {code}\n{output[-2000:]}"


def misplaced(mutations: list[Mutation]) -> list[str]:
    """What keeps mutations from being applied at all."""
    return [
        f"{mutation.name}: its text stands {count} times in {mutation.file}, not once"
        for mutation in mutations
        if (count := (ROOT / mutation.file).read_text().count(mutation.old)) != 1
    ]


def red_without_a_fault(mutations: list[Mutation], tree: Path, pool: Executor) -> list[str]:
    """Output of tests that fail in the tree as it is; leaves the tree's bytecode behind."""
    tests = sorted({mutation.test for mutation in mutations})
    shares = [share for n in range(NUM_WORKERS) if (share := tests[n::NUM_WORKERS])]
    ended = pool.map(pytest_in, [tree] * len(shares), shares)
    return [f"red without a fault:\n{output[-4000:]}" for code, output in ended if code != 0]


def main() -> int:
    os.environ.update(PYTHONDONTWRITEBYTECODE="", OMP_NUM_THREADS="1")
    LOADED.set_forkserver_preload(LIBRARIES)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", metavar="NAME", help="only mutations with NAME in theirs")
    parser.add_argument("--known-green", action="store_true", help="all tests passed just now")
    options = parser.parse_args()
    wanted = options.k
    mutations = [mutation for mutation in MUTATIONS if wanted in mutation.name]
    if not mutations:
        print(f"No mutation has {wanted!r} in its name.")
        return 2
    if problems := misplaced(mutations):
        print(*problems, sep="\n")
        return 1
    with ThreadPoolExecutor(NUM_WORKERS) as pool, tempfile.TemporaryDirectory() as folder:
        copy_tree(ROOT, Path(folder))
        if options.known_green:
            compileall.compile_dir(folder, quiet=1)
        elif problems := red_without_a_fault(mutations, Path(folder), pool):
            print(*problems, sep="\n")
            return 1
        verdicts = list(pool.map(partial(verdict, origin=Path(folder)), mutations))
    width = max(len(mutation.name) for mutation in mutations)
    for mutation, result in zip(mutations, verdicts, strict=True):
        print(f"{mutation.name:{width}}  {mutation.test}  {result}")
    num_red = verdicts.count("red")
    print(f"{num_red} of {len(mutations)} mutations caught")
    return 0 if num_red == len(mutations) else 1


if __name__ == "__main__":
    sys.exit(main())

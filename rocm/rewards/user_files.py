"""Rewards from the user's own files, `path/to/file.py:name`, checked and copied without torch.

A run keeps a copy of every such file in its folder `rewards`, as it was when the run was created,
with its SHA-256 in `files.json`; training and resuming use the copy.
"""

import ast
import hashlib
import json
import os
import symtable
from collections.abc import Iterable
from pathlib import Path

from rocm.errors import ConfigError, MissingFile, RunError
from rocm.storage.files import make_folder, read_json, write_atomic
from rocm.storage.paths import ROOT

RECORD = "files.json"


def is_user_reward(name: str) -> bool:
    """Whether a reward's name has the form `path/to/file.py:name`."""
    file, _, function = name.rpartition(":")
    return file.endswith(".py") and function.isidentifier()


def find_user_file(name: str) -> Path:
    """The file that a reward's name gives, from the working directory or the project."""
    file = os.path.expanduser(name.rpartition(":")[0])
    for path in (Path.cwd() / file, ROOT / file):
        if path.is_file():
            return path
    raise MissingFile(
        f"reward={name}: the file {file} does not exist. Give the path of a Python file, relative "
        f"to {Path.cwd()} or absolute."
    )


def check_user_reward(name: str) -> Path:
    """The file of a reward, which has a function of that name; it is not run.

    Raises `MissingFile` without the file, `ConfigError` if it is not Python or has no function of
    two arguments of that name.
    """
    path, function = find_user_file(name), name.rpartition(":")[2]
    try:
        source = path.read_text(encoding="utf-8")
        tree, table = ast.parse(source), symtable.symtable(source, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"reward={name}: {path} is not valid Python: {reason}.") from error
    bound = (one for one in table.get_symbols() if one.is_assigned() or one.is_imported())
    if function not in {one.get_name() for one in bound}:
        raise ConfigError(
            f"reward={name}: {path} has no function '{function}'. Define def "
            f"{function}(images, prompts)."
        )
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            num = len(node.args.posonlyargs + node.args.args)
            required = num - len(node.args.defaults)
            if required > 2 or (num < 2 and not node.args.vararg):
                raise wrong_signature(name)
    return path


def wrong_signature(name: str) -> ConfigError:
    """The error of a function that does not take pictures and prompts."""
    function = name.rpartition(":")[2]
    return ConfigError(
        f"reward={name}: '{function}' must take two arguments, the pictures and the prompts. "
        f"Define def {function}(images, prompts)."
    )


def copy_user_files(names: Iterable[str], folder: Path) -> None:
    """Keep a copy of the file of every named reward in `folder`; raises as `check_user_reward`."""
    record = {}
    for name in names:
        path = check_user_reward(name)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        record[name] = {"file": f"{path.stem}-{digest[:12]}.py", "sha256": digest}
        make_folder(folder)
        write_atomic(folder / record[name]["file"], content)
    if record:
        write_atomic(folder / RECORD, json.dumps(record, indent=2) + "\n")


def user_copies(folder: Path) -> dict[str, Path]:
    """The copies that a run keeps in `folder`, by name of the reward; RunError if one differs."""
    copies = {}
    for name, entry in user_record(folder).items():
        path = folder / Path(entry["file"]).name
        if not path.is_file() or _sha256(path) != entry["sha256"]:
            raise RunError(
                f"{path}, the run's copy of reward={name}, is missing or changed, so the run "
                "cannot continue with the same reward. Restore the file, or start a new run."
            )
        copies[name] = path
    return copies


def user_record(folder: Path) -> dict[str, dict[str, str]]:
    """`file` and `sha256` of each copy in `folder`, by name of the reward."""
    return read_json(folder / RECORD) or {}


def name_now(name: str, folder: Path) -> str:
    """A run's reward today: the name, or that of the run's copy if the file has changed since."""
    entry = user_record(folder).get(name)
    if entry is None:
        return name
    try:
        if _sha256(find_user_file(name)) == entry["sha256"]:
            return name
    except MissingFile:
        pass
    return f"{folder / entry['file']}:{name.rpartition(':')[2]}"


def user_versions(names: Iterable[str]) -> dict[str, str]:
    """The file and its SHA-256 of each of the user's rewards among some names."""
    files = {name: find_user_file(name) for name in names if is_user_reward(name)}
    return {name: f"{file.name} with SHA-256 {_sha256(file)}" for name, file in files.items()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

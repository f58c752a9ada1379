"""`python -m rocm runs ...` and `python -m rocm queue ...`: what the page's list of runs offers."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.config.saved import Presets
from rocm.errors import ConfigError
from rocm.runs.export import export
from rocm.runs.library import Runs
from rocm.runs.liveness import ACTIVE
from rocm.runs.repair import repair
from rocm.runs.reports import RunReport
from rocm.storage.numbers import number

Action = Callable[[Runs, argparse.Namespace], str]

trained_on_votes = lazy("rocm.cli.study:trained_on_votes")


def add_runs_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `runs`; without an action it lists."""
    parser.add_argument("--limit", type=int, default=50, help="list only the newest runs")
    parser.set_defaults(run=_act, action=_list)
    actions = parser.add_subparsers(metavar="ACTION")
    _action(actions, "list", _list, "list runs; the default")
    rename = _action(actions, "rename", _rename, "set the title of a run", "run_id")
    rename.add_argument("title", help="at most 120 characters; empty removes it")
    note = _action(actions, "note", _note, "set the note of a run", "run_id")
    note.add_argument("note", help="empty removes it")
    _action(actions, "stop", _stop, "stop a run after its update, or cancel it", "run_id")
    _action(actions, "resume", _resume, "queue a stopped run again", "run_id")
    more = _action(actions, "continue", _continue, "queue an ended run for more updates", "run_id")
    more.add_argument("num_more", type=int, help="number of additional updates")
    _action(actions, "repair", _repair, "mend the damaged files of a run", "run_id")
    _action(actions, "delete", _delete, "move a run to the bin", "run_id")
    _action(actions, "bin", _list_bin, "list deleted runs")
    _action(actions, "restore", _restore, "move a run out of the bin", "run_id")
    _action(actions, "empty-bin", _empty_bin, "delete the runs in the bin permanently")
    zipped = _action(actions, "export", _export, "zip a run without its checkpoints", "run_id")
    zipped.add_argument("--to", type=Path, default=Path(), help="folder of the zip file")


def add_queue_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `queue`; without an action it lists."""
    parser.set_defaults(run=_act, action=_list_queue)
    actions = parser.add_subparsers(metavar="ACTION")
    _action(actions, "list", _list_queue, "list active and waiting runs; the default")
    add = _action(actions, "add", _add, "queue a new run; every setting is a flag")
    add.add_argument("source", metavar="PRESET", help="preset name")
    add.set_defaults(takes_settings=True)
    move = _action(actions, "move", _move, "change the place of a waiting run", "run_id")
    move.add_argument("position", type=int, help="0 is next")
    _action(actions, "cancel", _cancel, "take a run out of the queue; it is kept", "run_id")


def settings(rest: Sequence[str]) -> dict[str, str]:
    """Settings by name from `--name value` or `--name=value`; ConfigError for any other form."""
    values: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"'{word}' is not a setting. Write --name value, such as --beta 0.1.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            following = next(words, None)
            if following is None:
                raise ConfigError(f"{word} needs a value, such as --beta 0.1.")
            value = following
        values[name.replace("-", "_")] = value
    return values


def preset_with(name: str, rest: Sequence[str], home: Path) -> RunConfig:
    """The settings of a shipped or saved preset, changed by flags; MissingFile for no preset."""
    return with_votes(RunConfig.load(Presets(home).source(name), **settings(rest)), home)


def with_votes(config: RunConfig, home: Path) -> RunConfig:
    """The settings with the table of votes that `preferences=study:ID` names."""
    is_study = config.preferences.startswith("study:")
    changed: RunConfig = trained_on_votes(config, home) if is_study else config
    return changed


def _action(
    actions: Any, name: str, function: Action, text: str, *arguments: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=text.capitalize() + "."
    )
    parser.set_defaults(action=function)
    for argument in arguments:
        parser.add_argument(argument, metavar="RUN")
    return parser


def _act(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    options.rest, options.home = rest, home
    print(options.action(Runs(home), options))


def _list(runs: Runs, options: argparse.Namespace) -> str:
    reports = runs.all()[: options.limit]
    if not reports:
        return f"No runs in {runs.folder}. Start one: python -m rocm train tiny-rocm-kl"
    return "\n".join(map(_line, reversed(reports)))


def _line(report: RunReport) -> str:
    status = report.status
    state = status.state if report.position is None else f"queued ({report.position})"
    state += f" at {status.engine.capitalize()}" if status.engine else ""
    results = "no reward yet" if report.reward is None else f"reward {number(report.reward, 3)}"
    if report.judge is not None:
        results += f"  judge {number(report.judge, 3)}"
    words = f"{report.run_id:48} {state:20} {status.step}/{status.num_steps}  {results}"
    trouble = f"\n    {status.error}" if status.engine and status.error else ""
    return f"{words}  {report.name}{trouble}"


def _list_queue(runs: Runs, options: argparse.Namespace) -> str:
    afar = ("submitted", *ACTIVE)
    active = [report for report in runs.all() if report.status.state in afar]
    return "\n".join(map(_line, [*active, *runs.waiting()])) or "No run is waiting."


def _add(runs: Runs, options: argparse.Namespace) -> str:
    config = preset_with(options.source, options.rest, options.home)
    return runs.start(config, options.source)


def _move(runs: Runs, options: argparse.Namespace) -> str:
    runs.queue.move(runs.run(options.run_id), options.position)
    return _list_queue(runs, options)


def _cancel(runs: Runs, options: argparse.Namespace) -> str:
    runs.queue.cancel(runs.run(options.run_id))
    return f"Canceled. Queue it again: python -m rocm runs resume {options.run_id}"


def _stop(runs: Runs, options: argparse.Namespace) -> str:
    is_waiting = runs.report(options.run_id).status.is_queued
    runs.stop(options.run_id)
    return f"{options.run_id} {'is canceled' if is_waiting else 'stops after its update'}."


def _resume(runs: Runs, options: argparse.Namespace) -> str:
    runs.resume(options.run_id)
    return f"{options.run_id} is {runs.report(options.run_id).status.state}."


def _continue(runs: Runs, options: argparse.Namespace) -> str:
    runs.extend(options.run_id, options.num_more)
    return f"{options.run_id} is queued for {options.num_more} more updates."


def _rename(runs: Runs, options: argparse.Namespace) -> str:
    runs.rename(options.run_id, options.title)
    return f"{options.run_id}: {runs.report(options.run_id).title or 'no title'}"


def _note(runs: Runs, options: argparse.Namespace) -> str:
    runs.annotate(options.run_id, options.note)
    return f"{options.run_id}: note saved."


def _repair(runs: Runs, options: argparse.Namespace) -> str:
    return "\n".join(repair(runs.run(options.run_id))) or f"{options.run_id} is not damaged."


def _delete(runs: Runs, options: argparse.Namespace) -> str:
    runs.delete(options.run_id)
    return f"Moved to the bin. Restore it: python -m rocm runs restore {options.run_id}"


def _list_bin(runs: Runs, options: argparse.Namespace) -> str:
    return "\n".join(map(_line, runs.deleted())) or "The bin is empty."


def _restore(runs: Runs, options: argparse.Namespace) -> str:
    runs.restore(options.run_id)
    return f"{options.run_id} is restored."


def _empty_bin(runs: Runs, options: argparse.Namespace) -> str:
    return f"Permanently deleted: {runs.empty_bin()} runs."


def _export(runs: Runs, options: argparse.Namespace) -> str:
    return str(export(runs.run(options.run_id), options.to))

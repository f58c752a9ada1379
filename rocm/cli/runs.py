"""`python -m rocm runs ...` and `python -m rocm queue ...`: what the page's list of runs offers."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.studio import RunReport, Services

Action = Callable[[Services, argparse.Namespace], str]


def add_runs_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `runs`; without an action it lists."""
    parser.add_argument("--limit", type=int, default=50, help="list the newest so many")
    parser.set_defaults(action=_list)
    actions = parser.add_subparsers(metavar="ACTION")
    _action(actions, "list", _list, "list runs; the default")
    rename = _action(actions, "rename", _rename, "give a run a title", "run_id")
    rename.add_argument("title", help="at most 120 characters; empty takes it away")
    note = _action(actions, "note", _note, "write a note to a run", "run_id")
    note.add_argument("note", help="empty takes it away")
    _action(actions, "stop", _stop, "stop a run after its update, or cancel it", "run_id")
    _action(actions, "resume", _resume, "queue a stopped run again", "run_id")
    more = _action(actions, "continue", _continue, "queue an ended run for more", "run_id")
    more.add_argument("num_more", type=int, help="updates after those that it has done")
    _action(actions, "delete", _delete, "move a run to the bin", "run_id")
    _action(actions, "bin", _list_bin, "list deleted runs")
    _action(actions, "restore", _restore, "take a run out of the bin", "run_id")
    _action(actions, "empty-bin", _empty_bin, "delete for good what is in the bin")
    export = _action(actions, "export", _export, "zip a run without its checkpoints", "run_id")
    export.add_argument("--to", type=Path, default=Path(), help="folder of the zip file")


def add_queue_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `queue`; without an action it lists."""
    parser.set_defaults(action=_list_queue)
    actions = parser.add_subparsers(metavar="ACTION")
    _action(actions, "list", _list_queue, "what is at work, and what waits; the default")
    add = _action(actions, "add", _add, "queue a new run; every setting is a flag")
    add.add_argument("source", metavar="PRESET", help="preset name")
    add.set_defaults(takes_settings=True)
    move = _action(actions, "move", _move, "put a waiting run elsewhere", "run_id")
    move.add_argument("position", type=int, help="0 is next")
    _action(actions, "cancel", _cancel, "take a run out of the queue; it is kept", "run_id")


def settings(rest: Sequence[str]) -> dict[str, str]:
    """Settings by name from flags that argparse does not know: --name value or --name=value.

    Args:
        rest: words of the command line.

    Returns:
        Values as text.

    Raises:
        ConfigError: a word is no flag, or a flag has no value.
    """
    found: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--"):
            raise ConfigError(f"'{word}' is not a setting. Write --name value, such as --beta 0.1.")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = next(words, None)
            if value is None:
                raise ConfigError(f"{word} needs a value, such as --beta 0.1.")
        found[name.replace("-", "_")] = value
    return found


def grid(words: Sequence[str]) -> dict[str, list[str]]:
    """Values by setting from words such as `beta=0,0.1,1`; ConfigError where one is not so."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not listed:
            raise ConfigError(f"--grid {word} cannot be read. Write NAME=VALUE,VALUE: beta=0,0.1.")
        found[name.strip().replace("-", "_")] = listed
    return found


def _action(
    actions: Any, name: str, function: Action, text: str, *arguments: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.set_defaults(action=function)
    for argument in arguments:
        parser.add_argument(argument, metavar="RUN")
    return parser


def _list(services: Services, options: argparse.Namespace) -> str:
    reports = services.list_runs()[: options.limit]
    if not reports:
        return f"No runs in {services.runs}. Start one: python -m rocm train tiny-rocm-kl"
    return "\n".join(_line(report) for report in reversed(reports))


def _line(report: RunReport) -> str:
    status = report.status
    state = status.state if report.position is None else f"queued ({report.position})"
    results = "no reward yet" if report.reward is None else f"reward {report.reward:.3g}"
    if report.judge is not None:
        results += f"  judge {report.judge:.3g}"
    words = f"{report.run_id:48} {state:12} {status.step}/{status.num_steps}  {results}"
    return f"{words}  {report.title}".rstrip()


def _list_queue(services: Services, options: argparse.Namespace) -> str:
    active = [report for report in services.list_runs() if report.status.is_active]
    waiting = [services.run_status(run_id) for run_id in services.queue()]
    return "\n".join(_line(report) for report in [*active, *waiting]) or "Nothing waits."


def _add(services: Services, options: argparse.Namespace) -> str:
    values = services.load_preset(options.source).model_dump()
    config = RunConfig.load(values, **settings(options.rest))
    return services.start_run(config, options.source)


def _move(services: Services, options: argparse.Namespace) -> str:
    services.move_run(options.run_id, options.position)
    return _list_queue(services, options)


def _cancel(services: Services, options: argparse.Namespace) -> str:
    services.cancel_run(options.run_id)
    return f"Cancelled. Queue it again: python -m rocm runs resume {options.run_id}"


def _stop(services: Services, options: argparse.Namespace) -> str:
    services.stop_run(options.run_id)
    return f"{options.run_id} stops after its update."


def _resume(services: Services, options: argparse.Namespace) -> str:
    services.resume_run(options.run_id)
    return f"{options.run_id} is queued."


def _continue(services: Services, options: argparse.Namespace) -> str:
    services.continue_run(options.run_id, options.num_more)
    return f"{options.run_id} is queued for {options.num_more} more updates."


def _rename(services: Services, options: argparse.Namespace) -> str:
    services.rename_run(options.run_id, options.title)
    return f"{options.run_id}: {services.run_status(options.run_id).title or 'no title'}"


def _note(services: Services, options: argparse.Namespace) -> str:
    services.annotate_run(options.run_id, options.note)
    return f"{options.run_id}: noted."


def _delete(services: Services, options: argparse.Namespace) -> str:
    services.delete_run(options.run_id)
    return f"In the bin. Take it out: python -m rocm runs restore {options.run_id}"


def _list_bin(services: Services, options: argparse.Namespace) -> str:
    return "\n".join(_line(report) for report in services.list_bin()) or "The bin is empty."


def _restore(services: Services, options: argparse.Namespace) -> str:
    services.restore_run(options.run_id)
    return f"{options.run_id} is back."


def _empty_bin(services: Services, options: argparse.Namespace) -> str:
    return f"Deleted for good: {services.empty_bin()} runs."


def _export(services: Services, options: argparse.Namespace) -> str:
    return str(services.export_run(options.run_id, options.to))


def wait_for_sweep(services: Services, sweep_id: str, say: Callable[[str], None]) -> None:
    """Watch a sweep in the queue until none of its runs waits or works.

    Args:
        services: of its home.
        sweep_id: the sweep.
        say: gets a line whenever a run is done.
    """
    said = ""
    while True:
        report = services.sweep_report(sweep_id)
        states = [state for cell in report.cells for state in cell.states]
        line = f"{sweep_id}: {report.num_done} of {report.num_runs} runs done"
        if line != said:
            say(line)
            said = line
        if not set(states) & {"queued", "starting", "running", "stopping"}:
            return
        services.reconcile()
        time.sleep(1.0)

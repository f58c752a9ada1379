"""`python -m rocm study`: build, open, watch, pack, verify, erase, export a study."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.storage.files import make_folder, write_atomic

if TYPE_CHECKING:
    from rocm.study.store.pictures import Pictures
    from rocm.study.store.store import Store

DrawingQueue = lazy("rocm.generation.queue:DrawingQueue")
DraftBin = lazy("rocm.study.archive.bin:DraftBin")
export: Callable[..., str] = lazy("rocm.study.archive.export:export")
pack = lazy("rocm.study.archive.pack:pack")
unpack = lazy("rocm.study.archive.pack:unpack")
with_votes: Callable[..., tuple[RunConfig, str]] = lazy("rocm.study.archive.preferences:with_votes")
verify = lazy("rocm.study.archive.verify:verify")
lifecycle = lazy("rocm.study.design.lifecycle")
build = lazy("rocm.study.design.build")
outlook = lazy("rocm.study.design.outlook")
load_recipe = lazy("rocm.study.design.recipe:Recipe.load")
summary: Callable[..., str] = lazy("rocm.study.report.progress:summary")
study_report = lazy("rocm.study.report.stored:study_report")
erase = lazy("rocm.study.store.erase")
invitations = lazy("rocm.study.store.invitations")
Backup = lazy("rocm.study.store.backup:Backup")
open_pictures = lazy("rocm.study.store.pictures:Pictures")
simulate_raters = lazy("rocm.study.store.simulated_raters:simulate_raters")
open_store = lazy("rocm.study.store.store:Store.open")
named = lazy("rocm.study.store.studies:named")


@dataclass(frozen=True)
class OpenHome:
    """What the commands work with: the home folder, its store and its pictures."""

    home: Path
    store: "Store"
    pictures: "Pictures"


Action = Callable[[OpenHome, argparse.Namespace], str]


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `study`."""
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    one = _action(actions, "build", _build, "draw a study's pictures; goes on where it stopped")
    one.add_argument("recipe", type=Path, help="study.yaml")
    one = _action(actions, "status", _status, "list studies, or how far one is")
    one.add_argument("study", nargs="?", metavar="STUDY")
    _of_study(actions, "pairs", _pairs, "list the pairs of a study with their pictures")
    one = _of_study(actions, "strike", _strike, "leave a pair out before the study opens")
    one.add_argument("pair", type=int)
    one.add_argument("reason", help="stays in the manifest; empty takes the pair in again")
    one = _of_study(actions, "power", _power, "what the design takes and can tell")
    one.add_argument("--seconds-per-pair", type=float, help="default: 20")
    one.add_argument("--pay-per-hour", type=float, default=0.0, help="in any currency")
    _of_study(actions, "delete", _delete, "move a draft to the bin; of pilots nothing is kept")
    _action(actions, "bin", _list_bin, "list deleted drafts")
    one = _action(actions, "restore", _restore, "take a draft out of the bin")
    one.add_argument("study", metavar="STUDY", help="its id, or the beginning of it")
    _action(actions, "empty-bin", _empty_bin, "delete for good what is in the bin")
    _of_study(actions, "open", _open, "freeze a study and let raters in")
    _of_study(actions, "pause", _pause, "give out no more pairs")
    _of_study(actions, "resume", _resume, "give out pairs again")
    _of_study(actions, "close", _close, "end a study for good")
    one = _of_study(actions, "simulate", _simulate, "let simulated raters vote; marked so")
    one.add_argument("--raters", type=int, default=30, help="at most")
    one.add_argument("--score", type=float, default=0.6, help="of each comparison's first arm")
    one.add_argument("--seed", type=int, default=0)
    one = _of_study(actions, "add-raters", _add_raters, "plan work for more raters")
    one.add_argument("num", type=int)
    one = _of_study(actions, "invite", _invite, "links for invited raters only")
    one.add_argument("--num", type=int, default=1, help="of raters, each gets a link")
    one.add_argument("--address", default="http://127.0.0.1:7860", help="of the server that votes")
    one = _of_study(actions, "pack", _pack, "zip a study without the names of its arms")
    one.add_argument("--to", type=Path, default=Path("study.zip"), help="zip file")
    one.add_argument("--votes", action="store_true", help="raters and votes too")
    one = _action(actions, "unpack", _unpack, "take a study, or its votes, from a zip")
    one.add_argument("zip", type=Path)
    one.add_argument("--key", type=Path, help="file that names the arms")
    _of_study(actions, "verify", _verify, "recount votes and check every hash")
    one = _of_study(actions, "erase", _erase, "delete a rater for good; stop the app first")
    one.add_argument("rater", type=int, help="number of the rater")
    _of_study(actions, "forget-payments", _forget, "delete the ids that were kept to pay")
    one = _of_study(actions, "export", _export, "write votes in every format")
    one.add_argument("--to", type=Path, default=Path("export"), help="folder")
    one.add_argument("--question", help="default: the study's primary one")
    one = _of_study(actions, "report", _report, "write results as HTML, Markdown and JSON")
    one.add_argument("--to", type=Path, default=Path("report"), help="folder")


def run(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Run one action on the studies of `home` and print its answer."""
    with open_home(home) as opened:
        action: Action = options.action
        print(action(opened, options))


def trained_on_votes(config: RunConfig, home: Path) -> RunConfig:
    """Settings whose `preferences=study:ID` is the table of that study's votes; says what it holds.

    Args:
        config: any settings.
        home: folder of everything.

    Returns:
        The settings, as given where no study is named.
    """
    with open_home(home) as opened:
        changed, words = with_votes(config, opened.store, home)
    print(words, flush=True)
    return changed


@contextmanager
def open_home(home: Path) -> Iterator[OpenHome]:
    """The store and pictures of a home.

    Args:
        home: made if absent.

    Yields:
        What the commands work with.
    """
    home.mkdir(parents=True, exist_ok=True)
    store = open_store(os.environ.get("DATABASE_URL") or home / "study.sqlite3")
    try:
        yield OpenHome(home, store, open_pictures(home / "study-pictures"))
    finally:
        store.close()


def _action(actions: Any, name: str, function: Action, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=text.capitalize() + "."
    )
    parser.set_defaults(action=function)
    return parser


def _of_study(actions: Any, name: str, function: Action, text: str) -> argparse.ArgumentParser:
    parser = _action(actions, name, function, text)
    parser.add_argument("study", metavar="STUDY", help="its id, or the beginning of it")
    return parser


def _id(at: OpenHome, options: argparse.Namespace) -> str:
    """The study that an id, or its beginning, stands for."""
    return named(at.store.studies(), options.study).study_id


def _build(at: OpenHome, options: argparse.Namespace) -> str:
    recipe = load_recipe(options.recipe)
    queue = DrawingQueue(at.home / "studies" / "worker.log")
    try:
        say: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
        study_id = build.build(build.Build(at.home, at.store, at.pictures, queue, say), recipe)
    finally:
        queue.close()
    return (
        f"{summary(at.store, study_id)}\nLook through it: python -m rocm study pairs {study_id}\n"
        f"Then: python -m rocm study open {study_id}"
    )


def _status(at: OpenHome, options: argparse.Namespace) -> str:
    if options.study:
        return summary(at.store, _id(at, options))
    lines = [f"{one.study_id}  {one.status:7} {one.title}" for one in at.store.studies()]
    return "\n".join(lines) or "No studies. Build one: python -m rocm study build study.yaml"


def _pairs(at: OpenHome, options: argparse.Namespace) -> str:
    rows = lifecycle.pairs(at.store, _id(at, options))
    return "\n".join(
        f"{row.id:6} {row.kind:8} {row.picture_a} {row.picture_b} {row.text}"
        f"{f'  STRUCK: {row.struck}' if row.struck else ''}"
        for row in rows
    )


def _strike(at: OpenHome, options: argparse.Namespace) -> str:
    lifecycle.strike(at.store, _id(at, options), options.pair, options.reason or None)
    return f"Pair {options.pair} is {'left out' if options.reason else 'in again'}."


def _power(at: OpenHome, options: argparse.Namespace) -> str:
    seconds = options.seconds_per_pair or outlook.SECONDS_PER_PAIR
    return str(outlook.outlook(at.store, _id(at, options), seconds, options.pay_per_hour))


def _open(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    return f"Open. Manifest: {lifecycle.open_study(at.store, study_id)}"


def _delete(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    DraftBin(at.home, at.store).put(study_id)
    return f"In the bin. Take it out: python -m rocm study restore {study_id}"


def _list_bin(at: OpenHome, options: argparse.Namespace) -> str:
    found = DraftBin(at.home, at.store).drafts()
    return "\n".join(f"{one.study_id}  {one.title}" for one in found) or "The bin is empty."


def _restore(at: OpenHome, options: argparse.Namespace) -> str:
    deleted = DraftBin(at.home, at.store)
    fitting = [one.study_id for one in deleted.drafts() if one.study_id.startswith(options.study)]
    study_id = fitting[0] if len(fitting) == 1 else options.study
    deleted.take_out(study_id)
    return summary(at.store, study_id)


def _empty_bin(at: OpenHome, options: argparse.Namespace) -> str:
    return f"Deleted for good: {DraftBin(at.home, at.store).empty()} drafts."


def _pause(at: OpenHome, options: argparse.Namespace) -> str:
    lifecycle.pause(at.store, _id(at, options))
    return summary(at.store, _id(at, options))


def _resume(at: OpenHome, options: argparse.Namespace) -> str:
    lifecycle.resume(at.store, _id(at, options))
    return summary(at.store, _id(at, options))


def _close(at: OpenHome, options: argparse.Namespace) -> str:
    lifecycle.close(at.store, _id(at, options))
    return summary(at.store, _id(at, options))


def _simulate(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    done = simulate_raters(at.store, study_id, options.raters, options.score, options.seed)
    return f"{done} trials are answered, all simulated.\n{summary(at.store, study_id)}"


def _add_raters(at: OpenHome, options: argparse.Namespace) -> str:
    more = lifecycle.add_raters(at.store, _id(at, options), options.num)
    return f"{more} more votes are planned.\n{summary(at.store, _id(at, options))}"


def _invite(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    place = f"{options.address.rstrip('/')}/study/{study_id}"
    codes = invitations.invite(at.store, study_id, options.num)
    return "\n".join(f"{place}#invite={code}" for code in codes)


def _pack(at: OpenHome, options: argparse.Namespace) -> str:
    key = pack(at.store, at.pictures, _id(at, options), options.to, options.votes)
    return f"{options.to}\nKeep back, it names the arms: {key}"


def _unpack(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = unpack(at.store, at.pictures, options.zip, options.key)
    return summary(at.store, study_id)


def _verify(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    wrong = verify(at.store, at.pictures, study_id)
    if wrong:
        raise StudyError(f"Study {study_id} does not hold: {' '.join(wrong[:20])}")
    return f"Study {study_id} holds: hashes, pictures, places and votes."


def _erase(at: OpenHome, options: argparse.Namespace) -> str:
    number = erase.erase(at.store, _id(at, options), options.rater)
    if folder := os.environ.get("ROCM_BACKUP"):
        Backup(at.store.database, Path(folder)).forget_the_past()
    return f"Rater {options.rater} is erased, with {number} votes."


def _forget(at: OpenHome, options: argparse.Namespace) -> str:
    return f"{erase.forget_payments(at.store, _id(at, options))} ids are deleted."


def _export(at: OpenHome, options: argparse.Namespace) -> str:
    study_id = _id(at, options)
    question = options.question or at.store.study(study_id).config["primary_question"]
    return str(export(at.store, at.pictures, study_id, options.to, question))


def _report(at: OpenHome, options: argparse.Namespace) -> str:
    found = study_report(at.store, _id(at, options))
    make_folder(options.to)
    write_atomic(options.to / "report.html", found.to_html())
    write_atomic(options.to / "report.md", found.to_markdown())
    write_atomic(options.to / "report.json", found.to_json())
    return str(options.to / "report.html")

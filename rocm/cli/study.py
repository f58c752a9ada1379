"""`python -m rocm study`: build, open, watch, pack, verify, erase, export a study."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocm.cli.lazy import lazy
from rocm.config import RunConfig
from rocm.errors import ConfigError

if TYPE_CHECKING:
    from rocm.study.design.recipe import Recipe
    from rocm.study.store.pictures import Pictures
    from rocm.study.store.store import Store

DrawingQueue = lazy("rocm.generation.queue:DrawingQueue")
pick_pairs = lazy("rocm.cli.learning:pick_pairs")
make_tasters = lazy("rocm.cli.tasters:make_tasters")
make_runs = lazy("rocm.runs.library:Runs")
DraftBin = lazy("rocm.study.archive.bin:DraftBin")
export = lazy("rocm.study.archive.export:export")
gather = lazy("rocm.study.archive.learning:gather")
zips = lazy("rocm.study.archive.pack")
with_votes = lazy("rocm.study.archive.preferences:with_votes")
verify = lazy("rocm.study.archive.verify:verify")
builds = lazy("rocm.study.design.build")
cost = lazy("rocm.study.design.cost")
lifecycle = lazy("rocm.study.design.lifecycle")
load_recipe = lazy("rocm.study.design.recipe:Recipe.load")
next_recipe = lazy("rocm.study.design.rounds:next_recipe")
loop = lazy("rocm.study.report.loop")
study_progress = lazy("rocm.study.report.progress:study_progress")
summary = lazy("rocm.study.report.progress:summary")
verdict = lazy("rocm.study.report.results:verdict")
study_report = lazy("rocm.study.report.stored:study_report")
backups = lazy("rocm.study.store.backup")
erase = lazy("rocm.study.store.erase")
invitations = lazy("rocm.study.store.invitations")
open_pictures = lazy("rocm.study.store.pictures:Pictures")
simulated = lazy("rocm.study.store.simulated_raters")
open_store = lazy("rocm.study.store.store:Store.open")
named = lazy("rocm.study.store.studies:named")


@dataclass(frozen=True)
class StudyHome:
    """What the commands work with: the home folder, its store and its pictures."""

    home: Path
    store: "Store"
    pictures: "Pictures"


Action = Callable[[StudyHome, argparse.Namespace], str]


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `study`."""
    parser.set_defaults(run=run, is_of_study=False)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    sub = _action(actions, "build", _build, "draw a study's pictures; resumes an unfinished build")
    sub.add_argument("recipe", type=Path, help="study.yaml")
    sub = _action(actions, "status", _status, "list all studies, or show the progress of a study")
    sub.add_argument("study", nargs="?", metavar="STUDY", help="id of the study, or its beginning")
    _of_study(actions, "pairs", _pairs, "list the pairs of a study with their pictures")
    sub = _of_study(actions, "strike", _strike, "exclude a pair before the study opens")
    sub.add_argument("pair", type=int, help="number of the pair")
    sub.add_argument("reason", help="kept in the manifest; an empty reason includes the pair again")
    _add_loop_arguments(actions)
    sub = _of_study(actions, "power", _power, "calculate cost and power of a study")
    sub.add_argument("--seconds-per-pair", type=float, default=20.0, help="default: 20")
    sub.add_argument("--pay-per-hour", type=float, default=0.0, help="in any currency; default: 0")
    _of_study(actions, "delete", _delete, "move a draft to the bin; its pilots' votes are deleted")
    _action(actions, "bin", _list_bin, "list deleted drafts")
    sub = _action(actions, "restore", _restore, "restore a draft from the bin")
    sub.add_argument("study", metavar="STUDY", help="id of the study, or its beginning")
    _action(actions, "empty-bin", _empty_bin, "permanently delete all drafts in the bin")
    _of_study(actions, "open", _open, "freeze a study and let raters in")
    _of_study(actions, "pause", _step, "stop giving out pairs").set_defaults(step="pause")
    _of_study(actions, "resume", _step, "give out pairs again").set_defaults(step="resume")
    _of_study(actions, "close", _step, "end a study permanently").set_defaults(step="close")
    sub = _of_study(actions, "simulate", _simulate, "add votes by simulated raters, marked as such")
    sub.add_argument("--raters", type=int, default=30, help="maximum number; default: 30")
    words = "score: by the arm. taste: by the picture, the embedded model's only; default: score"
    sub.add_argument("--by", choices=("score", "taste"), default="score", help=words)
    words = "noise of raters by taste, in percent of a channel's range; default: 2"
    sub.add_argument("--temperature", type=float, default=2.0, help=words)
    sub.add_argument("--score", type=float, default=0.6, help="of each first arm; default: 0.6")
    sub.add_argument("--seed", type=int, default=0, help="default: 0")
    sub = _of_study(actions, "add-raters", _add_raters, "plan work for additional raters")
    sub.add_argument("num", type=int, help="number of additional raters")
    sub = _of_study(actions, "invite", _invite, "make invitation links; only invited raters vote")
    sub.add_argument("--num", type=int, default=1, help="number of links, one per rater")
    sub.add_argument("--address", default="http://127.0.0.1:7860", help="of the voting server")
    sub = _of_study(actions, "pack", _pack, "zip a study without the names of its arms")
    sub.add_argument("--to", type=Path, default=Path("study.zip"), help="zip file")
    sub.add_argument("--votes", action="store_true", help="include raters and votes")
    sub = _action(actions, "unpack", _unpack, "import a study, or its votes, from a zip")
    sub.add_argument("zip", type=Path, help="zip file of `study pack`")
    sub.add_argument("--key", type=Path, help="file with the names of the arms")
    _of_study(actions, "verify", _verify, "recount the votes and check every hash")
    sub = _of_study(actions, "erase", _erase, "permanently delete a rater; stop the app first")
    sub.add_argument("rater", type=int, help="number of the rater")
    _of_study(actions, "forget-payments", _forget, "delete the ids that were stored for payment")
    sub = _of_study(actions, "export", _export, "write the votes in every format")
    sub.add_argument("--to", type=Path, default=Path("export"), help="folder")
    sub.add_argument("--question", help="default: the primary question of the study")
    sub = _of_study(actions, "report", _report, "write results as HTML, Markdown and JSON")
    sub.add_argument("--to", type=Path, default=Path("report"), help="folder")


def _add_loop_arguments(actions: Any) -> None:
    words = "build a further round, mostly of pairs that a learned reward is unsure of"
    sub = _of_study(actions, "next", _next, words)
    sub.add_argument(
        "also", nargs="*", metavar="STUDY", help="other closed studies to learn from too"
    )
    sub.add_argument("--pairs", type=int, help="default: as many as STUDY has")
    _of_study(actions, "loop", _loop, "show where the loop of a study stands, with each command")
    _of_study(actions, "arms", _arms, "queue the runs that the last study compares")
    _of_study(actions, "last", _last, "build the last study: the arms on prompts of the test part")


def run(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Run the action of the parsed options and print its answer."""
    with study_home(home, creates=options.action in (_build, _unpack, _restore)) as at:
        if options.is_of_study:
            options.study = _id(at, options.study)
        print(options.action(at, options))


def trained_on_votes(config: RunConfig, home: Path) -> RunConfig:
    """Settings whose `preferences=study:ID` is the table of that study's votes; prints its size."""
    with study_home(home) as at:
        changed, words = with_votes(config, at.store, home)
    print(words, flush=True)
    return changed


@contextmanager
def study_home(home: Path, creates: bool = False) -> Iterator[StudyHome]:
    """The store and pictures of a home; with `creates` both are made where they do not exist."""
    file, backup = home / "study.sqlite3", os.environ.get("ROCM_BACKUP")
    if creates:
        home.mkdir(parents=True, exist_ok=True)
    if url := os.environ.get("DATABASE_URL"):
        store = open_store(url)
    elif backup:
        home.mkdir(parents=True, exist_ok=True)
        store = backups.open_restored(file, backup, creates)
    else:
        store = open_store(file, creates=creates)
    with closing(store):
        yield StudyHome(home, store, open_pictures(home / "study-pictures"))


def _action(actions: Any, name: str, function: Action, text: str) -> argparse.ArgumentParser:
    description = f"{text[0].upper()}{text[1:]}."
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=description)
    parser.set_defaults(action=function)
    return parser


def _of_study(actions: Any, name: str, function: Action, text: str) -> argparse.ArgumentParser:
    """An action whose `options.study` is the whole id of a study that exists."""
    parser = _action(actions, name, function, text)
    parser.add_argument("study", metavar="STUDY", help="id of the study, or its beginning")
    parser.set_defaults(is_of_study=True)
    return parser


def _id(at: StudyHome, given: str) -> str:
    """The study that an id, or its beginning, identifies."""
    return named(at.store.studies(), given).study_id


def _build(at: StudyHome, options: argparse.Namespace) -> str:
    return _built(at, draw_study(at, load_recipe(options.recipe)))


def draw_study(at: StudyHome, recipe: "Recipe") -> str:
    """Build a recipe's study, or resume its build, with lines of progress; its id."""
    with closing(DrawingQueue(at.home / "studies" / "worker.log")) as queue:
        say = partial(print, flush=True)
        return builds.build(builds.Build(at.home, at.store, at.pictures, queue, say), recipe)


def _next(at: StudyHome, options: argparse.Namespace) -> str:
    if options.pairs is not None and options.pairs < 1:
        raise ConfigError(f"--pairs {options.pairs} is not allowed. Give a number from 1.")
    studies = [options.study, *(_id(at, given) for given in options.also)]
    gather(at.store, studies)  # refuses before anything is drawn
    recipe = next_recipe(load_recipe(builds.recipe_file(at.home, options.study)))
    wanted = options.pairs or study_progress(at.store, options.study).num_pairs
    study_id = builds.begin(at.home, at.store, recipe)
    with builds.drawing(at.home, study_id):  # until its pairs are picked, nobody opens it
        draw_study(at, recipe)
        pick_pairs(at, study_id, studies, wanted)
    return _built(at, study_id)


def _loop(at: StudyHome, options: argparse.Namespace) -> str:
    stages = loop.loop_of(at.store, at.home, options.study).stages
    return "\n".join(
        f"{'done' if stage.is_done else '    '}  {stage.name}: {stage.words}\n      {stage.command}"
        for stage in stages
    )


def _arms(at: StudyHome, options: argparse.Namespace) -> str:
    started = loop.start_arms(at.store, at.home, make_runs(at.home), options.study)
    words = "In the queue: " + ", ".join(started) if started else "All arms are there already."
    return f"{words}\nSee them: python -m rocm runs"


def _last(at: StudyHome, options: argparse.Namespace) -> str:
    return _built(at, draw_study(at, loop.last_study(at.store, at.home, options.study)))


def _built(at: StudyHome, study_id: str) -> str:
    return (
        f"{summary(at.store, study_id)}\nCheck the pairs: python -m rocm study pairs {study_id}\n"
        f"Then: python -m rocm study open {study_id}"
    )


def _status(at: StudyHome, options: argparse.Namespace) -> str:
    if options.study:
        return summary(at.store, _id(at, options.study))
    studies = at.store.studies()
    lines = [f"{study.study_id}  {study.status:7} {study.title}" for study in studies]
    return "\n".join(lines) or "No studies. Build a study: python -m rocm study build study.yaml"


def _pairs(at: StudyHome, options: argparse.Namespace) -> str:
    return "\n".join(
        f"{row.id:6} {row.kind:8} {row.picture_a} {row.picture_b} {row.text}"
        f"{f'  EXCLUDED: {row.struck}' if row.struck else ''}"
        for row in lifecycle.pairs(at.store, options.study)
    )


def _strike(at: StudyHome, options: argparse.Namespace) -> str:
    lifecycle.strike(at.store, options.study, options.pair, options.reason or None)
    return f"Pair {options.pair} is {'excluded' if options.reason else 'included again'}."


def _power(at: StudyHome, options: argparse.Namespace) -> str:
    seconds, pay = options.seconds_per_pair, options.pay_per_hour
    return cost.cost_and_power(cost.study_cost(at.store, options.study, seconds, pay))


def _open(at: StudyHome, options: argparse.Namespace) -> str:
    return f"The study is open. Manifest: {lifecycle.open_study(at.store, options.study)}"


def _bin(at: StudyHome) -> Any:
    return DraftBin(at.home, at.store)


def _delete(at: StudyHome, options: argparse.Namespace) -> str:
    _bin(at).put(options.study)
    _forget_in_backup(at)
    return f"The draft is in the bin. Restore it: python -m rocm study restore {options.study}"


def _list_bin(at: StudyHome, options: argparse.Namespace) -> str:
    drafts = _bin(at).drafts()
    return "\n".join(f"{row.study_id}  {row.title}" for row in drafts) or "The bin is empty."


def _restore(at: StudyHome, options: argparse.Namespace) -> str:
    ids = [row.study_id for row in _bin(at).drafts()]
    matches = [study_id for study_id in ids if study_id.startswith(options.study)]
    study_id = matches[0] if len(matches) == 1 else options.study
    _bin(at).take_out(study_id)
    return summary(at.store, study_id)


def _empty_bin(at: StudyHome, options: argparse.Namespace) -> str:
    return f"Permanently deleted drafts: {_bin(at).empty()}."


def _step(at: StudyHome, options: argparse.Namespace) -> str:
    steps = {"pause": lifecycle.pause, "resume": lifecycle.resume, "close": lifecycle.close}
    steps[options.step](at.store, options.study)
    return summary(at.store, options.study)


def _simulate(at: StudyHome, options: argparse.Namespace) -> str:
    study_id, num_raters, seed = options.study, options.raters, options.seed
    if options.by == "taste":
        crowd = make_tasters(at, study_id, num_raters, seed, options.temperature)
    else:
        crowd = simulated.crowd_of_score(at.store, study_id, options.score, seed)
    done = simulated.simulate_raters(at.store, study_id, num_raters, crowd)
    return f"Simulated raters answered {done} trials.\n{summary(at.store, study_id)}"


def _add_raters(at: StudyHome, options: argparse.Namespace) -> str:
    num_votes = lifecycle.add_raters(at.store, options.study, options.num)
    return f"Additional pairs to judge: {num_votes}.\n{summary(at.store, options.study)}"


def _invite(at: StudyHome, options: argparse.Namespace) -> str:
    place = f"{options.address.rstrip('/')}/study/{options.study}"
    codes = invitations.invite(at.store, options.study, options.num)
    return "\n".join(f"{place}#invite={code}" for code in codes)


def _pack(at: StudyHome, options: argparse.Namespace) -> str:
    key = zips.pack(at.store, at.pictures, options.study, options.to, options.votes)
    words = f"\nKeep the key with the names of the arms private: {key}"
    return f"{options.to}{words if key.is_file() else ''}"


def _unpack(at: StudyHome, options: argparse.Namespace) -> str:
    return summary(at.store, zips.unpack(at.store, at.pictures, options.zip, options.key))


def _verify(at: StudyHome, options: argparse.Namespace) -> str:
    found = verify(at.store, at.pictures, options.study)
    return verdict(at.store, options.study, found)


def _erase(at: StudyHome, options: argparse.Namespace) -> str:
    number = erase.erase(at.store, options.study, options.rater)
    _forget_in_backup(at)
    return f"Rater {options.rater} and {number} votes are deleted."


def _forget_in_backup(at: StudyHome) -> None:
    backup = os.environ.get("ROCM_BACKUP")
    if backup and at.store.database.is_sqlite:
        backups.forget_the_past(at.store.database, backup)


def _forget(at: StudyHome, options: argparse.Namespace) -> str:
    return f"Deleted payment ids: {erase.forget_payments(at.store, options.study)}."


def _export(at: StudyHome, options: argparse.Namespace) -> str:
    question = options.question or at.store.study(options.study).config["primary_question"]
    return str(export(at.store, at.pictures, options.study, options.to, question))


def _report(at: StudyHome, options: argparse.Namespace) -> str:
    study_report(at.store, options.study).write(options.to)
    return str(options.to / "report.html")

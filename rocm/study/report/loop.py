"""The closed loop around a study: votes, a reward learned from them, arms trained on it, a last
study of those arms. Where it stands, and the steps that follow.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.rewards.names import EMBEDDED_MODEL
from rocm.rewards.preference_files import learned_here, read_preference
from rocm.runs.adapters import RUN
from rocm.runs.library import Runs
from rocm.runs.queue import detached
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder
from rocm.storage.numbers import quantity
from rocm.study.archive.export import is_analyzed
from rocm.study.archive.learning import gather
from rocm.study.archive.preferences import PREFIX, SHARED, with_votes
from rocm.study.design.background import Builds
from rocm.study.design.build import recipe_file
from rocm.study.design.lineage import lineages
from rocm.study.design.recipe import Recipe
from rocm.study.design.rounds import last_recipe
from rocm.study.report.results import Results
from rocm.study.store.store import Store

ROCM, D3PO = "tiny-rocm-kl", "tiny-d3po"
WEAK = {"beta": 24}
"""Of ROCM on a learned reward, which the preset's own beta overoptimizes (docs/log.md)."""


@dataclass(frozen=True)
class Stage:
    """A step of the loop; `command` does it, `words` say where it stands."""

    name: str
    words: str
    is_done: bool
    command: str


@dataclass(frozen=True)
class Loop:
    """The loop that begins with the votes of a study.

    `reward` is the newest one that learned from them, `runs` its arms by method, `last` the newest
    study of such arms; each empty before its step.
    """

    study_id: str
    status: str  # of the study
    num_votes: int  # that a reward learns from
    reward: str
    runs: Mapping[str, str]
    trained: bool
    last: str
    last_status: str

    @property
    def stages(self) -> list[Stage]:
        """Every step in order."""
        own, is_closed = self.study_id, self.status == "closed"
        is_final = self.last_status == "closed"
        runs = ", ".join(f"{method}: {run}" for method, run in self.runs.items())
        last = f"{self.last}, {self.last_status}" if self.last else ""
        votes = f"{quantity(self.num_votes, 'vote')}, study {self.status}"
        claim = "the report is final" if is_final else "after the last study is closed"
        steps = (
            ("Collect votes", votes, is_closed, f"study {'next' if is_closed else 'close'} {own}"),
            ("Learn reward", self.reward, self.reward, f"preference fit study:{own} --name NAME"),
            ("Train arms", runs, self.trained, f"study arms {own}"),
            ("Last study", last, last, f"study last {own}"),
            ("Claim", claim, is_final, f"study report {self.last or 'STUDY'}"),
        )
        return [
            Stage(name, words or "none yet", bool(is_done), f"python -m rocm {command}")
            for name, words, is_done, command in steps
        ]


def loop_of(store: Store, home: Path, study_id: str) -> Loop:
    """Where the loop of a study stands; StudyError if there is no such study."""
    about = store.study(study_id)
    rewards = [name for name in learned_here() if study_id in read_preference(name)[1]["studies"]]
    newest = max(rewards, key=lambda name: read_preference(name)[0].stat().st_mtime, default="")
    runs = _arms(home, study_id, newest) if newest else {}
    last = next(
        (one for one in store.studies() if _learned_from(store, one.study_id, study_id)), None
    )
    return Loop(
        study_id,
        about.status,
        sum(
            is_analyzed(vote) and vote.question == about.config["primary_question"]
            for vote in store.votes(study_id)
        ),
        newest,
        {method: run.path.name for method, run in runs.items()},
        len(runs) == 3 and all((run.path / "adapter").is_dir() for run in runs.values()),
        last.study_id if last else "",
        last.status if last else "",
    )


def _learned_from(store: Store, study_id: str, earlier: str) -> bool:
    with store.database.read() as connection:
        found = lineages(connection, study_id)
    return any(earlier in source["studies"] for _, sources in found for source in sources)


def _arms(home: Path, study_id: str, reward: str) -> dict[str, RunDir]:
    """The newest run of each method that the last study compares."""
    single = str(read_preference(reward)[1].get("best_single", ""))
    found = {}
    files = (home / "runs").glob("*/config.yaml")
    for file in sorted(files, key=lambda file: file.stat().st_mtime):
        run = RunDir(file.parent)
        config = run.config()
        if run.status().state in ("failed", "cancelled"):
            continue
        if config.reward == reward and config.method.is_backprop:
            found["ROCM on the learned reward"] = run
        elif config.reward == single and config.method.is_backprop:
            found["ROCM on the best single reward"] = run
        elif f"/{study_id}/preferences-" in config.preferences:
            found["D3PO on the votes"] = run
    return found


def start_arms(store: Store, home: Path, runs: Runs, study_id: str) -> list[str]:
    """Queue the missing arms: ROCM on the learned and on the best single reward, D3PO on the votes.

    Returns their ids. StudyError without a learned reward, or for another model than the embedded.
    """
    known = loop_of(store, home, study_id).runs
    wanted = arm_settings(store, home, study_id)
    missing = [wanted[method] for method in wanted if method not in known]
    return [runs.start(config, preset) for preset, config in missing]


def arm_settings(store: Store, home: Path, study_id: str) -> dict[str, tuple[str, RunConfig]]:
    """Preset and settings of each arm by method; errors as `start_arms`."""
    now = loop_of(store, home, study_id)
    if not now.reward:
        raise StudyError("No reward has learned from this study yet. Learn one first.")
    record = read_preference(now.reward)[1]
    if record["model"] != EMBEDDED_MODEL:
        raise StudyError(
            f"The arms of {record['model']} are trained with your own settings: python -m rocm "
            f"train PRESET --reward {now.reward} --beta auto"
        )
    shared = _shared(Recipe.load(recipe_file(home, study_id)))
    voted = " ".join(PREFIX + key for key in dict.fromkeys([study_id, *record["studies"]]))
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "ROCM on the learned reward": (ROCM, {"reward": now.reward, **WEAK}),
        "ROCM on the best single reward": (ROCM, {"reward": record["best_single"], **WEAK}),
        "D3PO on the votes": (D3PO, {"preferences": voted}),
    }
    return {
        method: (preset, with_votes(RunConfig.load(preset, **shared, **own), store, home)[0])
        for method, (preset, own) in wanted.items()
    }


def last_study(store: Store, home: Path, study_id: str) -> Recipe:
    """The recipe of the last study: base model and arms, on prompts of the test part.

    StudyError until every arm is trained.
    """
    now = loop_of(store, home, study_id)
    if not now.trained:
        raise StudyError("The arms are not all trained yet. Train them, or wait until they are.")
    recipe = Recipe.load(recipe_file(home, study_id))
    shared = _shared(recipe)
    arms = [{"name": "base", **shared}]
    for method, run in now.runs.items():
        arms.append({"name": method.replace(" ", "-"), "adapter": RUN + run, **shared})
    rewards = tuple(dict.fromkeys([*recipe.rewards, now.reward]))
    return last_recipe(recipe, arms, rewards)


def _shared(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe.arms[0], name) for name in SHARED}


class Loops:
    """The loops of one home, as the Results page shows and continues them."""

    def __init__(self, home: Path, results: Results, runs: Runs, builds: Builds | None):
        """`results` know the votes, `runs` queue arms, `builds` draw studies."""
        self._home, self._results, self._runs, self._builds = home, results, runs, builds
        self._round: subprocess.Popen[bytes] | None = None

    def stages(self, study_id: str) -> list[Stage]:
        """Every step of a study's loop, in order."""
        return loop_of(self._results.store, self._home, study_id).stages

    def next_round(self, studies: Sequence[str]) -> str:
        """Draw a further round like the first of these closed studies, in a process of its own.

        Its pairs are picked by the votes of all. Returns where it appears, in words.
        """
        if self._round and self._round.poll() is None:
            raise StudyError("A round is being drawn already. Wait until it is a draft.")
        gather(self._results.store, studies)  # refuses before anything is drawn
        log = self._home / "studies" / studies[0] / "next.log"
        make_folder(log.parent)
        command = [sys.executable, "-m", "rocm", "study", "next", *studies]
        with open(log, "ab") as output:
            self._round = detached(command, output, ROCM_HOME=str(self._home.resolve()))
        return (
            "The round is being drawn. The Study page shows it as building elsewhere, then as a "
            f"draft. Log: {log}"
        )

    def train(self, study_id: str) -> str:
        """Queue the missing arms, in words."""
        started = start_arms(self._results.store, self._home, self._runs, study_id)
        words = ", ".join(started)
        return f"Queued: {words}. See the Train page." if started else "All arms are there."

    def build_last(self, study_id: str) -> str:
        """Begin to draw the last study, in words."""
        recipe = last_study(self._results.store, self._home, study_id)
        if self._builds is None:
            raise StudyError(
                f"Studies are not built here. Run: python -m rocm study last {study_id}"
            )
        return f"Study {self._builds.start(recipe)} is being drawn. Open it on the Study page."

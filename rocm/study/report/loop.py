"""The closed loop around a study: votes, a reward learned from them, arms trained on it, a last
study of those arms. Where it stands, and the steps that follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocm.config import RunConfig
from rocm.errors import StudyError
from rocm.rewards.names import EMBEDDED_MODEL
from rocm.rewards.preference_files import learned_here, read_preference
from rocm.runs.adapters import RUN
from rocm.runs.library import Runs
from rocm.runs.run_dir import RunDir
from rocm.study.archive.preferences import PREFIX, SHARED, with_votes
from rocm.study.design.build import recipe_file
from rocm.study.design.lineage import lineages
from rocm.study.design.recipe import Recipe
from rocm.study.design.rounds import last_recipe
from rocm.study.store.store import Store

ROCM, D3PO = "tiny-rocm-kl", "tiny-d3po"


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
    num_votes: int
    reward: str
    runs: Mapping[str, str]
    trained: bool
    last: str
    last_status: str

    @property
    def stages(self) -> list[Stage]:
        """Every step in order."""
        own = f"study:{self.study_id}"
        names = ", ".join(f"{method}: {run}" for method, run in self.runs.items())
        return [
            Stage(
                "Collect votes",
                f"{self.num_votes} answers, study {self.status}",
                self.status == "closed",
                f"python -m rocm study next {self.study_id}"
                if self.status == "closed"
                else f"python -m rocm study close {self.study_id}",
            ),
            Stage(
                "Learn reward",
                self.reward or "none yet",
                bool(self.reward),
                f"python -m rocm preference fit {own} --name my-raters",
            ),
            Stage(
                "Train arms",
                names or "none yet",
                self.trained,
                f"python -m rocm study arms {self.study_id}",
            ),
            Stage(
                "Last study",
                f"{self.last}, {self.last_status}" if self.last else "none yet",
                bool(self.last),
                f"python -m rocm study last {self.study_id}",
            ),
            Stage(
                "Claim",
                "its report is final" if self.last_status == "closed" else "after it is closed",
                self.last_status == "closed",
                f"python -m rocm study report {self.last or 'STUDY'}",
            ),
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
        len(store.votes(study_id)),
        newest,
        {method: run.path.name for method, run in runs.items()},
        len(runs) == 3 and all((run.path / "adapter").is_dir() for run in runs.values()),
        last.study_id if last else "",
        last.status if last else "",
    )


def _learned_from(store: Store, study_id: str, earlier: str) -> bool:
    with store.database.read() as connection:
        found = lineages(connection, study_id).values()
    return any(earlier in source["studies"] for sources in found for source in sources)


def _arms(home: Path, study_id: str, reward: str) -> dict[str, RunDir]:
    """The newest run of each method that the last study compares."""
    single = str(read_preference(reward)[1].get("best_single", ""))
    found = {}
    files = (home / "runs").glob("*/config.yaml")
    for file in sorted(files, key=lambda file: file.stat().st_mtime):
        run = RunDir(file.parent)
        config = run.config()
        if config.reward == reward and config.algorithm == "rocm":
            found["ROCM on the learned reward"] = run
        elif config.reward == single and config.algorithm == "rocm":
            found["ROCM on the best single reward"] = run
        elif f"/{study_id}/preferences-" in config.preferences:
            found["D3PO on the votes"] = run
    return found


def start_arms(store: Store, home: Path, runs: Runs, study_id: str) -> list[str]:
    """Queue the missing arms: ROCM on the learned and on the best single reward, D3PO on the votes.

    Returns their ids. StudyError without a learned reward, or for another model than the embedded.
    """
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
        "ROCM on the learned reward": (ROCM, {"reward": now.reward, "beta": "auto"}),
        "ROCM on the best single reward": (ROCM, {"reward": record["best_single"], "beta": "auto"}),
        "D3PO on the votes": (D3PO, {"preferences": voted}),
    }
    started = []
    for method, (preset, own) in wanted.items():
        if method not in now.runs:
            config, _ = with_votes(RunConfig.load(preset, **shared, **own), store, home)
            started.append(runs.start(config, preset))
    return started


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

"""A home with a study that simulated raters have voted through; no model draws its pictures."""

from pathlib import Path

from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build
from rocm.study.design.recipe import Recipe
from rocm.study.store.pictures import Pictures
from rocm.study.store.simulated_raters import crowd_of_score, simulate_raters
from rocm.study.store.store import Store
from tests.study.design.test_build import RECIPE, FakeQueue

ADAPTERS = ("rocm-kl", "rlcm", "rocm-beta0")
DEMO = RECIPE | {
    "arms": [{"name": one, "adapter": f"assets/adapters/tiny-{one}"} for one in ADAPTERS],
    "rewards": ["colorfulness", "tiny-clip"],
    "prompts": {"num": 8},
    "votes_per_pair": 3,
    "is_demo": True,
}


def draft(home: Path, **changed) -> tuple[Store, str]:
    """A store with a built study of three arms, 8 prompts and three questions."""
    store = Store.open(home / "study.sqlite3")
    work = Build(home, store, Pictures(home / "study-pictures"), FakeQueue())
    return store, build(work, Recipe.load(DEMO | changed))


def voted(home: Path, num_raters: int = 9, **changed) -> tuple[Store, str]:
    """The same, opened, with the votes of simulated raters."""
    store, study_id = draft(home, **changed)
    lifecycle.open_study(store, study_id)
    simulate_raters(store, study_id, num_raters, crowd_of_score(store, study_id, 0.65))
    return store, study_id

"""A study from its recipe to its report, as it is meant to go: built and screened here, voted on by
three raters at once in real browsers over a server that has neither models nor names, brought back.
"""

import pytest
import yaml

from rocm.generation.queue import DrawingQueue
from rocm.storage.paths import ROOT
from rocm.study.archive.pack import pack, unpack
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build
from rocm.study.design.recipe import Recipe
from rocm.study.report.stored import study_report
from rocm.study.store.pictures import Pictures
from rocm.study.store.store import Store
from tests.browser.conftest import running
from tests.browser.test_vote_page import begin, wait_for_pair

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SMALL = {
    "prompts": {"set": "own", "num": 2},
    "votes_per_pair": 3,
    "main_per_rater": 5,  # of the six pairs one is struck
    "checks_per_rater": 1,
    "repeats_per_rater": 0,
    "practice": 1,
    "rewards": [],
    "max_unseen_share": 1,  # keys are pressed faster than people look
}
NUM_TRIALS = 7
SIDES = {"ArrowLeft": "left", "ArrowRight": "right", "t": "tie"}
ARMS = {"rocm-kl", "rlcm", "rocm-beta0"}


@pytest.fixture
def place(tmp_path):
    """Makes a home with a store and pictures; stores are closed afterwards."""
    opened = []

    def make(name):
        home = tmp_path / name
        home.mkdir(exist_ok=True)
        opened.append(Store.open(home / "study.sqlite3"))
        return home, opened[-1], Pictures(home / "study-pictures")

    yield make
    for store in opened:
        store.close()


def drawn(home, store, pictures):
    """A draft over the three shipped adapters, with real pictures."""
    recipe = yaml.safe_load((ROOT / "assets" / "demo-study.yaml").read_text()) | SMALL
    queue = DrawingQueue(home / "worker.log")
    try:
        return build(Build(home, store, pictures, queue), Recipe.load(recipe))
    finally:
        queue.close()


def vote_through(visitors, address):
    """Three raters take turns, so that each has a pair open all the time."""
    raters = {key: begin(visitors(address)) for key in SIDES}
    for done in range(NUM_TRIALS):
        for key, page in raters.items():
            wait_for_pair(page, done)
            for press in (key, "Enter", "1", key, "2", key, "Enter"):
                page.keyboard.press(press)
    for page in raters.values():
        page.locator("#code").wait_for()


def side_of(vote):
    if vote.choice == "tie":
        return "tie"
    return "left" if vote.choice == vote.left_is else "right"


def test_a_study_goes_from_recipe_to_report_through_real_browsers(
    place, visitors, tmp_path, monkeypatch
):
    home, lab, pictures = place("lab")
    study_id = drawn(home, lab, pictures)
    main = [row for row in lifecycle.pairs(lab, study_id) if row.kind == "main"]
    lifecycle.strike(lab, study_id, main[0].id, "too alike")
    lifecycle.open_study(lab, study_id)
    pack(lab, pictures, study_id, tmp_path / "study.zip")

    away, voting, sent = place("away")
    assert unpack(voting, sent, tmp_path / "study.zip") == study_id
    monkeypatch.setenv("ROCM_MODE", "study")
    with running(away) as app:
        vote_through(visitors, f"{app.url}study/{study_id}")
    assert verify(voting, sent, study_id) == []
    assert not ARMS & {arm for one in voting.votes(study_id) for arm in (one.arm_a, one.arm_b)}
    pack(voting, sent, study_id, tmp_path / "votes.zip", with_votes=True)

    unpack(lab, pictures, tmp_path / "votes.zip")
    lifecycle.close(lab, study_id)
    assert verify(lab, pictures, study_id) == []
    votes = lab.votes(study_id)
    assert len(votes) == 3 * NUM_TRIALS * 3
    sides = {(one.rater, side_of(one)) for one in votes}
    assert sorted(side for _, side in sides) == sorted(SIDES.values())
    judged = [one for one in votes if one.kind == "main"]
    assert {one.pair for one in judged} == {row.id for row in main[1:]}
    assert {arm for one in judged for arm in (one.arm_a, one.arm_b)} == ARMS
    assert "DEMO" in study_report(lab, study_id).to_html().upper()

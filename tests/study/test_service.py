"""What the Study page asks for: builds that are cancelled and go on, forms, figures, widths."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from rocm.errors import ConfigError, DrawingError, RocmError, StudyError
from rocm.study.design import lifecycle
from rocm.study.design.background import Builder
from rocm.study.design.form import Wish, recipe_of
from rocm.study.design.recipe import Recipe
from rocm.study.report.effects import widths
from rocm.study.report.progress import standing
from rocm.study.service import PER_PAGE, StudyDesk
from rocm.study.store.backup import BackupStatus
from rocm.study.store.simulated_raters import simulate_raters
from rocm.study.store.store import Store
from tests.study.design.test_build import RECIPE, FakeQueue
from tests.study.small import STUDY, fill, rater, work

WISH = Wish(
    title="Which picture?",
    arms=("base", "assets/adapters/tiny-rocm-kl", "assets/adapters/tiny-rlcm"),
    comparisons="all",
    prompt_set="own",
    num_prompts=10,
    prompts="",
    prompt_source="",
    seed=4,
    seeds_per_prompt=1,
    num_inference_steps=4,
    guidance_scale=8.5,
    rewards=("colorfulness",),
    questions=("overall", "appeal"),
    allow_tie=False,
    allow_skip=True,
    votes_per_pair=3,
    main_per_rater=15,
    checks_per_rater=1,
    repeats_per_rater=2,
    practice=1,
    lease_minutes=20,
    min_check_share=0.25,
    min_median_ms=300,
    peeking="hidden",
    instructions="Choose one.",
    pays=False,
    completion_url="https://app.prolific.com/submissions/complete?cc=C0DE",
    screen_out_url="",
    version="1",
    text="You may stop.",
    contact="a@b.c",
    min_age="18",
    ethics="none: a test",
    pay="unpaid",
    retention="one year",
)


class HeldQueue(FakeQueue):
    """Draws four pictures, then waits until it is let go or cancelled."""

    def __init__(self):
        super().__init__()
        self.go, self.cancelled = Event(), Event()

    def results(self, number):
        for one in super().results(number):
            if self.drawn == 5:
                self.go.wait(60)
            if self.cancelled.is_set():
                raise DrawingError("The request was cancelled.")
            yield one

    def cancel(self, number):
        self.cancelled.set()
        self.go.set()


@pytest.fixture
def votes(fresh):
    store = Store.open(fresh())
    yield store
    store.close()


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(desk: StudyDesk, study_id: str) -> StudyDesk:
    until(lambda: desk.look(study_id).building.state != "drawing")
    return desk


def test_a_cancelled_build_is_kept_and_goes_on_in_another_app(votes, tmp_path):
    queue = HeldQueue()
    desk = StudyDesk(tmp_path, votes, queue)
    study_id = desk.build(Recipe.load(RECIPE))
    until(lambda: desk.look(study_id).building.done == 4)
    assert desk.look(study_id).building.total == 2 * 15
    with pytest.raises(StudyError, match="Another study is being built"):
        desk.build(Recipe.load(RECIPE | {"seed": 9}))
    desk.cancel(study_id)
    found = ended(desk, study_id).look(study_id)
    assert (found.state, found.building.state) == ("unfinished", "cancelled")
    assert found.building.error == ""
    with pytest.raises(StudyError, match="not drawn to the end"):
        desk.open(study_id)

    again = StudyDesk(tmp_path, votes, FakeQueue())
    again.go_on(study_id)
    assert ended(again, study_id).look(study_id).state == "draft"
    assert again._builder._queue.drawn == 2 * 15 - 4
    again.open(study_id)
    assert again.look(study_id).state == "open"
    with pytest.raises(StudyError, match="is open already"):
        again.go_on(study_id)


def test_a_build_that_fails_says_why(votes, tmp_path):
    desk = StudyDesk(tmp_path, votes, FakeQueue(most=3))
    study_id = desk.build(Recipe.load(RECIPE))
    found = ended(desk, study_id).look(study_id).building
    assert (found.state, found.done) == ("failed", 3)
    assert found.error == "The drawing process died."


def test_a_changed_adapter_does_not_go_into_a_begun_study(votes, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    file = adapter / "pytorch_lora_weights.safetensors"
    file.write_bytes(b"one")
    arms = [{"name": "base"}, {"name": "mine", "adapter": str(adapter)}]
    builder = Builder(tmp_path, votes, FakeQueue(most=3))
    study_id = builder.start(Recipe.load(RECIPE | {"arms": arms}))
    until(lambda: builder.status(study_id).state == "failed")
    file.write_bytes(b"two")
    with pytest.raises(StudyError, match="is not what it was"):
        builder.go_on(study_id)


def test_the_demonstration_is_built_once_and_anew_after_it_is_closed(votes, tmp_path):
    desk = StudyDesk(tmp_path, votes, FakeQueue())
    first = desk.demo()
    ended(desk, first)
    assert desk.demo() == first
    assert desk.look(first).about.is_demo
    desk.open(first)
    assert desk.demo() == first
    desk.close(first)
    second = desk.demo()
    assert second != first
    assert ended(desk, second).look(second).state == "draft"


def test_pairs_are_shown_by_page_without_a_name_of_an_arm(votes, tmp_path):
    desk = StudyDesk(tmp_path, votes, FakeQueue())
    recipe = Recipe.load(RECIPE | {"prompts": {"num": PER_PAGE + 1}})
    study_id = desk.build(recipe)
    ended(desk, study_id)
    first, num_pages = desk.pairs(study_id, "to be voted on", 0)
    last, _ = desk.pairs(study_id, "to be voted on", 99)
    assert (len(first), len(last), num_pages) == (PER_PAGE, 1, 2)
    assert "secretname" not in str(first)
    desk.strike(study_id, last[0].pair_id, "shows text")
    assert [one.struck for one in desk.pairs(study_id, "struck", 0)[0]] == ["shows text"]
    desk.strike(study_id, last[0].pair_id, None)
    assert desk.pairs(study_id, "struck", 0) == ([], 1)
    counts = [len(desk.pairs(study_id, kind, 0)[0]) for kind in ("practice", "checks", "all")]
    assert counts == [1, 2, PER_PAGE]


def test_a_form_becomes_a_recipe_that_its_text_gives_again(tmp_path):
    recipe = recipe_of(WISH, tmp_path)
    assert Recipe.parse(recipe.text()) == recipe
    assert [one.name for one in recipe.arms] == ["base", "tiny-rocm-kl", "tiny-rlcm"]
    assert [one.method for one in recipe.arms] == ["", "rocm", "rlcm"]
    asked = {one.key: one.allow_tie for one in recipe.questions}
    assert asked == {"appeal": False, "overall": False}
    assert (recipe.consent.contact, recipe.consent.min_age) == ("a@b.c", 18)
    smaller = replace(WISH, main_per_rater=10, repeats_per_rater=0)
    paper = recipe_of(replace(smaller, comparisons="paper-figure-3"), tmp_path)
    assert paper.compared() == [("rocm-colorfulness", "rlcm-colorfulness")]


def test_typed_prompts_leave_some_to_practice_and_checks(tmp_path):
    typed = "\n".join(f"picture {number}" for number in range(13))
    wish = replace(WISH, prompt_set="typed", prompts=typed)
    recipe = recipe_of(wish, tmp_path)
    assert recipe.prompts.num == 13 - 1 - 2
    assert len(Recipe.parse(recipe.text()).prompts.file) > 0
    with pytest.raises(ConfigError, match="take 3 prompts of their own, and 2 are typed"):
        recipe_of(replace(wish, prompts="one\ntwo"), tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"title": "  "}, "The title is missing"),
        ({"arms": ("base",)}, "compares two arms or more"),
        ({"arms": ("base", "run:../../etc")}, "has no adapter"),
        ({"questions": ()}, "No question is chosen"),
        ({"contact": ""}, "Consent, contact, is not filled in"),
        ({"min_age": " "}, "Consent, min age, is not filled in"),
        ({"main_per_rater": 99}, "there are 30 pairs in all"),
        ({"votes_per_pair": 0}, "votes_per_pair"),
        ({"min_age": "grown up"}, "consent.min_age"),
    ],
)
def test_what_is_wrong_in_a_form_is_one_sentence(tmp_path, changed, words):
    with pytest.raises(RocmError, match=words):
        recipe_of(replace(WISH, **changed), tmp_path)


def test_figures_count_raters_votes_and_the_last_minutes(store, clock):
    lifecycle.open_study(store, fill(store))
    done = work(store, rater(store))
    rater(store, "pilot")
    found = standing(store, STUDY)
    assert found.raters == {"complete": 1}
    assert (found.num_pilots, found.num_raters_needed) == (1, 4)
    assert (found.num_votes, found.num_recent) == (3 * done, 3 * done)
    assert (found.num_pairs, found.num_open_places) == (6, 6 * 2 - 3)
    clock.forward(6)
    assert standing(store, STUDY).num_recent == 0


def test_more_raters_narrow_the_interval_and_an_early_end_widens_it(votes, tmp_path):
    desk = StudyDesk(tmp_path, votes, FakeQueue())
    recipe = RECIPE | {"votes_per_pair": 6, "prompts": {"num": 30}, "main_per_rater": 30}
    study_id = desk.build(Recipe.load(recipe))
    ended(desk, study_id).open(study_id)
    assert widths(votes, study_id, 6, 5).now is None
    simulate_raters(votes, study_id, 3, 0.6, seed=1)
    found = desk.widths(study_id, 6)
    assert found.more < found.planned < found.now


def test_the_backup_is_told_in_words():
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    saved = BackupStatus(now - timedelta(seconds=150), 0, "")
    assert saved.words(now) == "last backup 2 min ago, 0 votes unsaved."
    failed = BackupStatus(None, 4, "No space left.").words(now)
    assert failed == "last backup never, 4 votes unsaved. The last try failed: No space left."


def test_a_text_that_is_no_recipe_is_one_sentence():
    for text in ("a: [", "just words", "- a\n- b"):
        with pytest.raises(ConfigError, match="The text "):
            Recipe.parse(text)
    with pytest.raises(ConfigError, match="consent"):
        Recipe.parse("title: x\narms: [{name: a}, {name: b}]\n")

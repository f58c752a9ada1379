import subprocess
import sys
from dataclasses import replace
from threading import Event

import pytest

from rocm.cli import study
from rocm.cli.main import main
from rocm.errors import ConfigError, DrawingError, RocmError, StudyError
from rocm.study.design import lifecycle
from rocm.study.design.build import begin
from rocm.study.design.cost import cost_and_power, study_cost
from rocm.study.design.form import Size, form_recipe, sized_recipe
from rocm.study.design.recipe import Recipe
from rocm.study.report.progress import raters_words, study_progress
from rocm.study.report.stored import widths
from rocm.study.service import PER_PAGE, Studies
from rocm.study.store.simulated_raters import crowd_of_score, simulate_raters
from rocm.study.store.store import Store
from tests.study.design.test_build import RECIPE, FakeQueue
from tests.study.small import STUDY, fill, rater, wait_until, work

FORM = {
    "title": "Which picture?", "comparisons": "all", "seed": 4,
    "arms": ["base", "assets/adapters/tiny-rocm-kl", "assets/adapters/tiny-rlcm"],
    "arms.num_inference_steps": 2, "arms.guidance_scale": 8.5,
    "prompts.set": "own", "prompts.num": 10, "prompts.typed": None, "prompts.source": "",
    "questions": ["overall", "appeal"], "allow_tie": False,
    "main_per_rater": 15, "checks_per_rater": 1, "repeats_per_rater": 2, "practice": 1,
} | {f"consent.{name}": value for name, value in RECIPE["consent"].items()}  # fmt: skip


class HeldQueue(FakeQueue):
    """Draws four pictures, then waits until it is released or canceled."""

    def __init__(self):
        super().__init__()
        self.go, self.cancelled = Event(), Event()

    def results(self, number):
        for picture in super().results(number):
            if self.drawn == 5:
                self.go.wait(60)
            if self.cancelled.is_set():
                raise DrawingError("The request was cancelled.")
            yield picture

    def cancel(self, number):
        self.cancelled.set()
        self.go.set()


@pytest.fixture
def studies(store, tmp_path) -> Studies:
    return Studies(tmp_path, store, FakeQueue())


def ended(studies: Studies, study_id: str) -> Studies:
    wait_until(lambda: not studies.builds.is_drawing(study_id))
    return studies


def built(studies: Studies, **changed) -> str:
    study_id = studies.builds.start(Recipe.load(RECIPE | changed))
    ended(studies, study_id)
    return study_id


def test_a_cancelled_build_is_kept_and_resumed_in_another_app(store, tmp_path):
    studies = Studies(tmp_path, store, HeldQueue())
    builds = studies.builds
    study_id = builds.start(Recipe.load(RECIPE))
    wait_until(lambda: builds.status(study_id).done == 4)
    assert builds.status(study_id).total == 2 * 15
    assert [one.state for one in studies.statuses()] == ["building"]
    with pytest.raises(StudyError, match="is being built"):
        studies.open(study_id)
    with pytest.raises(StudyError, match="Another study is being built"):
        builds.start(Recipe.load(RECIPE | {"seed": 9}))
    with pytest.raises(StudyError, match="Cancel the build"):
        studies.delete(study_id)
    builds.cancel(study_id)
    details = ended(studies, study_id).details(study_id)
    assert (details.state, details.build.state) == ("unfinished", "cancelled")
    with pytest.raises(StudyError, match="Resume its build"):
        studies.open(study_id)

    queue = FakeQueue()
    again = Studies(tmp_path, store, queue)
    again.builds.resume(study_id)
    assert ended(again, study_id).details(study_id).state == "draft"
    assert queue.drawn == 2 * 15 - 4
    again.open(study_id)
    with pytest.raises(StudyError, match="is open already"):
        again.builds.resume(study_id)


def test_a_study_that_another_process_draws_is_left_alone(store, tmp_path, studies):
    study_id = begin(tmp_path, store, Recipe.load(RECIPE))
    assert studies.details(study_id).state == "unfinished"
    code = (
        "import sys, pathlib; from rocm.study.design.build import drawing\n"
        "with drawing(pathlib.Path(sys.argv[1]), sys.argv[2]):\n"
        "    print('drawing', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), study_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"drawing\n"
        assert studies.details(study_id).state == "building elsewhere"
        for act in (studies.open, studies.delete):
            with pytest.raises(StudyError):
                act(study_id)
        studies.builds.resume(study_id)
        assert ended(studies, study_id).builds.status(study_id).state == "failed"
        other.kill()
    assert studies.details(study_id).state == "unfinished"
    studies.builds.resume(study_id)
    assert ended(studies, study_id).details(study_id).state == "draft"


def test_a_further_round_is_drawn_until_its_pairs_are_picked(tmp_path, monkeypatch):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    store = Store.open(tmp_path / "study.sqlite3")
    first = begin(tmp_path, store, Recipe.load(RECIPE))
    store.close()
    seen = []

    def pick(at, study_id, *_):
        code = (
            "import sys, pathlib; from rocm.study.design.build import is_drawn_elsewhere\n"
            "print(is_drawn_elsewhere(pathlib.Path(sys.argv[1]), sys.argv[2]))"
        )
        command = [sys.executable, "-c", code, str(at.home), study_id]
        seen.append(subprocess.check_output(command, text=True))

    stubs = {"gather": lambda *_: None, "draw_study": lambda *_: None, "pick_pairs": pick}
    for name, stub in stubs.items():
        monkeypatch.setattr(study, name, stub)
    assert main(["study", "next", first, "--pairs", "2"]) == 0
    assert seen == ["True\n"]


def test_a_failed_build_says_why_and_takes_no_changed_adapter(store, tmp_path):
    file = tmp_path / "adapter" / "pytorch_lora_weights.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"one")
    studies = Studies(tmp_path, store, FakeQueue(most=3))
    arms = [{"name": "base"}, {"name": "mine", "adapter": str(file.parent)}]
    study_id = built(studies, arms=arms)
    build = studies.builds.status(study_id)
    assert (build.state, build.done, build.error) == ("failed", 3, "The drawing process died.")
    file.write_bytes(b"two")
    with pytest.raises(StudyError, match="adapter of this study has changed"):
        studies.builds.resume(study_id)


def test_the_demo_is_built_once_and_again_after_it_is_closed(store, studies):
    first = studies.demo()
    ended(studies, first).open(first)
    assert studies.demo() == first
    assert studies.details(first).info.is_demo
    lifecycle.close(store, first)
    second = studies.demo()
    assert second != first
    assert ended(studies, second).details(second).state == "draft"


def test_pairs_are_shown_by_page_without_a_name_of_an_arm(store, studies):
    study_id = built(studies, prompts={"num": PER_PAGE + 1})
    first, num_pages = studies.pairs(study_id, "main", 0)
    last, _ = studies.pairs(study_id, "main", 99)
    assert (len(first), len(last), num_pages) == (PER_PAGE, 1, 2)
    assert "secretname" not in str(first)
    lifecycle.strike(store, study_id, last[0].pair_id, "shows text")
    counts = [len(studies.pairs(study_id, kind, 0)[0]) for kind in ("excluded", "checks", "all")]
    assert counts == [1, 2, PER_PAGE]


def test_a_form_becomes_a_recipe_that_its_text_gives_again(tmp_path):
    recipe = form_recipe(FORM, tmp_path)
    assert Recipe.parse(recipe.text()) == recipe
    for text in ("a: [", "just words", "- a\n- b"):
        with pytest.raises(ConfigError, match="The text "):
            Recipe.parse(text)
    arms = [(arm.name, arm.method, arm.num_inference_steps) for arm in recipe.arms]
    assert arms == [("base", "", 2), ("tiny-rocm-kl", "rocm", 2), ("tiny-rlcm", "rlcm", 2)]
    ties = {question.key: question.allow_tie for question in recipe.questions}
    assert ties == {"appeal": False, "overall": False}
    assert (recipe.primary_question, recipe.consent.min_age) == ("overall", 18)


def test_sizes_of_a_form_fit_its_prompts_and_come_back_with_more(tmp_path):
    form, sizes = FORM | {"consent.contact": ""}, (Size(15, 15), Size(2, 2))
    shown = []
    for num in (1, 10):
        recipe, sizes = sized_recipe(form | {"prompts.num": num}, tmp_path, sizes)
        per_rater = {"main_per_rater": sizes[0].shown, "repeats_per_rater": sizes[1].shown}
        assert recipe.num_pairs == 3 * num
        assert {name: getattr(recipe, name) for name in per_rater} == per_rater
        form |= per_rater
        shown.append(tuple(per_rater.values()))
    assert shown == [(3, 0), (15, 2)]
    # What is typed is wanted from then on.
    _, sizes = sized_recipe(form | {"main_per_rater": 12}, tmp_path, sizes)
    assert sizes[0] == Size(12, 12)


def test_practice_and_checks_use_some_of_the_typed_prompts(tmp_path):
    typed = "\n".join(f"picture {number}" for number in range(13))
    form = FORM | {"prompts.set": "typed", "prompts.typed": typed}
    recipe = form_recipe(form, tmp_path)
    assert recipe.prompts.num == 13 - 1 - 2
    with open(Recipe.parse(recipe.text()).prompts.file) as file:
        assert file.read() == typed + "\n"
    with pytest.raises(ConfigError, match="2 prompts are typed"):
        form_recipe(form | {"prompts.typed": "one\ntwo"}, tmp_path)


def test_a_mistake_in_a_form_is_a_sentence(tmp_path):
    for name, value, words in (
        ("title", "  ", "title is missing"),
        ("arms", ["base", "run:../../etc"], "has no adapter"),
        ("questions", [], "No question is chosen"),
        ("consent.min_age", None, "consent.min_age is missing"),
    ):
        with pytest.raises(RocmError, match=words):
            form_recipe(FORM | {name: value}, tmp_path)


def test_progress_counts_raters_votes_and_the_last_minutes(store, study, clock):
    done = work(store, rater(store))
    rater(store, "pilot")
    progress = study_progress(store, STUDY)
    assert progress.raters == {"complete": 1}
    unfinished = replace(progress, raters={"active": 5, "complete": 1})
    words = [raters_words(unfinished, status) for status in ("open", "closed")]
    assert words == ["5 active, 1 complete", "5 incomplete, 1 complete"]
    assert (progress.num_pilots, progress.num_raters_needed) == (1, 4)
    # A rater's work are three pairs, practice and a check; each is answered by three questions.
    assert (progress.num_votes, done) == (3 * 5, 5)
    assert (progress.num_judged, progress.num_recent, progress.num_planned) == (3, 3, 6 * 2)
    assert progress.num_pairs == 6
    clock.forward(6)
    assert study_progress(store, STUDY).num_recent == 0


def test_more_raters_narrow_the_interval_and_an_early_end_widens_it(store, studies):
    study_id = built(studies, votes_per_pair=6, prompts={"num": 30}, main_per_rater=30)
    studies.open(study_id)
    assert widths(store, study_id, 6, 5).now is None
    simulate_raters(store, study_id, 3, crowd_of_score(store, study_id, 0.6, seed=1))
    predicted = studies.widths(study_id, 6)
    assert predicted.more < predicted.planned < predicted.now


def test_raters_pairs_minutes_and_pay_are_those_of_the_design(store):
    fill(store)  # 6 pairs of 2 votes, 3 pairs and a check for each rater: 4 raters of 4 pairs
    cost = study_cost(store, STUDY, seconds_per_pair=30, pay_per_hour=12)
    assert (cost.sizes, cost.votes, cost.num_raters) == ((6,), 2, 4)
    assert (cost.work.trials_per_rater, cost.work.minutes_per_rater) == (4, 5)
    assert "4.00" in cost_and_power(cost, num_simulations=2)

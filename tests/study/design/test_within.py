"""Pairs within an arm: two seeds of it, which a reward learns from and no win rate counts."""

from collections import Counter

import numpy as np
import pytest

from rocm.errors import StudyError
from rocm.prompts.split import part_of
from rocm.study.archive.export import export, is_analyzed
from rocm.study.archive.learning import gather
from rocm.study.archive.pack import pack, unpack
from rocm.study.archive.verify import verify
from rocm.study.design import lifecycle
from rocm.study.design.build import Build, build
from rocm.study.design.cost import recipe_cost, study_cost
from rocm.study.design.recipe import Recipe
from rocm.study.report.results import Results
from rocm.study.report.stored import study_report
from rocm.study.store.pictures import Pictures
from rocm.study.store.simulated_raters import crowd_of_score, simulate_raters
from rocm.study.store.store import Store
from tests.study.design.test_build import FakeQueue
from tests.study.voted import DEMO, draft, voted

WITHIN = {"within_arms": True, "comparisons": "neighbors", "votes_per_pair": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A closed study of three arms: two comparisons and pairs within each arm, 8 prompts."""
    home = tmp_path_factory.mktemp("home")
    store, study_id = voted(home, **WITHIN)
    lifecycle.close(store, study_id)
    yield home, store, study_id
    store.close()


def opinions(store: Store, study_id: str) -> list:
    votes = store.votes(study_id)
    return [vote for vote in votes if is_analyzed(vote) and vote.question == "overall"]


def test_each_arm_meets_its_neighbor_and_itself_once_per_prompt(made):
    _, store, study_id = made
    pairs = {vote.pair: vote for vote in opinions(store, study_id)}
    counts = Counter(
        (vote.arm_a, "itself" if vote.within else vote.arm_b) for vote in pairs.values()
    )
    neighbors = {("rocm-kl", "rlcm"): 8, ("rlcm", "rocm-beta0"): 8}
    assert counts == neighbors | {(arm, "itself"): 8 for arm in ("rocm-kl", "rlcm", "rocm-beta0")}


def test_the_second_picture_within_an_arm_is_drawn_from_the_next_seed(tmp_path):
    queue = FakeQueue()
    store = Store.open(tmp_path / "study.sqlite3")
    work = Build(tmp_path, store, Pictures(tmp_path / "study-pictures"), queue)
    study_id = build(work, Recipe.load(DEMO | WITHIN))
    drawn = Counter(
        (picture.prompt, picture.adapter, picture.seed)
        for pictures, *_ in queue.requests.values()
        for picture in pictures
    )
    assert set(drawn.values()) == {1}
    seconds = [(text, arm, seed) for text, arm, seed in drawn if (text, arm, seed - 1) in drawn]
    assert len(seconds) == 3 * 8
    before = len(queue.requests)
    assert build(work, Recipe.load(DEMO | WITHIN)) == study_id
    assert len(queue.requests) == before  # nothing is missing
    store.close()


def test_win_rates_know_only_pairs_of_two_arms(made, tmp_path):
    home, store, study_id = made
    report = study_report(store, study_id).content()
    assert {one["comparison"] for one in report["results"]["outcomes"]} == {
        "rocm-kl:rlcm",
        "rlcm:rocm-beta0",
    }
    between = [vote for vote in store.votes(study_id) if is_analyzed(vote) and not vote.within]
    assert report["results"]["num_votes"] == len(between)
    pictures = Pictures(home / "study-pictures")
    folder = export(store, pictures, study_id, tmp_path / "export", "overall")
    battles = (folder / "battles.jsonl").read_text().splitlines()
    assert len(battles) == sum(vote.question == "overall" for vote in between)


def test_cost_counts_pairs_within_arms_and_comparisons_do_not(made):
    _, store, study_id = made
    for cost in (study_cost(store, study_id), recipe_cost(Recipe.load(DEMO | WITHIN))):
        assert (cost.sizes, cost.num_within) == ((8, 8), 24)
        assert cost.num_raters == 40 * 2 // 12 + 1


def test_votes_within_an_arm_have_no_arms_in_the_fit(made):
    _, store, study_id = made
    lesson = gather(store, [study_id])
    row = {image: k for k, image in enumerate(lesson.pictures)}
    choices = lesson.choices(row, np.arange(len(row), dtype=float)[:, None], 0, 0)
    for vote, arms, number in zip(lesson.votes, choices.arms, choices.comparison, strict=True):
        assert (not arms.any()) == vote.within
        assert (number == 0) == vote.within  # one comparison, that of no arms
    assert sum(vote.within for vote in lesson.votes) == 3 * 8 * 2


def test_a_packed_study_still_tells_pairs_within_arms_without_its_key(made, tmp_path):
    home, store, study_id = made
    pictures = Pictures(home / "study-pictures")
    pack(store, pictures, study_id, tmp_path / "study.zip", True)
    other = Store.open(tmp_path / "other.sqlite3")
    unpack(other, Pictures(tmp_path / "pictures"), tmp_path / "study.zip", None)
    assert verify(other, Pictures(tmp_path / "pictures"), study_id) == []
    within = [sum(vote.within for vote in one.votes(study_id)) for one in (store, other)]
    assert within[0] == within[1] > 0
    other.close()


def test_a_recipe_without_the_new_settings_has_the_identity_of_before():
    values = Recipe.load(DEMO).identity()
    assert "within_arms" not in values
    assert "split" not in values["prompts"]
    told = Recipe.load(DEMO | WITHIN | {"prompts": {"num": 8, "split": "training"}}).identity()
    assert told["within_arms"] is True
    assert told["prompts"]["split"] == "training"


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_study_of_a_part_has_prompts_of_that_part_alone(tmp_path, part):
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"a thing of number {k}\n" for k in range(200)))
    for prompts in ({"set": "own"}, {"set": "file", "file": str(file)}):
        (tmp_path / prompts["set"]).mkdir()
        store, study_id = draft(
            tmp_path / prompts["set"], prompts={"num": 8, "split": part} | prompts
        )
        texts = {row.text for row in lifecycle.pairs(store, study_id)}
        assert {part_of(text) for text in texts} == {part}
        lifecycle.open_study(store, study_id)
        simulate_raters(store, study_id, 3, crowd_of_score(store, study_id, 0.6))
        lifecycle.close(store, study_id)
        offered = [name for _, name in Results(tmp_path, store).rounds_beside("another")]
        assert offered == [study_id] * (part == "training")
        if part == "training":
            assert gather(store, [study_id]).num_kept == 0
        else:
            with pytest.raises(StudyError, match=f"the {part} part"):
                gather(store, [study_id])
        store.close()


def test_a_prompt_keeps_its_part_whatever_its_capitals_and_spaces():
    parts = Counter(part_of(f"a thing of number {k}") for k in range(2000))
    assert parts["training"] == pytest.approx(1400, abs=80)
    assert parts["test"] == pytest.approx(300, abs=60)
    for k in range(50):
        assert part_of(f"  A THING  of number {k}") == part_of(f"a thing of number {k}")


def test_votes_on_test_prompts_never_teach(tmp_path):
    file = tmp_path / "prompts.txt"
    texts = [f"a thing of number {k}" for k in range(80)]
    file.write_text("\n".join(texts))
    store, study_id = voted(tmp_path, prompts={"set": "file", "file": str(file), "num": 60})
    lifecycle.close(store, study_id)
    lesson = gather(store, [study_id])
    assert lesson.num_kept > 0
    assert "test" not in {part_of(vote.text) for vote in lesson.votes}
    assert lesson.num_kept + len(lesson.votes) == len(opinions(store, study_id))
    store.close()

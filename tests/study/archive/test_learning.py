"""From a closed study to what a reward is learned from, and the sentences where it cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import update

from rocm.cli.main import main
from rocm.errors import StudyError
from rocm.rewards.preference_files import learned_here
from rocm.study.archive.export import is_analyzed
from rocm.study.archive.learning import Lesson, gather
from rocm.study.design import lifecycle
from rocm.study.report.learned import card, learn_reward
from rocm.study.statistics.agreement import Share
from rocm.study.store import chain
from rocm.study.store.erase import erase
from rocm.study.store.rows import Vote
from rocm.study.store.tables import arm
from tests.study.voted import draft, voted

REWARDS = ["first", "second"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A closed study of three arms: 24 pairs, 3 votes each."""
    home = tmp_path_factory.mktemp("home")
    store, study_id = voted(home, repeats_per_rater=2)
    lifecycle.close(store, study_id)
    yield home, store, study_id
    store.close()


def test_the_votes_of_a_closed_study_are_gathered_once_each(made):
    _, store, study_id = made
    lesson = gather(store, [study_id[:6], study_id])
    counted = [v for v in store.votes(study_id) if is_analyzed(v) and v.question == "overall"]
    assert sorted(v.trial for v in lesson.votes) == sorted(v.trial for v in counted)
    assert lesson.manifests == {study_id: store.study(study_id).config_sha256}
    with store.database.read() as connection:
        assert lesson.heads == {study_id: chain.end_of(connection, study_id)["head"]}
    assert lesson.model == "assets/tiny-lcm"
    assert 0 < lesson.repeats.total <= 18


def test_columns_say_which_picture_which_side_and_which_arm(made):
    _, store, study_id = made
    lesson = gather(store, [study_id])
    row = {image: k for k, image in enumerate(lesson.pictures)}
    phi = np.arange(len(row), dtype=float)[:, None]
    choices = lesson.choices(row, phi, 0, 0)
    names = sorted({name for vote in lesson.votes for name in (vote.arm_a, vote.arm_b)})
    for k, vote in enumerate(lesson.votes):
        assert choices.difference[k, 0] == row[vote.image_a] - row[vote.image_b]
        assert (choices.side[k] > 0) == (vote.left_is == "a")
        assert choices.answer[k] == ["a", "tie", "b"].index(vote.choice)
        assert choices.arms[k, names.index(vote.arm_a)] == 1
        assert choices.arms[k, names.index(vote.arm_b)] == -1
    assert len(lesson.pairs(row)) == 24


def peaked(table):
    return 2 * table[:, 0] - table[:, 2] + table[:, 4:7].sum(1)


def taught(num_votes: int = 1200) -> tuple[Lesson, dict[str, int], np.ndarray]:
    """Votes by a hidden utility of 30 pictures' features, without a database."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(120, 2 * 2 + 2 * 4))
    table[:, 2:4] = table[:, :2] ** 2
    utility = peaked(table)
    empty = dict.fromkeys(Vote.__dataclass_fields__)
    votes = []
    for k in range(num_votes):
        prompt = int(rng.integers(40))
        a, b = rng.choice(3, 2, replace=False) + 3 * prompt
        felt = utility[a] - utility[b] + rng.logistic()
        told = {"study": "s", "trial": f"{k}", "rater": int(rng.integers(20)), "source": "link"}
        told |= {"text": f"p{prompt}", "category": "", "comparison": "x:y", "kind": "main"}
        told |= {"arm_a": f"arm{a % 3}", "arm_b": f"arm{b % 3}", "left_is": "ab"[k % 2]}
        told |= {"image_a": f"{a}", "image_b": f"{b}", "choice": "a" if felt > 0 else "b"}
        votes.append(Vote(**empty | told))
    lesson = Lesson(votes, Share(9, 10), {"s": "f" * 64}, "model/x")
    return lesson, {f"{k}": k for k in range(120)}, table


@pytest.mark.slow
def test_votes_by_a_utility_of_the_features_are_learned_and_described():
    lesson, row, table = taught()
    table[:, [1, 3]] = 5.0
    learned = learn_reward(lesson, row, table, REWARDS)
    assert learned.refusals == []
    assert learned.accuracy.share > 0.8
    assert max(learned.leans, key=learned.leans.get) == "first"
    assert "second" not in learned.leans
    phi = (table - learned.tensors["mean"]) @ learned.tensors["projection"]
    value = phi @ learned.tensors["weights"].mean(0)
    assert np.corrcoef(value, peaked(table))[0, 1] > 0.95
    assert learned.best_single == "first"
    texts = card("mine", lesson, learned)
    assert set(texts) == {"card.html", "card.md"}
    assert "SIMULATED" not in texts["card.md"]
    votes = [replace(lesson.votes[0], source="simulated"), *lesson.votes[1:]]
    assert "SIMULATED" in card("mine", replace(lesson, votes=votes), learned)["card.html"]


@pytest.mark.slow
def test_a_refused_fit_has_a_card_and_makes_no_reward(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    store, study_id = voted(tmp_path, prompts={"num": 10}, repeats_per_rater=2)
    lifecycle.close(store, study_id)
    store.close()
    words = ["preference", "fit", f"study:{study_id}", "--name", "mine"]
    for _ in range(2):  # the name of a refused reward is free
        assert main([*words, "--rewards", "saturation"]) == 2
        assert "No reward was made." in capsys.readouterr().err
    text = (tmp_path / "rewards" / "mine" / "card.md").read_text()
    assert "REFUSED" in text
    assert "nats per vote" in text
    assert learned_here() == []


def test_pairs_of_equal_pictures_teach_nothing():
    lesson, row, table = taught(40)
    with pytest.raises(StudyError, match="the same"):
        learn_reward(lesson, row, np.ones_like(table), REWARDS)


def test_what_cannot_be_learned_from_is_refused_in_a_sentence(made, tmp_path, monkeypatch, capsys):
    _, store, study_id = made
    for column, value in (("rater", 1), ("text", "p")):
        votes = [replace(vote, **{column: value}) for vote in store.votes(study_id)]
        monkeypatch.setattr(store, "votes", lambda _, votes=votes: votes)
        with pytest.raises(StudyError, match=f"left-out {column.replace('text', 'prompt')}"):
            gather(store, [study_id])
        monkeypatch.undo()
    opened, other = voted(tmp_path, title="Other")
    with pytest.raises(StudyError, match="is open"):
        gather(opened, [other])
    before = len(opened.votes(other))
    lifecycle.close(opened, other)
    erase(opened, other, 1)
    assert 1 not in {vote.rater for vote in gather(opened, [other]).votes}
    assert len(opened.votes(other)) < before
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    fit = ["preference", "fit", f"study:{other}", "--name"]
    for words, message in (
        (["My"], "lower-case"),
        (["mine", "--rewards", "compressibility"], "no gradient"),
        (["mine", "--embedding", "clip:none"], "folder"),
    ):
        assert main([*fit, *words]) == 2
        assert message in capsys.readouterr().err
    opened.close()


def test_pictures_of_two_base_models_are_refused(tmp_path):
    store, study_id = draft(tmp_path)
    with store.database.write() as w:
        w.execute(update(arm).where(arm.c.name == "rlcm").values(base_model="other/model"))
    lifecycle.open_study(store, study_id)
    lifecycle.close(store, study_id)
    with pytest.raises(StudyError, match="assets/tiny-lcm, other/model"):
        gather(store, [study_id])
    store.close()

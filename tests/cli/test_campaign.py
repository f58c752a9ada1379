"""The closed loop with simulated raters: its nulls, and that a stopped campaign goes on."""

import json

import pytest

from rocm.cli import campaign
from rocm.cli.campaign import Plan, null_votes
from rocm.study.archive.learning import gather
from rocm.study.design import lifecycle
from tests.study.voted import voted


def test_nulls_answer_the_same_showings_without_looking(tmp_path):
    store, study_id = voted(tmp_path, num_raters=9, repeats_per_rater=2)
    lifecycle.close(store, study_id)
    lesson = gather(store, [study_id])
    store.close()
    left = null_votes(lesson, "left", 0)
    assert all(vote.choice == vote.left_is for vote in left.votes)
    assert (left.repeats.count, left.repeats.total) == (0, lesson.repeats.total)
    coin = null_votes(lesson, "coin", 0)
    assert {vote.choice for vote in coin.votes} == {"a", "b"}
    assert coin.votes == null_votes(lesson, "coin", 0).votes != null_votes(lesson, "coin", 1).votes
    for made in (left, coin):
        shown = [(vote.trial, vote.image_a, vote.image_b, vote.left_is) for vote in made.votes]
        assert shown == [(v.trial, v.image_a, v.image_b, v.left_is) for v in lesson.votes]


@pytest.mark.slow
def test_a_stopped_campaign_goes_on_to_its_last_study(tmp_path, monkeypatch):
    settings = {"num_steps": 1, "num_eval_prompts": 2, "batch_size": 2, "track": "taste"}
    plan = Plan(1, (60,), 10, 20, True, settings)
    kept, lines = campaign._last, []

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(campaign, "_last", stop)
    with pytest.raises(KeyboardInterrupt):
        campaign.carry_out(plan, tmp_path, lines.append)
    monkeypatch.setattr(campaign, "_last", kept)
    first = len(lines)
    page = campaign.carry_out(plan, tmp_path, lines.append).read_text()
    assert not any("learning" in line for line in lines[first:])  # what was done is kept
    (cell,) = json.loads((tmp_path / "cells.json").read_text())
    assert cell["num_votes"] == 60
    assert len(cell["before"]) == len(cell["after"]) == 2
    assert "not evidence" in page
    report = (tmp_path / "last-seed-0" / "report.md").read_text()
    assert "From votes to votes" in report
    assert "D3PO-on-the-votes" in report

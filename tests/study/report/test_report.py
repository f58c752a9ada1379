import json
import re
from dataclasses import replace

import numpy as np
import pytest

from rocm.errors import StudyError
from rocm.study.report.report import report
from rocm.study.statistics.analysis import INTERIM, MARKS, Comparison, StudyContext
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.simulate import Design, Utility, simulate
from rocm.study.statistics.votes import Votes

BETAS = {"x:y": 0.1, "y:z": 0.01, "x:z": 0.001}
INFO = StudyContext(
    title="Three arms", manifest_sha256="0123456789abcdef" * 4,
    comparisons=tuple(Comparison(name, name[0], name[2], beta) for name, beta in BETAS.items()),
    questions=("overall", "appeal"), prompts="the embedded model's own set",
    exclusion_rules=("fewer than two checks right",),
)  # fmt: skip


@pytest.fixture(scope="module")
def votes():
    utility = Utility().with_score(0.6)
    models = {(one.name, key): utility for one in INFO.comparisons for key in INFO.questions}
    design = Design(30, 10, 4, num_repeats=2, num_checks=2)
    found = simulate(design, models, np.random.default_rng(0))
    category = np.where(found.prompt % 2 == 0, "animals", "people")
    return replace(found, excluded=found.rater == 4, category=category)


@pytest.fixture(scope="module")
def rewards(votes):
    pairs = np.unique(votes.opinions().pair)
    a, b = np.random.default_rng(1).normal(size=(2, len(pairs)))
    return Rewards(pairs, {"hps": (a, b), "<jpeg>": (b, a)})


@pytest.fixture(scope="module")
def made(votes, rewards):
    return report(votes, INFO, rewards)


def outputs(made):
    return made.to_html(), made.to_markdown(), made.to_json()


def test_every_output_and_every_drawing_is_marked_by_the_sources_of_its_votes(votes, rewards, made):
    marked = report(votes, replace(INFO, sources=("link", *MARKS), is_open=True), rewards)
    drawings = re.findall(r"<svg.*?</svg>", marked.to_html(), re.S)
    assert len(drawings) == 3
    for mark in (*MARKS.values(), INTERIM):
        assert all(mark in text for text in (*outputs(marked), *drawings))
        assert not any(mark in text for text in outputs(made))


def test_hidden_results_are_refused_until_the_study_is_closed(votes):
    hidden = replace(INFO, is_hidden_until_closed=True)
    assert report(votes, hidden).to_json()
    with pytest.raises(StudyError, match="hides results until the study is closed"):
        report(votes, replace(hidden, is_open=True))


def test_names_from_users_are_escaped_and_the_page_loads_nothing(votes, rewards, made):
    title = "<script>alert(1)</script> | ![x](http://x)"
    evil = report(votes, replace(INFO, title=title), rewards)
    assert "<script" not in evil.to_html()
    assert "<jpeg>" not in evil.to_html()
    assert "<script" not in evil.to_markdown().replace("\\<", "")
    assert "![" not in evil.to_markdown()
    assert not re.search(r"(src|href)=|url\(|@import|<script", made.to_html())


def test_json_has_null_where_there_is_no_number():
    empty = json.loads(report(Votes.from_rows([]), INFO).to_json())
    assert "NaN" not in json.dumps(empty)
    first = empty["results"]["outcomes"][0]
    assert (first["score"], first["interval"], first["holm_p"]) == (None, None, None)


def test_exclusions_are_reported_both_ways_and_many_of_them_are_cautioned(votes, made):
    results, opinions = made.analysis, votes.opinions()
    assert results.num_excluded == (opinions.rater == 4).sum() > 0
    for kept, every in zip(results.outcomes, results.outcomes_of_all, strict=True):
        asked = votes.opinions(kept.comparison, kept.question)
        assert every.num_votes == len(asked)
        assert kept.num_votes == (asked.rater != 4).sum()
    assert results.cautions == []  # nine raters, one of ten excluded
    several = report(replace(votes, excluded=votes.rater < 3), INFO)
    few, many = several.analysis.cautions
    assert "7 raters" in few
    assert "3 of 10 raters" in many
    assert all("7 raters" in text for text in outputs(several))


def test_the_same_votes_give_the_same_text_and_counts_add_up(votes, rewards, made):
    assert outputs(report(votes, INFO, rewards)) == outputs(made)
    for row in made.analysis.outcomes:
        assert row.wins + row.ties + row.losses == row.num_votes
        assert row.score == pytest.approx((row.wins + row.ties / 2) / row.num_votes)


def test_categories_split_the_votes(made):
    for whole in made.analysis.outcomes[:3]:
        rows = [row for part in made.analysis.categories.values() for row in part]
        split = [row.num_votes for row in rows if row.comparison == whole.comparison]
        assert len(split) == 2
        assert sum(split) == whole.num_votes

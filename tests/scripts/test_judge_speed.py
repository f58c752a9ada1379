"""What is measured faster than the same settings without it is kept, the rest is not."""

import pytest

from scripts.judge_speed import verdict, verdicts


def row(variant: str, ms: float | None, cosine: float | None = 0.999, batch: int = 1) -> dict:
    known = {"variant": variant, "ref_grad": "exact", "batch": batch, "ms": ms, "cosine": cosine}
    return known | {"x plain": 1.5, "first s": 20.0, "note": "" if ms else "The memory is full."}


@pytest.mark.parametrize(
    ("ms", "cosine", "word"),
    [
        (50.0, 0.999, "KEEP"),
        (95.0, 0.995, "KEEP"),
        (96.0, 0.999, "DELETE"),
        (110.0, 0.999, "DELETE"),
        (50.0, 0.9, "DELETE"),
        (50.0, None, "KEEP"),
    ],
)
def test_a_candidate_is_kept_if_it_is_faster_and_its_gradient_is_right(ms, cosine, word):
    line = verdict(row("graph", ms, cosine), row("flat", 100.0))
    assert line.startswith("cuda_graph (batch 1, ref_grad exact)")
    assert line.endswith(word)


def test_each_candidate_is_compared_at_its_own_batch():
    rows = [row("flat", 100.0), row("graph", 90.0), row("flat", 10.0, batch=4)]
    rows.append(row("graph", 20.0, batch=4))
    first, second = verdicts(rows)
    assert first.endswith("KEEP")
    assert second.endswith("DELETE")

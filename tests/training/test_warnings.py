import pytest
import torch

from rocm.evaluation.metrics import Evaluation, diversity
from rocm.training.warnings import warnings


def evaluation(judge: float = 0.0, diversity: float = 0.4, at_limit: float = 0.1) -> Evaluation:
    spread = torch.linspace(-1, 1, 32) * 0.1
    statistics = {"diversity": diversity, "at_limit": at_limit}
    return Evaluation(torch.empty(0), {"judge": judge + spread}, statistics)


@pytest.mark.parametrize(
    ("now", "gain", "expected"),
    [
        (evaluation(), 1.0, set()),
        (evaluation(judge=-0.016), 1.0, {"hacking"}),
        (evaluation(judge=-0.014), 1.0, set()),
        (evaluation(judge=-0.016), -1.0, set()),
        (evaluation(judge=0.05), 1.0, set()),
        (evaluation(diversity=0.19), 1.0, {"collapse"}),
        (evaluation(diversity=0.21), 1.0, set()),
        (evaluation(at_limit=0.36), 1.0, {"saturation"}),
        (evaluation(at_limit=0.34), 1.0, set()),
    ],
)
def test_each_warning_holds_exactly_where_it_should(now, gain, expected):
    assert set(warnings(evaluation(), now, "judge", gain)) == expected


def test_a_noisy_fall_of_the_judge_is_no_hacking():
    now = evaluation()
    noise = torch.randn(32, generator=torch.Generator().manual_seed(0))
    now.scores["judge"] = now.scores["judge"] - 0.1 + noise
    assert warnings(evaluation(), now, "judge", 1.0) == {}


def test_diversity_is_the_mean_distance_and_zero_for_one_picture():
    black, white = torch.zeros(3, 64, 64), torch.ones(3, 64, 64)
    assert diversity(torch.stack([black, black, black])) == 0
    assert diversity(torch.stack([black, white])) == pytest.approx(1)
    assert diversity(torch.stack([black, black, white])) == pytest.approx(2 / 3)

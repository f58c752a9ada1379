"""A form shows the settings that a run reads."""

import pytest

from rocm.config import RunConfig
from rocm.config.objective import PolicyGradientSettings
from rocm.config.relevance import unread_settings

READ = [
    ({}, "backprop ref_grad", "js_estimator sigma_floor backprop_steps"),
    ({"divergence": "js"}, "js_estimator", "js_samples"),
    ({"divergence": "js", "js_estimator": "sampled"}, "js_samples", ""),
    ({"backprop": "last_k", "last_step": "floor"}, "backprop_steps sigma_floor", ""),
    (
        {"algorithm": "rlcm"},
        "policy_loss clip_range inner_epochs",
        "backprop rebel_eta preferences",
    ),
    ({"algorithm": "rlcm", "policy_loss": "rebel"}, "rebel_eta", "clip_range"),
    ({"algorithm": "d3po"}, "preferences preference_beta", "policy_loss value_epochs"),
    ({"algorithm": "dpok"}, "value_epochs clip_range", "prompt_window"),
    ({"algorithm": "hybrid"}, "backprop advantage_clip", "clip_range inner_epochs"),
    ({"algorithm": "none such"}, "clip_range backprop", ""),
]


@pytest.mark.parametrize(("changes", "read", "unread"), READ)
def test_what_an_algorithm_does_not_read_is_not_shown(changes, read, unread):
    found = unread_settings({**RunConfig().model_dump(), **changes})
    assert found.isdisjoint(read.split())
    assert found.issuperset(unread.split())


def test_back_propagation_alone_reads_no_setting_of_policy_gradients():
    found = unread_settings(RunConfig().model_dump())
    assert found.issuperset(PolicyGradientSettings.model_fields)

"""Which settings a run with some others does not read, so that a form need not show them."""

from collections.abc import Mapping
from typing import Any

from rocm.config.algorithms import ALGORITHMS, Algorithm
from rocm.config.objective import PolicyGradientSettings


def unread_settings(values: Mapping[str, Any]) -> set[str]:
    """Names of the settings that have no effect with these values, checked or not, by setting."""
    algorithm = ALGORITHMS.get(values["algorithm"])
    if algorithm is None:
        return set()
    method = algorithm.variants.get(values["policy_loss"], algorithm)
    is_sampled = values["js_estimator"] == "sampled"
    rules = _of_policy_gradients(method) | {
        "policy_loss": bool(algorithm.variants),
        "backprop": method.is_backprop,
        "ref_grad": method.is_backprop,
        "backprop_steps": method.is_backprop
        and values["backprop"] in ("last_k", "drtune", "draft_lv"),
        "sigma_floor": values["last_step"] == "floor",
        "js_estimator": values["divergence"] == "js",
        "js_samples": values["divergence"] == "js" and is_sampled,
    }
    return {name for name, is_read in rules.items() if not is_read}


def _of_policy_gradients(method: Algorithm) -> dict[str, bool]:
    """Whether each setting of policy gradients is read."""
    rules = dict.fromkeys(PolicyGradientSettings.model_fields, method.is_policy_gradient)
    return rules | {
        "rebel_eta": method.loss == "rebel",
        "preference_beta": method.reads_preferences,
        "preferences": method.reads_preferences,
        "value_learning_rate": method.has_value,
        "value_epochs": method.has_value,
        "clip_range": bool(method.loss) and method.loss != "rebel",
        "inner_epochs": not method.is_backprop,
        "advantage_clip": method.is_policy_gradient and not method.reads_preferences,
        "prompt_window": method.is_policy_gradient and method.advantages == "prompt",
        "prompt_min_count": method.is_policy_gradient and method.advantages == "prompt",
    }

r"""A beta that gives the divergence a stated share of the gradient.

.. math:: s = \frac{\beta \|g_D\|}{\|g_R\| + \beta \|g_D\|}
          \quad\Rightarrow\quad
          \beta = \frac{s}{1 - s} \cdot \frac{\|g_R\|}{\|g_D\|}

g_R is the gradient of the negative reward, g_D that of the divergence, in all adapter parameters.
At the start policy and reference are equal and g_D is 0, so twenty updates are trained with the
beta that is set, and the medians of the second half count. g_D grows as the policy moves away: the
share holds for a policy as far away as that one.
"""

from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from rocm.config import RunConfig
from rocm.config.objective import AUTO
from rocm.errors import ConfigError
from rocm.rewards.base import Mixture
from rocm.training.batch import draw_batches, make_problem
from rocm.training.setup import Setup, set_up
from rocm.training.update import batch_objective

NUM_UPDATES = 20


def calibrated_beta(config: RunConfig, share: float) -> float:
    """Train twenty updates; the beta that gives the divergence the share s, in (0, 1)."""
    if not config.method.needs_gradient or config.beta in (0, AUTO) or not 0 < share < 1:
        raise ConfigError(
            f"--calibrate-beta {share:g} needs a share between 0 and 1, algorithm=rocm and a "
            f"number above 0 as beta, but algorithm={config.algorithm} and "
            f"beta={config.beta_words}."
        )
    if config.precision == "fp16":  # the others need no scaling of the loss
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        config = config.model_copy(update={"precision": "bf16" if has_bfloat16 else "fp32"})
    setup = set_up(config)
    start = setup.evaluate()
    mixture = setup.rewards.mixture(start.scales())
    norms = [_update(setup, mixture, step) for step in range(1, NUM_UPDATES + 1)]
    reward, divergence = (median(values) for values in zip(*norms[NUM_UPDATES // 2 :], strict=True))
    if not divergence:
        raise ConfigError(
            "The divergence had no gradient in 20 updates, so no beta gives it a share. Raise "
            "learning_rate, or set last_step=smooth."
        )
    beta = share / (1 - share) * reward / divergence
    return float(RunConfig.load(config.model_dump(), beta=float(f"{beta:.3g}")).beta)


def _update(setup: Setup, mixture: Mixture, step: int) -> tuple[float, float]:
    """One update; returns the norms of the reward's gradient and of the divergence's."""
    without = replace(setup, config=setup.config.model_copy(update={"beta": 0.0}))
    reward, total = (_gradient(part, mixture, step) for part in (without, setup))
    setup.learner.optimizer.zero_grad(set_to_none=True)
    sizes = [parameter.numel() for parameter in setup.learner.parameters]
    for parameter, gradient in zip(setup.learner.parameters, total.split(sizes), strict=True):
        parameter.grad = gradient.view_as(parameter).clone()
    torch.nn.utils.clip_grad_norm_(setup.learner.parameters, setup.config.max_grad_norm)
    setup.learner.optimizer.step()
    return reward.norm().item(), (total - reward).norm().item() / setup.penalty.beta


def _gradient(setup: Setup, mixture: Mixture, step: int) -> Tensor:
    """Of the objective in all adapter parameters, flat."""
    setup.learner.optimizer.zero_grad(set_to_none=False)
    for batch in draw_batches(setup, step):
        problem = make_problem(setup, mixture, batch, {})
        loss = batch_objective(setup, problem, batch, step).loss
        (loss / setup.config.gradient_accumulation).backward()
    return torch.cat(
        [
            (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten()
            for parameter in setup.learner.parameters
        ]
    )

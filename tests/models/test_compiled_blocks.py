"""Compiled blocks: which they are, and that an update with them is the same update."""

from typing import Any

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.experiments.bench.random_model import SMALL, random_setup
from rocm.models import compiled_blocks
from rocm.training.setup import Setup
from tests.training.test_speed import two_updates


def small_setup(**settings: Any) -> Setup:
    # Adam divides by the gradient's size: a large epsilon keeps its noise from being blown up.
    fixed = {"num_inference_steps": 2, "batch_size": 1, "device": "cpu", "adam_epsilon": 1e-3}
    config = RunConfig.load("tiny-rocm-kl", **fixed, num_eval_prompts=2, **settings)
    return random_setup(config, SMALL, torch.device("cpu"))


@pytest.mark.slow
def test_compiled_blocks_give_the_same_update_and_evaluations_compile_nothing(monkeypatch):
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        compiled.append(graph)
        return aot_eager(graph, inputs)

    monkeypatch.setattr(compiled_blocks, "BACKEND", backend)
    monkeypatch.setattr(compiled_blocks, "BLOCKS", ("BasicTransformerBlock",))
    monkeypatch.setattr(compiled_blocks, "TOWER_BLOCKS", ())
    torch._dynamo.reset()
    wanted, before = two_updates(small_setup())
    setup = small_setup(compile_blocks=True)
    setup.evaluate()
    assert not compiled
    found, after = two_updates(setup)
    # Policy and reference, with and without a gradient of their states, shared by four blocks.
    assert 0 < len(compiled) <= 4
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6)


def test_blocks_are_not_compiled_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no-such-compiler cannot be found"):
        small_setup(compile_blocks=True)

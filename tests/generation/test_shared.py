"""Pictures drawn by several processes; threads stand for them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rocm.generation.picture import Picture
from rocm.generation.sampler import SMALL_BATCH, Sampler
from rocm.rewards.names import KL
from tests.training.threads import pair

MEASURED = ("saturation", KL)


@pytest.fixture
def order(tiny_pipeline_dir, tiny_adapters):
    """Four batches of two arms, the last ones of one picture."""
    plain = Picture("a fox", num_inference_steps=1, model=str(tiny_pipeline_dir))
    adapted = replace(plain, adapter=str(tiny_adapters[0]))
    num = 1 + SMALL_BATCH
    return [replace(arm, seed=seed) for arm in (plain, adapted) for seed in range(num)]


@pytest.fixture
def samplers(order):
    """Of two processes; loading changes what a whole process shares, so it comes before."""
    found = [Sampler("cpu"), Sampler("cpu")]
    for sampler in found:
        for _ in sampler.draw(order[:: 1 + SMALL_BATCH], MEASURED):
            pass
    return found


def content(drawn):
    return [(one.index, one.image.tobytes(), one.scores) for one in drawn]


def test_two_processes_draw_the_pictures_of_one_bit_for_bit_and_half_of_them_each(
    order, samplers, monkeypatch
):
    alone, batches = content(samplers[0].draw(order, MEASURED)), {0: 0, 1: 0}
    assert len(alone) == len(order)
    for rank, sampler in enumerate(samplers):
        real = sampler._draw_batch

        def counted(*arguments, rank=rank, real=real):
            batches[rank] += 1
            return real(*arguments)

        monkeypatch.setattr(sampler, "_draw_batch", counted)
    with ThreadPoolExecutor(2) as pool:
        shared = pool.map(
            lambda ranks: content(samplers[ranks.rank].draw(order, MEASURED, ranks)), pair()
        )
        assert list(shared) == [alone, alone]
    assert batches == {0: 2, 1: 2}

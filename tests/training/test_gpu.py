from collections.abc import Callable

import pytest

from rocm.training.loop import train
from rocm.training.run_dir import RunDir

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("gradient_checkpointing", ["on", "off"])
def test_cuda_gives_the_figures_of_the_cpu(
    new_run: Callable[..., RunDir], precision: str, gradient_checkpointing: str
) -> None:
    on_cpu = new_run("cpu")
    settings = {"precision": precision, "gradient_checkpointing": gradient_checkpointing}
    on_cuda = new_run("cuda", device="cuda", **settings)
    tolerance = 1e-2 if precision == "fp32" else 0.3
    for one, other in zip(train(on_cpu), train(on_cuda), strict=True):
        for name in ("reward", "eval/reward"):
            if name in one.row:
                assert one.row[name] == pytest.approx(other.row[name], abs=tolerance)

"""The first updates of every algorithm measure what they measured when they were recorded."""

import json

import pytest

from rocm.config import RunConfig
from rocm.storage.paths import ROOT
from tests.golden.record import PRESETS, RECORDED, rows

# Another CPU rounds sums in another order. With ATEN_CPU_CAPABILITY=default, two threads and
# ONEDNN_MAX_CPU_ISA=SSE41, or with AVX2 in both, no value moved by more than 1.3e-3 of itself (edge
# density, which counts pixels; 7e-4 the divergence) or, where it is 0 in theory, by 1e-6.
RELATIVE, ABSOLUTE = 1e-2, 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_first_updates_of_a_preset_measure_what_was_recorded(preset, tmp_path):
    recorded, found = json.loads(RECORDED.read_text())[preset], rows(preset, tmp_path / "run")
    assert [sorted(row) for row in found] == [sorted(row) for row in recorded]
    for step, (now, then) in enumerate(zip(found, recorded, strict=True)):
        for name, value in then.items():
            words = f"{name} after {step} updates"
            assert now[name] == pytest.approx(value, rel=RELATIVE, abs=ABSOLUTE), words


def test_every_algorithm_has_a_golden_run():
    kinds = {}
    for path in (ROOT / "presets").glob("tiny-*.yaml"):
        config = RunConfig.load(path.stem)
        # What tells one algorithm from another; a divergence and a reward do not.
        own = config.algorithm, config.policy_loss, config.backprop, config.last_step
        kinds[path.stem] = own
    assert {kinds[name] for name in PRESETS} == set(kinds.values())

"""What is said before Start: time and memory from earlier runs, and what cannot work."""

import psutil
import pytest

from rocm.config import RunConfig
from rocm.rewards.files import PUBLISHED
from rocm.rewards.load import PIXEL_REWARDS
from rocm.rewards.names import CLIP_FOLDERS, NAMES, PIXEL_NAMES
from rocm.runs.run_dir import RunDir
from rocm.studio import Studio
from rocm.training.estimate import EMBEDDED_MODEL, Estimate, passes
from rocm.training.preflight import problems


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path / "home")


def measured_run(studio, name="earlier", seconds=2.0, memory_mb=1000.0, **settings):
    """A run whose updates took `seconds` each and whose first evaluation took 3 s."""
    config = RunConfig(**{"num_steps": 5, "num_eval_prompts": 10, **settings})
    run = RunDir.create(studio.runs.folder / name, config)
    run.append_event("started", step=0)
    started = run.events()[0]["time"]
    rate = config.batch_size * config.gradient_accumulation / seconds
    run.append_metrics({"step": 0, "time": started + 3.0})
    for step in range(1, 6):
        row = {"step": step, "time": started + 3 + step * seconds, "images_per_s": rate}
        run.append_metrics({**row, "memory_mb": memory_mb})
    run.write_state("finished")
    return started - psutil.Process().create_time()


def test_a_run_like_an_earlier_one_is_expected_to_take_as_long(studio, tmp_path):
    start_s = measured_run(studio, model=str(tmp_path))
    config = RunConfig(model=str(tmp_path), num_steps=100, eval_every=50, num_eval_prompts=10)
    found = studio.estimate(config)
    assert found.seconds == pytest.approx(start_s + 100 * 2 + 3 * 3, rel=1e-3)
    assert found.memory_mb == pytest.approx(1000)
    assert "earlier" in found.basis


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"batch_size": 8}, 2),
        ({"gradient_accumulation": 3}, 3),
        ({"num_inference_steps": 8}, 16.4 / 8.4),
        ({"ref_grad": "none"}, (5 + 0.4 * 4) / 8.4),
        ({"ref_grad": "detach"}, (9 + 0.4 * 4) / 8.4),
        ({"algorithm": "rlcm", "inner_epochs": 2}, (0.4 * 9 + 8) / 8.4),
        ({"algorithm": "rlcm", "beta": 0}, (0.4 * 5 + 4) / 8.4),
        ({"algorithm": "d3po", "beta": 0, "pictures_per_prompt": 2}, (0.4 * 9 + 4) / 8.4),
    ],
)
def test_time_goes_with_pictures_and_passes(studio, tmp_path, settings, factor):
    start_s = measured_run(studio, model=str(tmp_path))
    same = RunConfig(model=str(tmp_path), num_steps=10_000, num_eval_prompts=2, eval_every=10_000)
    other = RunConfig(**{**same.model_dump(), **settings})
    seconds = [studio.estimate(config).seconds - start_s for config in (other, same)]
    assert seconds[0] / seconds[1] == pytest.approx(factor, rel=1e-3)
    assert passes(other) / passes(same) <= factor


@pytest.mark.parametrize(("batch", "accumulation"), [(1, 1), (4, 2), (16, 1)])
def test_a_call_of_the_embedded_model_costs_more_than_its_pictures(studio, batch, accumulation):
    """Of a run with four pictures at once; its smaller batches are slower by the picture."""
    start_s = measured_run(studio)
    sizes = {"batch_size": batch, "gradient_accumulation": accumulation}
    config = RunConfig(**sizes, num_steps=10_000, num_eval_prompts=2, eval_every=10_000)
    update_s = (studio.estimate(config).seconds - start_s) / 10_000
    assert update_s == pytest.approx(2.0 * accumulation * (batch + 1.5) / 5.5, rel=1e-2)


def test_the_newest_run_of_the_same_model_and_device_counts(studio, tmp_path):
    measured_run(studio, "other-model", seconds=90.0)
    measured_run(studio, "other-device", seconds=50.0, model=str(tmp_path), device="cpu")
    assert studio.estimate(RunConfig(model=str(tmp_path))).seconds is None
    measured_run(studio, "fits", model=str(tmp_path))
    assert "fits" in studio.estimate(RunConfig(model=str(tmp_path))).basis


def test_the_presets_of_the_embedded_model_have_no_problem(studio):
    configs = {one.name: studio.presets.load(one.name) for one in studio.presets.all()}
    embedded = {name: one for name, one in configs.items() if one.model == EMBEDDED_MODEL}
    assert len(embedded) > 10
    for name, config in embedded.items():
        assert studio.problems(config) == [], name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no/model"}, "model=no/model is not on this disk"),
        ({"reward": "compressibility"}, "compressibility has no gradient, but algorithm=rocm"),
        ({"track": "tiny-clip,tiny-clop"}, "Unknown reward 'tiny-clop'"),
        ({"judge": "tiny-preference"}, "judge=tiny-preference is also trained"),
        ({"audit": "tiny-preference"}, "audit=tiny-preference is also trained"),
        ({"audit": "tiny-clop"}, "Unknown reward 'tiny-clop'"),
        ({"prompts": "none.txt"}, "prompts=none.txt does not exist"),
        ({"num_eval_prompts": 4096}, "num_eval_prompts=4096. Lower it"),
    ],
)
def test_what_cannot_work_is_said_once_before_start(studio, settings, words):
    (found,) = studio.problems(RunConfig(**settings))
    assert words in found


def test_a_batch_that_does_not_fit_is_said_unless_it_can_be_recomputed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    huge = Estimate(1.0, 1e9, "")
    (found,) = problems(RunConfig(gradient_checkpointing="off", batch_size=512), huge)
    assert "batch_size=512 needs about 1,000,000,000 MB" in found
    assert problems(RunConfig(gradient_checkpointing="auto"), huge) == []


def test_the_names_that_need_no_torch_are_those_of_the_rewards():
    assert tuple(PIXEL_REWARDS) == PIXEL_NAMES
    assert set(NAMES) == {*PIXEL_REWARDS, *CLIP_FOLDERS, *PUBLISHED}

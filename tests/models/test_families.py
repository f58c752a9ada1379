"""Every family of models: as stock diffusers draws it, trained, saved, and loaded by it again."""

import numpy
import pytest

from rocm.errors import ConfigError
from rocm.models.consistency import load_model
from rocm.models.lora import load_adapter
from rocm.models.pipelines import TURBO
from rocm.training.loop import train
from tests.families import FAMILIES, levels_apart, name_of, our_picture, stock, stock_picture


@pytest.mark.parametrize("family", FAMILIES)
def test_picture_of_every_family_is_that_of_stock_diffusers(models, family):
    model, pipeline = load_model(name_of(models, family), "cpu"), stock(models, family)
    assert model.note == (TURBO if family == "turbo" else "")
    for guidance_scale, passes in zip((2.0, 1.0), FAMILIES[family], strict=True):
        before = model.passes.forward
        ours = our_picture(model, guidance_scale)
        assert levels_apart(ours, stock_picture(pipeline, guidance_scale)) <= 1
        assert numpy.asarray(ours).std() > 10
        assert model.passes.forward - before == passes


def test_guidance_leads_away_from_zeros_in_sdxl_and_from_the_empty_prompt_elsewhere(models):
    large = load_model(name_of(models, "xl+lora"), "cpu")
    assert not large.encode_nothing().any()
    assert large.encode([""]).any()
    small = load_model(name_of(models, "sd+lora"), "cpu")
    assert small.encode_nothing().equal(small.encode([""]))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_two_updates_of_every_family_are_saved_and_draw_the_same_in_stock_diffusers(
    models, family, new_run
):
    settings = {"num_steps": 2, "learning_rate": 0.05, "guidance_scale": 2}
    run = new_run("run", model=name_of(models, family), **settings)
    rows = [progress.row for progress in train(run)]
    assert len(rows) == 3
    assert rows[2]["divergence"] > 0
    model = load_model(name_of(models, family), "cpu")
    before = our_picture(model, 2.0)
    load_adapter(model.pipeline, run.path / "adapter", "ours")
    ours = our_picture(model, 2.0)
    pipeline = stock(models, family)
    pipeline.load_lora_weights(str(run.path / "adapter"), adapter_name="ours")
    pipeline.set_adapters([*(["lcm"] if family.endswith("lora") else []), "ours"])
    assert levels_apart(ours, stock_picture(pipeline, 2.0)) <= 1
    assert levels_apart(ours, before) > 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{}/sd", "Add an LCM-LoRA"),
        ("{}/sd+{}/xl-lora", "lcm-lora-sdv1-5 for Stable Diffusion 1.5"),
        ("{}/sd+{}/xl-unet", "width 64"),
    ],
)
def test_a_model_without_a_part_of_its_own_family_is_refused(models, model, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_model(model.replace("{}", str(models)), "cpu")
    assert "\n" not in str(caught.value)

"""The adapter: what it adds, how it is switched off, and its way through a file."""

import math

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors.torch import load_file, save_file

from rocm.errors import ConfigError, MissingFile
from rocm.models.consistency import load_model
from rocm.models.lora import WEIGHTS, adapter_off, add_adapter, load_adapter, save_adapter
from rocm.models.pipelines import order_channels
from tests.families import TARGETS, random_adapter


@pytest.fixture
def unet(tiny_pipeline_dir):
    return load_model(str(tiny_pipeline_dir), "cpu").pipeline.unet


@pytest.fixture
def pipeline(tiny_pipeline_dir):
    """The stock one, laid out in memory as ours is on a CPU: the sums are in the same order."""
    stock = LatentConsistencyModelPipeline.from_pretrained(tiny_pipeline_dir)
    order_channels(stock, is_last=True)
    return stock


def output_of(unet):
    generator = torch.Generator().manual_seed(0)
    state, context, guidance = (
        torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 16, 32), (2, 32))
    )
    timesteps = torch.tensor([999, 259])
    return unet(state, timesteps, encoder_hidden_states=context, timestep_cond=guidance).sample


def projection(unet):
    return unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q


@pytest.fixture
def saved(unet, tmp_path):
    """A saved adapter, rank 4 and alpha 8, and the output of the U-Net that carries it."""
    random_adapter(unet)
    save_adapter(unet, tmp_path)
    with torch.no_grad():
        return tmp_path, output_of(unet)


def test_a_new_adapter_changes_nothing_and_its_first_gradient_goes_to_b_alone(unet):
    before = output_of(unet)
    add_adapter(unet, 4, 8, TARGETS, seed=0)
    after = output_of(unet)
    assert torch.equal(before, after)
    after.square().sum().backward()
    for name, parameter in unet.named_parameters():
        if parameter.requires_grad:
            assert ("lora_B" in name) == (parameter.grad.abs().max().item() > 0), name


def test_adapter_covers_the_targets_and_nothing_else(unet):
    base = dict(unet.named_parameters())
    parameters = add_adapter(unet, 4, 8, ["to_q"], seed=0)
    covered = {name for name, _ in unet.named_modules() if name.endswith(".to_q")}
    trained = [name for name, p in unet.named_parameters() if p.requires_grad]
    assert {name.split(".lora_")[0] for name in trained} == covered
    assert len(parameters) == len(trained) == 2 * len(covered)
    assert not any(parameter.requires_grad for parameter in base.values())


def test_initial_values_follow_the_seed_and_leave_the_global_generator_alone(tiny_pipeline_dir):
    def values(seed):
        unet = load_model(str(tiny_pipeline_dir), "cpu").pipeline.unet
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        parameters = add_adapter(unet, 4, 8, TARGETS, seed)
        assert torch.equal(torch.rand(3), expected)
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    assert torch.equal(values(1), values(1))
    assert not torch.equal(values(1), values(2))


def test_targets_that_match_nothing_are_refused(unet):
    with pytest.raises(ConfigError, match="lora_targets='to_x' matches no module"):
        add_adapter(unet, 4, 8, ["to_x"], seed=0)


def test_off_is_the_base_model_and_on_comes_back_even_after_an_error(unet):
    base = output_of(unet)
    parameters = random_adapter(unet)
    policy = output_of(unet)
    with adapter_off(unet):
        with adapter_off(unet):
            assert torch.equal(output_of(unet), base)
        assert torch.equal(output_of(unet), base)
    assert torch.equal(output_of(unet), policy)
    with pytest.raises(KeyError), adapter_off(unet):
        raise KeyError
    assert torch.equal(output_of(unet), policy)
    assert all(parameter.requires_grad for parameter in parameters)


@pytest.mark.parametrize("load", [StableDiffusionLoraLoaderMixin.load_lora_weights, load_adapter])
def test_saved_adapter_gives_stock_diffusers_and_us_the_same_network(saved, pipeline, load):
    folder, expected = saved
    assert [path.name for path in folder.iterdir()] == [WEIGHTS]
    base = output_of(pipeline.unet)
    load(pipeline, folder)
    torch.testing.assert_close(output_of(pipeline.unet), expected, rtol=1e-5, atol=1e-6)
    assert list(projection(pipeline.unet).scaling.values()) == [8 / 4]
    assert (expected - base).abs().max() > 0.01
    with adapter_off(pipeline.unet):
        assert torch.equal(output_of(pipeline.unet), base)


def refusal(pipeline, folder, kind=ConfigError):
    with pytest.raises(kind) as caught:
        load_adapter(pipeline, folder)
    message = str(caught.value)
    assert WEIGHTS in message
    assert "\n" not in message
    return message


def test_a_truncated_empty_or_missing_adapter_is_refused(saved, pipeline):
    path = saved[0] / WEIGHTS
    content = path.read_bytes()
    for length in (0, 5, 300, -1):
        path.write_bytes(content[:length])
        assert "is damaged" in refusal(pipeline, saved[0])
    save_file({}, path)
    assert "holds no tensor" in refusal(pipeline, saved[0])
    path.unlink()
    assert "No adapter at" in refusal(pipeline, saved[0], MissingFile)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_adapter_that_is_not_finite_is_refused(saved, pipeline, value):
    path = saved[0] / WEIGHTS
    tensors = load_file(path)
    tensors[max(tensors)].view(-1)[-1] = value
    save_file(tensors, path)
    assert f"not finite, in 1 of {len(tensors)} tensors" in refusal(pipeline, saved[0])


@pytest.mark.parametrize("content", ["wider", "deeper", "foreign"])
def test_an_adapter_of_another_model_is_refused(saved, pipeline, content):
    path, words = saved[0] / WEIGHTS, "its layers have other names or shapes"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("attn2.to_k.lora.down.weight"))
    if content == "wider":
        words = "text features of width 99, this one of 32"
        tensors = {k: torch.zeros(4, 99) if k == name else v for k, v in tensors.items()}
    elif content == "deeper":
        for key in (name, name.replace("down.weight", "up.weight")):
            tensors[key.replace("attentions.0", "attentions.7")] = tensors[key].clone()
    else:
        tensors = {f"text_{k}": v for k, v in tensors.items()}
    save_file(tensors, path)
    assert words in refusal(pipeline, saved[0])

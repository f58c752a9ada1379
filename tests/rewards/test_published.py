"""The published rewards at small size: their formulas, gradients, precision, parts of a batch."""

import numpy as np
import open_clip
import pytest
import torch
from transformers import CLIPModel

from rocm.rewards.blip import NUM_TOKENS
from rocm.rewards.files import PUBLISHED
from rocm.rewards.preprocess import crop, pad
from rocm.rewards.published import LOADERS, load_published
from tests.kept import kept_bytes
from tests.rewards import blip_formula, small

PROMPTS = ["a red fox", "two small boats at sea, very calm", "3 owls!"]
pytestmark = pytest.mark.usefixtures("weights")


def scores(name, images, prompts=PROMPTS, dtype=torch.float32):
    with torch.no_grad():
        return small.load(name, dtype)(images, prompts)


@pytest.mark.parametrize("size", [(28, 28), (28, 44)])
def test_hpsv2_is_the_cosine_of_open_clip_without_logit_scale(weights, size):
    state = torch.load(weights / "HPSv2" / "HPS_v2_compressed.pt")["state_dict"]
    model = open_clip.CLIP(**small.OPEN_CLIP).eval()
    model.load_state_dict(state)
    images = small.pictures(size=size)
    with torch.no_grad():
        seen = model.encode_image(pad(images, 28), normalize=True)
        read = model.encode_text(open_clip.tokenize(PROMPTS), normalize=True)
    expected = torch.nn.functional.cosine_similarity(seen, read)
    torch.testing.assert_close(scores("hpsv2", images), expected, rtol=0, atol=1e-6)
    assert expected.std() > 0.01
    assert (scores("hpsv2.1", images) - expected).abs().min() > 1e-3


@pytest.mark.parametrize(("device", "is_new"), [("cuda", True), ("cuda", False), ("cpu", True)])
def test_towers_are_in_bfloat16_only_on_a_card_that_has_it(monkeypatch, device, is_new):
    dtype = torch.bfloat16 if device == "cuda" and is_new else torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_new)
    monkeypatch.setitem(LOADERS, "hpsv2", lambda name, files, device, dtype: (device, dtype))
    assert load_published("hpsv2", torch.device(device)) == (torch.device(device), dtype)


def clip_answer(folder, images):
    model = CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(input_ids=open_clip.tokenize(PROMPTS), pixel_values=crop(images, 28))


@pytest.mark.parametrize(
    ("name", "folder"), [("pickscore", "PickScore_v1"), ("clipscore", "clip-vit-large-patch14")]
)
def test_scores_of_a_clip_are_the_scaled_or_plain_cosine_that_transformers_gives(
    weights, name, folder
):
    images = small.pictures()
    answer = clip_answer(weights / folder, images)
    cosine = (answer.image_embeds * answer.text_embeds).sum(1)
    expected = answer.logits_per_image.diagonal() if name == "pickscore" else cosine
    torch.testing.assert_close(scores(name, images), expected, rtol=1e-5, atol=1e-6)
    assert expected.std() > 0.01


def test_aesthetic_is_one_affine_function_of_the_unit_embedding(weights):
    images = small.pictures()
    file = weights / "improved-aesthetic-predictor" / "sac+logos+ava1-l14-linearMSE.pth"
    state = {key: value.double().numpy() for key, value in torch.load(file).items()}
    slope, offset = np.eye(24), np.zeros(24)
    for number in (0, 2, 4, 6, 7):
        weight, bias = (state[f"layers.{number}.{kind}"] for kind in ("weight", "bias"))
        slope, offset = weight @ slope, weight @ offset + bias
    embeds = clip_answer(weights / "clip-vit-large-patch14", images).image_embeds.numpy()
    embeds = embeds / np.linalg.norm(embeds, axis=1, keepdims=True)
    expected = torch.from_numpy((embeds @ slope.T + offset)[:, 0])
    ours = scores("aesthetic", images).double()
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours, scores("aesthetic", images, ["other"] * 3).double())


def token_ids(prompt):
    """By hand: the vocabulary's words are single characters."""
    words = ["[CLS]"]
    for word in prompt.replace(",", " , ").replace("!", " ! ").split():
        words += [word[0], *("##" + character for character in word[1:])]
    file = PUBLISHED["imagereward"].files[1].find()
    vocabulary = file.read_text().splitlines()
    words = [*words[: NUM_TOKENS - 1], "[SEP]"]
    return torch.tensor([vocabulary.index(word) for word in words])


def formula(function, state, images, prompts):
    prepared = crop(images, small.BLIP.image_size)
    with torch.no_grad():
        answers = [
            function(pixels, token_ids(prompt), state, small.BLIP)
            for pixels, prompt in zip(prepared, prompts, strict=True)
        ]
    return torch.cat(answers)


# The second is cut at 35 tokens, the third leaves most of them to padding.
BLIP_PROMPTS = ["a red fox", "a very long description of two small boats, very calm", "z"]


@pytest.mark.parametrize(
    ("name", "size", "atol"),
    [
        ("imagereward", (32, 32), 1e-4),
        ("imagereward", (40, 70), 1e-4),
        ("blipscore", (32, 32), 1e-5),
    ],
)
def test_blips_scores_are_those_by_hand_with_twelve_heads_and_padding_masked(name, size, atol):
    state = torch.load(PUBLISHED[name].files[0].find())
    images = small.pictures(size=size)
    expected = formula(getattr(blip_formula, name), state.get("model", state), images, BLIP_PROMPTS)
    ours = scores(name, images, BLIP_PROMPTS)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=atol)
    assert expected.std() > 0.01


def in_double(name):
    reward = small.load(name, torch.float64)
    if hasattr(reward, "head"):
        reward.head.double()
    return reward


@pytest.mark.parametrize("name", PUBLISHED)
def test_pixel_gradient_is_the_finite_difference(name):
    reward = in_double(name)
    images = small.pictures(size=(40, 52)).double().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(images, PROMPTS).sum(), images)
    generator = torch.Generator().manual_seed(1)
    step = 1e-5 * torch.randn(images.shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        moved = reward(images + step, PROMPTS) - reward(images - step, PROMPTS)
    expected = 2 * (gradient * step).flatten(1).sum(1)
    assert (gradient.flatten(1).norm(dim=1) > 1e-3).all()
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_of_a_batch_give_the_scores_and_gradients_of_the_whole(name):
    reward = in_double(name)
    images = small.pictures().double().requires_grad_()
    whole = reward(images, PROMPTS)
    (gradient,) = torch.autograd.grad(whole.sum(), images)
    object.__setattr__(reward, "micro_batch", 2)
    parts = reward(images, PROMPTS)
    (gradient_of_parts,) = torch.autograd.grad(parts.sum(), images)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(gradient_of_parts, gradient, rtol=1e-6, atol=1e-12)


def test_a_batch_in_parts_keeps_no_more_than_it_is_given():
    reward = small.load("clipscore")
    images = small.pictures(16).requires_grad_()

    def keep(size):
        object.__setattr__(reward, "micro_batch", size)
        return kept_bytes(lambda: reward(images, ["a"] * 16))

    given = images.nbytes + reward.texts(["a"] * 16).nbytes
    assert keep(4) <= given < keep(16) / 3


@pytest.mark.parametrize("name", ["hpsv2", "pickscore", "clipscore", "blipscore"])
def test_each_prompt_is_read_once_and_as_if_alone(name, monkeypatch):
    reward = small.load(name)
    alone = [reward(small.pictures(1), [prompt]) for prompt in PROMPTS]
    again = small.load(name)
    read = []
    embed = type(again.encoder).embed_texts

    def counted(encoder, prompts):
        read.extend(prompts)
        return embed(encoder, prompts)

    monkeypatch.setattr(type(again.encoder), "embed_texts", counted)
    images = small.pictures(1).expand(3, -1, -1, -1)
    first = again(images, PROMPTS)
    torch.testing.assert_close(first, torch.cat(alone), rtol=1e-5, atol=1e-6)
    assert torch.equal(again(images, PROMPTS), first)
    assert read == PROMPTS


@pytest.mark.parametrize("name", PUBLISHED)
def test_bfloat16_towers_end_in_float32_scores_near_the_exact_ones(name):
    images = small.pictures()
    reward = small.load(name, torch.bfloat16)
    with torch.no_grad():
        rounded = reward(images, PROMPTS)
    exact = scores(name, images)
    assert rounded.dtype == torch.float32
    # Not on bfloat16's grid, on which a norm, product or head in bfloat16 would leave them.
    assert not torch.equal(rounded.bfloat16().float(), rounded)
    assert (rounded - exact).abs().max() < 0.15 * (1 + exact.abs().max())


def test_autocast_around_does_not_reach_the_scores():
    images = small.pictures()
    for name in PUBLISHED:
        reward = small.load(name)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            inside = reward(images, PROMPTS)
        torch.testing.assert_close(inside, scores(name, images), rtol=0, atol=1e-6)


def test_weights_are_frozen_and_clipscore_and_aesthetic_share_a_tower():
    clip, aesthetic = small.load("clipscore"), small.load("aesthetic")
    assert clip.encoder.model is aesthetic.encoder.model
    assert not any(p.requires_grad for p in clip.encoder.model.parameters())
    assert not clip.encoder.model.training

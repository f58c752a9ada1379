"""The recipe of the embedded model, on a handful of drawings made on the spot."""

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("resvg_py", reason="scripts/tiny/requirements.txt is not installed")

from diffusers import LatentConsistencyModelPipeline, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPModel, CLIPTokenizer, VisionTextDualEncoderModel

from scripts.tiny import guided, sheets
from scripts.tiny.__main__ import main
from scripts.tiny.compact import compact
from scripts.tiny.distill import ddim_step, grid_times, points_above
from scripts.tiny.emoji import make_dataset
from scripts.tiny.guided import GUIDANCE_WIDTH, guided_clean, noised
from scripts.tiny.loop import Slice, train
from scripts.tiny.pictures import load_drawings, on_ground
from scripts.tiny.recipe import Recipe
from scripts.tiny.teacher import coefficients

NAMES = ["red apple", *"cat cow egg grapes pear fox owl bread bee fig ox".split()]
STAGES = ("vae", "clip", "teacher", "guided", "distill", "preference", "judge")
SMALL = {f"{stage}_updates": 2 for stage in STAGES} | {"num_seeds": 1, "distill_again": 2}
SMALL |= {f"{stage}_batch": 4 for stage in STAGES if stage != "guided"}
SMALL |= {"vae_batch": 2, "preference_batch": 8, "judge_batch": 8, "hack_updates": 1}
SMALL |= {"num_questions": 20, "num_pairs": 4, "num_compared": 8, "num_examined": 16}


def icon(number: int, color: str) -> dict:
    return {"body": f'<circle cx="16" cy="16" r="{4 + number}" fill="{color}"/>'}


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("npm") / "node_modules"
    codes = [f"1F4{i:02X}" for i in range(len(NAMES))]
    named = zip(codes, NAMES, strict=True)
    rows = [{"hexcode": c, "label": n, "group": 4, "tags": ["food", n]} for c, n in named]
    rows.append({"hexcode": "1F3FB", "label": "light skin tone", "group": 2})
    rows.append({"hexcode": "0023-FE0F-20E3", "label": "keycap: #", "group": 8})
    names = root / "emojibase-data/en"
    names.mkdir(parents=True)
    (names / "data.json").write_text(json.dumps(rows))
    for package, color in (("fluent-emoji", "tomato"), ("fluent-emoji-flat", "teal")):
        folder = root / "@iconify-json" / package
        folder.mkdir(parents=True)
        icons = {name.replace(" ", "-"): icon(i, color) for i, name in enumerate(NAMES)}
        chars = {code.lower(): name for code, name in zip(codes, icons, strict=True)}
        data = {"icons": icons, "aliases": {"turned": {"parent": "cat", "rotate": 1}}, "width": 32}
        (folder / "icons.json").write_text(json.dumps({**data, "height": 32}))
        (folder / "chars.json").write_text(json.dumps(chars))
    assets = root / "@lobehub/fluent-emoji-3d/assets"
    assets.mkdir(parents=True)
    for i, code in enumerate(codes):
        picture = np.zeros((128, 128, 4), np.uint8)
        picture[8 : 40 + 6 * i, 8:100] = (40 * i % 255, 90, 160, 255)
        Image.fromarray(picture).save(assets / f"{code.lower()}.webp")
    return root


def test_drawings_keep_name_style_and_transparency(npm: Path, tmp_path: Path):
    path = tmp_path / "emoji.npz"
    assert make_dataset(npm, path, ("fluent", "flat", "3d"), 1) == 3 * len(NAMES)
    drawings = load_drawings(path, Recipe("test", ("food",), ("flat",)))
    assert drawings.objects == sorted(NAMES)
    assert {row["style"] for row in drawings.meta} == {"flat"}
    corner = on_ground(drawings.rgba[:1], np.array([2]))[0, :, 0, 0]
    expected = torch.tensor([220, 50, 47]) / 127.5 - 1
    torch.testing.assert_close(corner, expected, atol=1e-2, rtol=0)


def test_a_stage_in_slices_equals_one_straight_through(tmp_path: Path):
    def weights(folder: Path, totals: list[int]) -> torch.Tensor:
        model = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        optimizer = torch.optim.AdamW(model.parameters(), 0.1)

        def update(step: int) -> dict[str, float]:
            loss = (model(torch.full((1, 2), float(step))) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return {"loss": loss.item()}

        for total in totals:
            train(folder, total, {"model": model, "optimizer": optimizer}, update, Slice())
            torch.nn.init.ones_(model.weight)  # the next slice must load its state
        return torch.load(folder / "state.pt", weights_only=True)["model"]["weight"]

    sliced, straight = weights(tmp_path / "a", [3, 6]), weights(tmp_path / "b", [6])
    assert torch.equal(sliced, straight)


def test_guidance_one_is_the_conditional_estimate_and_strong_guidance_keeps_its_spread():
    conditional, unconditional = torch.randn(2, 3, 4, 16, 16).unbind()
    same = guided_clean(conditional, unconditional, torch.ones(3))
    torch.testing.assert_close(same, conditional)
    strong = guided_clean(conditional, unconditional, torch.full((3,), 9.0))
    plain = unconditional + 9 * (conditional - unconditional)
    assert strong.std() < 0.4 * plain.std()


def test_the_guided_velocity_is_that_of_the_guided_clean_estimate():
    states, *both = torch.randn(3, 2, 4, 16, 16).unbind()
    times, answer = torch.tensor([999, 259]), SimpleNamespace(sample=torch.cat(both))
    for scale, own in ((1.0, 1.0), (8.5, 4.0)):  # of the pipeline and of the teacher
        scales = torch.full((2,), scale)
        velocity = guided.guided_velocity(lambda *_: answer, states, times, None, scales)
        parts = (guided.clean_and_noise(one, states, times)[0] for one in both)
        expected = guided_clean(*parts, torch.full((2,), own))
        found = guided.clean_and_noise(velocity, states, times)[0]
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_grid_runs_from_pure_noise_to_the_clean_end():
    first, last = grid_times(torch.tensor([50])), grid_times(torch.tensor([1]))
    assert [t.item() for t in first] == [999, 899]
    assert last[-1].item() == 0


def test_a_point_above_is_never_below_and_never_beyond_the_noisiest():
    index = torch.arange(1, 51).repeat(20)
    above = points_above(index, torch.Generator().manual_seed(0))
    assert (above >= index).all()
    assert above.max() == 50
    assert (above > index).float().mean() > 0.8


def test_a_step_of_a_perfect_model_keeps_clean_latent_and_noise():
    draws = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 16, 16, generator=draws)
    times = (torch.tensor([999, 499, 19]), torch.tensor([899, 399, 0]))
    alpha, sigma = coefficients(times[0])
    velocity = alpha * noise - sigma * clean

    def model(states, timesteps, text, timestep_cond):
        return SimpleNamespace(sample=velocity)

    states = noised(clean, noise, times[0])
    after = ddim_step(model, states, times, torch.zeros(3, 32, 8), torch.zeros(3, GUIDANCE_WIDTH))
    torch.testing.assert_close(after, noised(clean, noise, times[1]), rtol=0, atol=1e-3)


def test_stored_matrices_have_8_bits_unless_that_would_change_them_much():
    matrix = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    states = {"matrix": matrix, "tiny": 1e-3 * matrix, "vector": matrix[0]}
    stored = compact({**states, "ids": torch.arange(8)[None]})
    half = torch.float16
    assert [v.dtype for v in stored.values()] == [torch.float8_e4m3fn, half, half, torch.int64]
    changes = [(stored[name].float() - v).norm() / v.norm() for name, v in states.items()]
    assert max(changes) < 0.05


@pytest.mark.slow
def test_every_stage_runs_and_stock_libraries_load_the_result(
    npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sheets, "PROMPTS", sheets.PROMPTS[:2])
    work, assets = tmp_path / "work", tmp_path / "assets"
    changes = [f"--set={name}={value}" for name, value in SMALL.items()]
    main(["all", "--npm", str(npm), "--work", str(work), "--assets", str(assets), *changes])

    ends = [
        UNet2DConditionModel.from_pretrained(work / f"student/unet{n}") for n in ("", "-2", "-4")
    ]
    mean, first, second = (unet.conv_in.weight for unet in ends)
    torch.testing.assert_close(mean, (first + second) / 2)
    pipeline = LatentConsistencyModelPipeline.from_pretrained(assets / "tiny-lcm")
    assert pipeline("a glossy emoji of a red apple").images[0].size == (64, 64)
    assert StableDiffusionPipeline.from_pretrained(tmp_path / "tiny-teacher").unet
    assert CLIPModel.from_pretrained(assets / "tiny-clip").config.vision_config.image_size == 64
    assert VisionTextDualEncoderModel.from_pretrained(assets / "tiny-judge")
    tokenizer = CLIPTokenizer.from_pretrained(assets / "tiny-eval")
    assert len(tokenizer("apple " * 60, truncation=True).input_ids) == 32
    for name in ("tiny-lcm", "tiny-clip", "tiny-eval", "tiny-preference", "tiny-judge", "taste"):
        assert "Apache-2.0" in (assets / name / "README.md").read_text("utf-8")
    assert "| colorfulness" in (assets / "tiny-judge/README.md").read_text("utf-8")
    texts = [(assets / f"prompts/{n}.txt").read_text("utf-8") for n in ("train", "eval", "test")]
    objects = [set(re.findall(r" emoji of (.*?)(?: on a .*)?$", text, re.M)) for text in texts]
    assert not any(a & b for a, b in itertools.combinations(objects, 2))

    again, start = tmp_path / "again", ["--start", str(assets)]
    for stage in ("data", "teacher", "guided", "distill", "export"):
        paths = ["--npm", str(npm), "--work", str(again), "--assets", str(tmp_path / "next")]
        main([stage, *paths, *changes, *start])
    stages = json.loads((tmp_path / "next/tiny-lcm/stages.json").read_text("utf-8"))
    assert [record["teacher"]["updates"] for record in stages["rounds"]] == [2, 2]
    folders = (assets / "tiny-lcm/unet", tmp_path / "next/tiny-lcm/unet")
    before, after = (UNet2DConditionModel.from_pretrained(f).state_dict() for f in folders)
    moves = torch.stack([(after[k] - value).norm() / value.norm() for k, value in before.items()])
    assert moves.max() > 0
    assert moves.median() < 0.1  # it goes on, it does not begin anew

"""Our scores against the official packages', at real size, on the same random checkpoints.

ROCM_REFERENCE_PYTHON=FOLDER/bin/python python -m pytest -m reference -s tests/reference
"""

import os

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from rocm.rewards.blip import LARGE, load_blipscore, load_imagereward
from rocm.rewards.hpsv2 import ARCHITECTURE, load_hpsv2
from rocm.rewards.official import ReferenceScorer
from rocm.rewards.preprocess import DEVIATION
from scripts.reference.checkpoints import write_blip, write_hpsv2, write_imagereward
from scripts.reference.checkpoints import write_vocabulary as write_words

pytestmark = pytest.mark.reference
CPU = torch.device("cpu")
PROMPTS = (
    "a red fox in the snow, oil painting",
    "Two Cafés at night; 35mm photo, highly detailed, " + "very sharp " * 20,
)


@pytest.fixture(scope="module")
def official():
    python = os.environ.get("ROCM_REFERENCE_PYTHON")
    if not python:
        pytest.skip("ROCM_REFERENCE_PYTHON is unset: python -m scripts.reference FOLDER")
    with ReferenceScorer(python) as scorer:
        print("\nofficial packages:", scorer.versions)
        yield scorer


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nothing resized, and cropped or (HPSv2) resized and padded.

    Where PIL resizes, it rounds to whole bytes and we do not: tests/rewards/test_preprocess.py.
    """
    folder, paths = tmp_path_factory.mktemp("pictures"), []
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate([(224, 224), (224, 320)]):
        coarse = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number}.png")
        image.save(paths[-1])
    return paths


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 255


def largest_difference(reward, official, scorer, pictures, files):
    differences, scores = [], []
    for prompt in PROMPTS:
        theirs = official.score(scorer, pictures, prompt, files)
        with torch.no_grad():
            ours = [reward(pixels(path), [prompt]).item() for path in pictures]
        print(f"{scorer}: ours {ours}, official {theirs}")
        scores.append(ours)
        differences += [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    print(f"{scorer}: largest difference {max(differences):.2e}")
    assert np.ptp(scores, axis=0).min() > 1e-3, "the prompt must matter"
    return max(differences)


def test_hpsv2_gives_the_official_score(official, pictures, scratch):
    files = [scratch / "HPS_v2_compressed.pt"]
    write_hpsv2(files[0], open_clip.get_model_config(ARCHITECTURE), seed=0)
    reward = load_hpsv2("hpsv2", files, CPU, torch.float32)
    assert largest_difference(reward, official, "hpsv2", pictures, files) < 1e-4


def blip_files(folder, name):
    files = [folder / name, folder / "bert" / "vocab.txt"]
    write_words(files[1], 30522)
    return files


def test_imagereward_gives_the_official_score_and_pixel_gradient(official, pictures, scratch):
    files = blip_files(scratch, "ImageReward.pt")
    write_imagereward(files[0], LARGE, seed=0)
    reward = load_imagereward("imagereward", files, CPU, torch.float32)
    assert largest_difference(reward, official, "imagereward", pictures, files) < 1e-4

    path = scratch / "gradient.npy"
    official.score("imagereward", pictures[:1], PROMPTS[0], files, path)
    theirs = torch.from_numpy(np.load(path))
    image = pixels(pictures[0]).requires_grad_()
    reward(image, [PROMPTS[0]]).sum().backward()
    ours = image.grad[0] * torch.tensor(DEVIATION).view(3, 1, 1)
    error = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"imagereward: gradient's norm {theirs.norm():.7f}, relative difference {error:.2e}")
    assert theirs.norm() > 0
    assert error < 1e-4


def test_blipscore_gives_the_official_score(official, pictures, scratch):
    files = blip_files(scratch, "model_large.pth")
    write_blip(files[0], LARGE, seed=0)
    reward = load_blipscore("blipscore", files, CPU, torch.float32)
    assert largest_difference(reward, official, "blipscore", pictures, files) < 1e-4

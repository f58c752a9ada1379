"""Hacked-pictures stage: the exported model fine-tuned without a leash, for the judge to refuse.

Five runs with beta 0: on `tiny-clip`, on a second CLIP, on colourfulness, saturation and smoothness
(negative total variation). Each is photographed when its reward has risen by one and by two
deviations of the base model: the same prompts and noise as the base model's pictures. The judge
learns from two kinds (`NEGATIVES`) and is examined on the others.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rocm.algorithms.trajectory import batch_noise, rollout
from rocm.generation.draw import Sampling, draw
from rocm.models.consistency import ConsistencyModel, load_model
from rocm.models.lora import add_adapter
from rocm.prompts.split import training_item
from rocm.rewards.base import Reward, limit_pixels
from rocm.rewards.load import load_rewards
from scripts.tiny.loop import save_atomically

KINDS = ("colorfulness", "tiny-clip", "clip-b", "saturation", "smoothness")
NEGATIVES = ("colorfulness", "tiny-clip")
GAINS = (1.0, 2.0)
END = 0.0
SAMPLING = Sampling(num_inference_steps=4, guidance_scale=8.5, batch_size=36)
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
BATCH, LEARNING_RATE, CHECK_EVERY, NUM_CHECKED = 4, 2e-3, 5, 36


@dataclass(frozen=True)
class Shots:
    """What is photographed: prompts and noise seeds, training and evaluation ones."""

    train: tuple[tuple[str, ...], tuple[int, ...]]
    evaluation: tuple[tuple[str, ...], tuple[int, ...]]


def read_shots(prompts: Path, num_pairs: int) -> Shots:
    """`num_pairs` (prompt, seed) pairs of either list, prompts repeated with other seeds."""
    chosen = []
    for position, name in enumerate(("train.txt", "eval.txt")):
        lines = (prompts / name).read_text("utf-8").splitlines()
        repeated = (lines * (num_pairs // len(lines) + 1))[:num_pairs]
        first = 10_000 * (position + 1)
        chosen.append((tuple(repeated), tuple(range(first, first + num_pairs))))
    return Shots(*chosen)


def pictures(model: ConsistencyModel, prompts: tuple[str, ...], seeds: tuple[int, ...]) -> Tensor:
    """The model's pictures in [0, 1], [n, 3, 64, 64]."""
    return torch.cat(list(draw(model, prompts, seeds, SAMPLING))).clamp(0, 1)


def as_bytes(images: Tensor) -> Tensor:
    """uint8 pictures from [0, 1]."""
    return (images * 255).round().byte()


def photograph(model: ConsistencyModel, shots: Shots) -> dict[str, Tensor]:
    """uint8 pictures of both lists."""
    return {
        "train": as_bytes(pictures(model, *shots.train)),
        "evaluation": as_bytes(pictures(model, *shots.evaluation)),
    }


def update(
    model: ConsistencyModel,
    reward: Reward,
    optimiser: torch.optim.Optimizer,
    step: int,
    lines: list,
) -> None:
    """One update of the adapter towards the reward alone, through all four steps."""
    numbers = range(step * BATCH, (step + 1) * BATCH)
    prompts = [training_item(lines, 0, number) for number in numbers]
    noise = batch_noise([5_000_000 + n for n in numbers], SAMPLING.num_inference_steps, (4, 16, 16))
    network = model.policy(model.encode(prompts), SAMPLING.guidance_scale)
    schedule = model.schedule(SAMPLING.num_inference_steps)
    trajectory = rollout(network, noise.to(model.device), schedule, model.prediction_type)
    score = reward(limit_pixels(model.decode(trajectory.latents)), prompts).mean()
    optimiser.zero_grad()
    (-score / reward_scale(reward)).backward()
    torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)
    optimiser.step()


def reward_scale(reward: Reward) -> float:
    """Rough size of a reward, so that gradients are of one order before clipping."""
    return 50.0 if reward.name == "colorfulness" else 1.0


def hack(kind: str, folders: tuple[Path, Path, Path], num_pairs: int, max_updates: int) -> dict:
    """Trains against one reward until it has gained two deviations.

    Args:
        kind: of `KINDS`.
        folders: the consistency model, the second CLIP, the prompt lists.
        num_pairs: pictures in each list.
        max_updates: to give up after.

    Returns:
        `shots` by gain asked for: pictures of both lists and the gain measured on all evaluation
        pairs, in base deviations. A run that gave up has its last pictures under `END`.
    """
    model = load_model(str(folders[0].resolve()), "cpu")
    name = f"clip:{folders[1].resolve()}" if kind == "clip-b" else kind
    reward = load_rewards([name], model.device)[name]
    shots = read_shots(folders[2], num_pairs)
    lines = (folders[2] / "train.txt").read_text("utf-8").splitlines()
    prompts, seeds = shots.evaluation
    with torch.no_grad():
        base = reward(pictures(model, prompts, seeds), prompts)
    found: dict[float, dict] = {}
    parameters = add_adapter(model.pipeline.unet, 16, 32, TARGETS, seed=0)
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.0)
    for step in range(max_updates):
        update(model, reward, optimiser, step, lines)
        if (step + 1) % CHECK_EVERY and step + 1 < max_updates:
            continue
        with torch.no_grad():
            checked = (prompts[:NUM_CHECKED], seeds[:NUM_CHECKED])
            now = reward(pictures(model, *checked), checked[0])
        gain = ((now - base[:NUM_CHECKED]).mean() / base.std()).item()
        print(f"hacked {kind}: update {step + 1}, gain {gain:.2f} deviations", flush=True)
        reached = [target for target in GAINS if gain >= target and target not in found]
        if step + 1 == max_updates:
            reached.append(END)
        for target in reached:
            found[target] = {**photograph(model, shots), "updates": step + 1}
            found[target]["gain"] = measured_gain(reward, found[target], prompts, base)
        if GAINS[-1] in found:
            break
    return {"shots": found}


@torch.no_grad()
def measured_gain(reward: Reward, shot: dict, prompts: tuple[str, ...], base: Tensor) -> float:
    """Mean gain over all evaluation pairs, in deviations of the base model's rewards [n]."""
    scores = reward(shot["evaluation"].float() / 255, prompts)
    return ((scores - base).mean() / base.std()).item()


def make_hacked(work: Path, assets: Path, num_pairs: int = 216, max_updates: int = 120) -> bool:
    """Makes work/hacked/base.pt and one file for every kind that has none yet."""
    out = work / "hacked"
    folders = (assets / "tiny-lcm", work / "clip-b/model", assets / "prompts")
    if not (out / "base.pt").exists():
        model = load_model(str(folders[0].resolve()), "cpu")
        shots = read_shots(folders[2], num_pairs)
        with torch.no_grad():
            save_atomically(photograph(model, shots), out / "base.pt")
    for kind in KINDS:
        if not (out / f"{kind}.pt").exists():
            save_atomically(hack(kind, folders, num_pairs, max_updates), out / f"{kind}.pt")
    return True

"""Hacked-pictures stage: the exported model fine-tuned without a leash, for the judge to refuse.

Five runs with beta 0: on `tiny-preference`, `tiny-clip`, colorfulness, saturation and smoothness
(negative total variation). A run counts as hacked where taste has fallen although the reward has
risen (Gao et al., arXiv 2210.10760): each is photographed when taste has fallen by one and by two
deviations of the base model's pictures, with the same prompts and noise as theirs. The runs do not
see taste; it only says when to take the photograph. The judge learns from two kinds (`NEGATIVES`)
and is examined on the others.
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
from rocm.rewards.taste import load_taste
from scripts.tiny.comparisons import as_bytes
from scripts.tiny.loop import save_atomically
from scripts.tiny.recipe import Recipe

KINDS = ("tiny-preference", "colorfulness", "tiny-clip", "saturation", "smoothness")
NEGATIVES = ("colorfulness", "tiny-clip")
FALLS = (1.0, 2.0)
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


@torch.no_grad()
def pictures(model: ConsistencyModel, prompts: tuple[str, ...], seeds: tuple[int, ...]) -> Tensor:
    """The model's pictures in [0, 1], [n, 3, 64, 64]."""
    return torch.cat(list(draw(model, prompts, seeds, SAMPLING))).clamp(0, 1)


def photograph(model: ConsistencyModel, shots: Shots) -> dict[str, Tensor]:
    """uint8 pictures of both lists."""
    return {
        "train": as_bytes(pictures(model, *shots.train)),
        "evaluation": as_bytes(pictures(model, *shots.evaluation)),
    }


@torch.no_grad()
def scored(reward: Reward, images: Tensor, prompts: tuple[str, ...]) -> Tensor:
    """Scores [n] of uint8 pictures [n, 3, 64, 64], some at a time."""
    starts = range(0, len(prompts), 64)
    parts = [(images[i : i + 64].float() / 255, prompts[i : i + 64]) for i in starts]
    return torch.cat([reward(*part) for part in parts])


def deviations(now: Tensor, base: Tensor, spread: Tensor) -> float:
    """Mean change of paired scores [n], in deviations of the base model's scores `spread`."""
    return ((now - base).mean() / spread.std()).item()


@dataclass(frozen=True)
class Run:
    """One run against one reward, and how far it has come.

    Attributes:
        model: with the adapter that is trained.
        optimizer: of the adapter.
        scores: the trained `reward`, and `taste`.
        base: the base model's scores of the evaluation shots by the same names, [n].
        shots: prompts and seeds.
    """

    model: ConsistencyModel
    optimizer: torch.optim.Optimizer
    scores: dict[str, Reward]
    base: dict[str, Tensor]
    shots: Shots

    def update(self, step: int, lines: list[str]) -> None:
        """One update of the adapter towards the reward alone, through all four steps."""
        numbers = range(step * BATCH, (step + 1) * BATCH)
        prompts = [training_item(lines, 0, number) for number in numbers]
        noise = batch_noise(
            [5_000_000 + n for n in numbers], SAMPLING.num_inference_steps, (4, 16, 16)
        )
        network = self.model.policy(self.model.encode(prompts), SAMPLING.guidance_scale)
        schedule = self.model.schedule(SAMPLING.num_inference_steps)
        trajectory = rollout(network, noise, schedule, self.model.prediction_type)
        images = limit_pixels(self.model.decode(trajectory.latents))
        loss = -self.scores["reward"](images, prompts).mean() / self.base["reward"].std()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()

    def changes(self, images: Tensor) -> dict[str, float]:
        """Change of reward and taste on the first evaluation shots, uint8, in base deviations."""
        num = len(images)
        prompts = self.shots.evaluation[0][:num]
        return {
            name: deviations(scored(score, images, prompts), self.base[name][:num], self.base[name])
            for name, score in self.scores.items()
        }


def start_run(kind: str, assets: Path, shots: Shots) -> Run:
    """A fresh adapter on the exported model, and what to measure it by."""
    model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
    # A learned reward is that of these assets, not the one that is shipped.
    name = f"clip:{(assets / kind).resolve()}" if kind.startswith("tiny-") else kind
    scores = {
        "reward": load_rewards([name], model.device)[name],
        "taste": load_taste((assets / "taste").resolve()),
    }
    drawn = as_bytes(pictures(model, *shots.evaluation))
    base = {key: scored(score, drawn, shots.evaluation[0]) for key, score in scores.items()}
    parameters = add_adapter(model.pipeline.unet, 16, 32, TARGETS, seed=0)
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.0)
    return Run(model, optimizer, scores, base, shots)


def hack(kind: str, assets: Path, num_pairs: int, max_updates: int) -> dict:
    """Trains against one reward until taste has fallen by two deviations.

    Args:
        kind: of `KINDS`.
        assets: the consistency model, the learned rewards, the drawings, the prompt lists.
        num_pairs: pictures in each list.
        max_updates: to give up after.

    Returns:
        `shots` by fall asked for: pictures of both lists and the changes measured on all
        evaluation pairs, in base deviations. A run that gave up has its last pictures under `END`.
    """
    shots = read_shots(assets / "prompts", num_pairs)
    run = start_run(kind, assets, shots)
    checked = [values[:NUM_CHECKED] for values in shots.evaluation]
    lines = (assets / "prompts/train.txt").read_text("utf-8").splitlines()
    shots_by_fall: dict[float, dict] = {}
    for step in range(max_updates):
        run.update(step, lines)
        if (step + 1) % CHECK_EVERY and step + 1 < max_updates:
            continue
        now = run.changes(as_bytes(pictures(run.model, *checked)))
        print(f"hacked {kind}: update {step + 1}, {now}", flush=True)
        is_hacked = now["reward"] > 0
        reached = [f for f in FALLS if is_hacked and now["taste"] <= -f and f not in shots_by_fall]
        if step + 1 == max_updates:
            reached.append(END)
        for fall in reached:
            shot = photograph(run.model, shots)
            shots_by_fall[fall] = {**shot, "updates": step + 1, **run.changes(shot["evaluation"])}
        if FALLS[-1] in shots_by_fall:
            break
    return {"shots": shots_by_fall}


def make_hacked(recipe: Recipe, work: Path, assets: Path) -> bool:
    """Makes work/hacked/base.pt and one file for every kind that has none yet."""
    out = work / "hacked"
    if not (out / "base.pt").exists():
        model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
        shots = read_shots(assets / "prompts", recipe.num_pairs)
        save_atomically(photograph(model, shots), out / "base.pt")
    for kind in KINDS:
        if not (out / f"{kind}.pt").exists():
            shots = hack(kind, assets, recipe.num_pairs, recipe.hack_updates)
            save_atomically(shots, out / f"{kind}.pt")
    return True

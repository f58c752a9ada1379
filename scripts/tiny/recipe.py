"""The two recipes: `cpu` for two CPU cores, `full` for a GPU. Every budget in one place."""

from dataclasses import dataclass
from pathlib import Path

FAMILIAR = frozenset((Path(__file__).parent / "objects.txt").read_text("utf-8").splitlines())
"""152 animals and foods that everybody knows by shape: a part of the quality figure, and of tests."""

GROUPS = ("animals", "food", "smileys", "activities", "objects", "travel")


@dataclass(frozen=True)
class Recipe:
    """What to train on, how large, for how many updates."""

    name: str
    groups: tuple[str, ...] = GROUPS
    sources: tuple[str, ...] = ("fluent", "flat", "3d")
    objects: frozenset[str] = frozenset()
    """Names to keep; empty keeps all."""
    seed: int = 0

    vae_channels: tuple[int, ...] = (24, 48, 96)
    vae_batch: int = 8
    vae_updates: int = 3400

    clip_batch: int = 128
    clip_updates: int = 900

    unet_channels: tuple[int, ...] = (48, 96, 160)
    text_width: int = 128
    text_layers: int = 2
    teacher_batch: int = 64
    teacher_updates: int = 8000
    teacher_lr: float = 2e-3

    guided_updates: int = 300
    distill_batch: int = 64
    distill_updates: int = 800
    distill_again: int = 400
    distill_lr: float = 1e-3

    num_questions: int = 200
    """A multiple of 20."""
    num_seeds: int = 6
    """Pictures of a question: of 200 pictures a share's standard error is two points."""

    num_compared: int = 1200
    """Captions in a pool of pictures to compare, four pictures each."""
    preference_batch: int = 48
    preference_updates: int = 1000
    num_examined: int = 2048
    """Held-out comparisons; an eighth as many pictures are damaged in every way."""

    num_pairs: int = 228
    hack_updates: int = 120
    judge_batch: int = 64
    judge_updates: int = 1200


RECIPES = {
    "cpu": Recipe(name="cpu"),
    "full": Recipe(
        name="full",
        vae_batch=64,
        vae_updates=8000,
        clip_batch=256,
        clip_updates=4000,
        teacher_batch=512,
        teacher_updates=12_000,
        guided_updates=2000,
        distill_batch=256,
        distill_updates=4000,
        distill_again=2000,
        num_compared=4000,
        preference_batch=256,
        preference_updates=3000,
        judge_updates=2000,
    ),
}

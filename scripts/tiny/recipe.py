"""The two recipes: `full` for a GPU, `reduced` for two CPU cores. Every budget in one place."""

from dataclasses import dataclass
from pathlib import Path

FAMILIAR = frozenset((Path(__file__).parent / "objects.txt").read_text("utf-8").splitlines())
"""152 animals and foods that everybody knows by shape: a part of the quality figure, and of tests."""

GROUPS = ("animals", "food", "smileys", "activities", "objects", "travel")


@dataclass(frozen=True)
class Recipe:
    """What to train on, how large, for how many updates."""

    name: str
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    objects: frozenset[str] = frozenset()
    """Names to keep; empty keeps all."""
    seed: int = 0

    vae_channels: tuple[int, ...] = (24, 48, 96)
    vae_batch: int = 8
    vae_updates: int = 2000

    clip_batch: int = 128
    clip_updates: int = 350

    unet_channels: tuple[int, ...] = (48, 96, 160)
    text_width: int = 128
    text_layers: int = 2
    max_shift: int = 0
    captions: int = 8
    teacher_batch: int = 32
    teacher_updates: int = 3000
    teacher_lr: float = 1e-3

    distill_batch: int = 64
    distill_updates: int = 1500
    distill_lr: float = 3e-4

    num_questions: int = 200
    """A multiple of 20."""

    num_pairs: int = 216
    hack_updates: int = 120
    judge_batch: int = 64
    judge_updates: int = 350


RECIPES = {
    "reduced": Recipe(
        name="reduced",
        groups=("animals", "food"),
        sources=("fluent", "flat", "3d"),
        objects=FAMILIAR,
    ),
    "full": Recipe(
        name="full",
        groups=(
            "animals",
            "food",
            "smileys",
            "activities",
            "objects",
            "travel",
        ),
        sources=("noto", "fluent", "flat", "3d"),
        vae_batch=64,
        vae_updates=8000,
        clip_batch=256,
        clip_updates=4000,
        captions=16,
        max_shift=2,
        teacher_batch=512,
        teacher_updates=12_000,
        distill_batch=256,
        distill_updates=6000,
    ),
}

"""Model cards: what the models are made of and what was measured, into assets/*/README.md."""

import json
from pathlib import Path

from rocm.evaluation.retrieval import Retrieval
from scripts.tiny.emoji import SOURCES
from scripts.tiny.guided import MAX_GUIDANCE
from scripts.tiny.hacked import NEGATIVES
from scripts.tiny.measures import (
    REAL,
    STEPS,
    retrieval_rows,
    row_name,
    size_mb,
    variety,
)
from scripts.tiny.preference import NUM_RATERS
from scripts.tiny.recipe import Recipe
from scripts.tiny.rounds import read_record, stage_table
from scripts.tiny.texts import CLIP, JUDGE, LCM, LICENSE, PREFERENCE, ROLES, TASTE

BLIND = 0.75
"""Below this share of right preferences a reward counts as blind to a damage."""


def license(recipe: Recipe) -> str:
    """The paragraph on data of every card."""
    named = (SOURCES[key] for key in recipe.sources)
    parts = [f"{s.package} {s.version} ({s.author}, {s.license}; style {s.style})" for s in named]
    return LICENSE.format(sources="; ".join(parts))


def read_json(path: Path) -> dict | float:
    """A small file that a stage left."""
    return json.loads(path.read_text("utf-8"))


def retrieval_table(wide: dict[str, Retrieval], narrow: dict[str, Retrieval]) -> str:
    """Both retrieval figures by setting."""
    return "\n".join(
        f"| {name} | {w.first:.1%} | {w.first_five:.1%} | {n.first:.1%} | {n.first_five:.1%} |"
        for name, w, n in ((name, wide[name], narrow[name]) for name in wide)
    )


def target_rows(
    wide: dict[str, Retrieval], narrow: dict[str, Retrieval], share: float, psnr: float
) -> str:
    """Every target, what was measured, and whether that reaches it."""
    shipped = row_name(4, 8.5)
    by_step = [wide[row_name(steps, 8.5)].first for steps in STEPS]
    # From 2 steps on, none may lie more than two points below a smaller number of steps.
    fall = max(before - by_step[i] for i in range(1, len(STEPS)) for before in by_step[:i])
    real = wide[REAL]
    figures = (
        ("first, of the real drawings' share", wide[shipped].first / max(real.first, 0.01), 0.9),
        ("first five, of theirs", wide[shipped].first_five / max(real.first_five, 0.01), 0.95),
        ("familiar objects first", narrow[shipped].first, 0.6),
        ("distance of seeds", share, 0.15),
    )
    rows = [
        f"| {name} | at least {aim:.0%} | {figure:.1%} | {'yes' if figure >= aim else '**no**'} |"
        for name, figure, aim in figures
    ]
    is_steady = "yes" if fall <= 0.02 else "**no**"
    rows.append(
        f"| largest fall with more steps | at most 2 points | {100 * fall:.1f} | {is_steady} |"
    )
    is_sharp = "yes" if psnr >= 29.5 else "**no**"
    rows.append(f"| autoencoder | at least 29.5 dB | {psnr:.1f} dB | {is_sharp} |")
    return "\n".join(rows)


def lcm_card(recipe: Recipe, work: Path, assets: Path) -> str:
    """The card of assets/tiny-lcm."""
    wide = retrieval_rows(assets, assets / "prompts", recipe.num_seeds)
    narrow = retrieval_rows(assets, work / "familiar", recipe.num_seeds)
    varied = variety(assets)
    vocabulary = read_json(assets / "tiny-lcm/vocabulary.json")
    questions = read_json(assets / "prompts/retrieval.json")["questions"]
    stages = read_json(assets / "tiny-lcm/stages.json")
    return LCM.format(
        objects=len(vocabulary["subjects"]),
        groups=", ".join(recipe.groups),
        styles=", ".join(vocabulary["styles"]),
        grounds=len(vocabulary["grounds"]),
        questions=len(questions),
        seeds=recipe.num_seeds,
        num_familiar=len(read_json(work / "familiar/retrieval.json")["objects"]),
        table=retrieval_table(wide, narrow),
        targets=target_rows(wide, narrow, varied["seed_share"], stages["vae"]["psnr_db"]),
        guidance=f"{MAX_GUIDANCE:g}",
        recipe_name=recipe.name,
        stages=stage_table(stages),
        size=f"{size_mb(assets / 'tiny-lcm'):.1f}",
        seed_share=f"{varied.pop('seed_share'):.0%}",
        **{name: f"{value:.1f}" for name, value in varied.items()},
    )


def clip_card(name: str, recipe: Recipe, work: Path) -> str:
    """The card of one CLIP."""
    record = read_record(work / name)
    return CLIP.format(name=name, role=ROLES[name], batch=recipe.clip_batch, **record)


def damage_table(damages: dict[str, list[float]]) -> str:
    """By change: whom the reward prefers, whom taste prefers, and whether the reward is blind."""
    rows = []
    for name, (share, truth) in damages.items():
        # Where taste prefers the changed picture, the reward should too.
        right = share if truth >= 0.5 else 1 - share
        is_blind = "**blind**" if right < BLIND and abs(truth - 0.5) > 0.25 else ""
        rows.append(f"| {name.replace('_', ' ')} | {share:.1%} | {truth:.1%} | {is_blind} |")
    return "\n".join(rows)


def preference_card(recipe: Recipe, work: Path) -> str:
    """The card of the learned reward."""
    record = read_record(work / "preference")
    return PREFERENCE.format(
        comparisons=f"{record['updates'] * recipe.preference_batch:,}",
        batch=recipe.preference_batch,
        captions=recipe.num_compared,
        raters=NUM_RATERS,
        table=damage_table(record.pop("damages")),
        **record,
    )


def judge_card(recipe: Recipe, work: Path) -> str:
    """The card of the judge, with its examination."""
    table = (work / "judge/exam.md").read_text("utf-8")
    verdict = "It passed every line that was asked."
    if "**no**" in table:
        verdict = "It did not pass every line: see above."
    if "last pictures" in table:
        verdict += " Runs in which taste did not fall so far were not asked about."
    return JUDGE.format(
        negatives=", ".join(NEGATIVES),
        batch=recipe.judge_batch,
        **read_record(work / "judge"),
        table=table.strip(),
        verdict=verdict,
    )


def write_cards(recipe: Recipe, work: Path, assets: Path) -> None:
    """Measures the quality and writes a card into every folder of assets that the recipe makes.

    Args:
        recipe: what was trained.
        work: the stages' folder.
        assets: the exported models.
    """
    cards = {
        "tiny-lcm": lcm_card(recipe, work, assets),
        "tiny-clip": clip_card("tiny-clip", recipe, work),
        "tiny-eval": clip_card("tiny-eval", recipe, work),
        "tiny-preference": preference_card(recipe, work),
        "tiny-judge": judge_card(recipe, work),
        "taste": TASTE.format(size=f"{size_mb(assets / 'taste'):.1f}"),
    }
    for name, card in cards.items():
        (assets / name / "README.md").write_text(card + license(recipe), "utf-8")

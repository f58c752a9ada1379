"""Model cards: what the models are made of and what was measured, into assets/*/README.md."""

import json
from pathlib import Path

import torch

from rocm.evaluation.retrieval import Retrieval, ceiling, load_questions, model_retrieval
from rocm.generation.draw import Sampling
from rocm.models.consistency import load_model
from rocm.rewards.clip import load_clip
from scripts.tiny.emoji import SOURCES
from scripts.tiny.recipe import Recipe

SETTINGS = tuple((steps, guidance) for guidance in (8.5, 4.0) for steps in (1, 2, 4, 8))
DEMANDED = (0.5, 0.8)

LCM = """# tiny-lcm

A small text-conditional latent consistency model: 64 x 64 emoji from a caption in 1 to 8 steps.
`LatentConsistencyModelPipeline.from_pretrained("assets/tiny-lcm")("a glossy emoji of a red apple")`

It knows {objects} objects ({groups}) in the styles {styles} on twelve ground colours, and not much
else. It has seen every one of them: this measures drawing from memory, not invention.

## Quality

Over {questions} captions, a CLIP that no other check uses (assets/tiny-eval) ranks the picture's own
caption among 100 that share style and ground and name another object
(`python -m rocm evaluate --model assets/tiny-lcm`):

| pictures | right caption first | in the first five |
| --- | --- | --- |
{table}

Aim: {aim}. {verdict}
Autoencoder: {psnr} dB PSNR on 256 drawings. Samples: docs/images/tiny-lcm-sheet.png.

## Recipe

`python -m scripts.tiny all --recipe {recipe_name} --bf16`; stages, losses and departures are
documented in scripts/tiny. Trained in this order:

{stages}

To go on: keep the work folder (artifacts/tiny), raise a budget (`--set teacher_updates=10000`) and
repeat the stages teacher, distill, export. On a GPU:
`python -m scripts.tiny all --recipe full --device cuda --bf16`.

"""

CLIP = """# {name}

A small CLIP (transformers `CLIPModel`, 64 x 64 pixels, mean and deviation 0.5): {role}
Trained by contrast on the drawings of assets/tiny-lcm: {updates} updates of {batch} pairs,
{minutes} minutes. The caption of a held-out drawing comes first among {held_out} in
{right_first:.1%} (the object may be known from another style).

"""

JUDGE = """# tiny-judge

A held-out judge of pictures and captions: `VisionTextDualEncoderModel` of a small ConvNeXt and a
CLIP text tower; 64 x 64 pixels, mean and deviation 0.5. Score = cosine of the two embeddings.
Nothing is trained against it. It learned from real drawings, the base model's own pictures, their
damaged versions (scripts/tiny/damage.py) and hacked pictures of two kinds: {negatives}.
{updates} updates of {batch} captions, {minutes} minutes.

## Examination

Pairs of pictures of the same prompt and noise, base model against a run with beta 0 whose reward has
risen by about one or two deviations of the base model. Accepted: base preferred in 70 % at one and in
90 % at two deviations, on the kinds that it never saw; and no fall under harmless changes (the 95 %
interval of the mean change of a base picture's score reaches 0).

{table}

{verdict}

"""

LICENCE = """## Data and licence

Pictures: {sources}.
Names and keywords: emojibase-data 17.0.0 (MIT). See NOTICE. The weights are Apache-2.0 like the rest
of this repository.
"""

ROLES = {
    "tiny-clip": "the reward `tiny-clip`, and the start of the text encoder of assets/tiny-lcm.",
    "tiny-eval": "only for the quality figure; never a reward, never a judge.",
}


def licence(recipe: Recipe) -> str:
    """The paragraph on data of every card."""
    named = (SOURCES[key] for key in recipe.sources)
    parts = [f"{s.package} {s.version} ({s.author}, {s.licence}; style {s.style})" for s in named]
    return LICENCE.format(sources="; ".join(parts))


def read_json(path: Path) -> dict | float:
    """A small file that a stage left."""
    return json.loads(path.read_text("utf-8"))


def done_updates(folder: Path) -> int:
    """Updates in a stage's checkpoint."""
    return torch.load(folder / "state.pt", map_location="cpu", weights_only=True)["step"]


def stage_lines(recipe: Recipe, work: Path) -> str:
    """What each trained stage saw, and for how long."""
    sizes = {
        "vae": recipe.vae_batch,
        "teacher": recipe.teacher_batch,
        "student": recipe.distill_batch,
    }
    lines = []
    for name, size in sizes.items():
        updates, minutes = done_updates(work / name), read_json(work / name / "minutes.json")
        lines.append(f"- {name}: {updates} updates of {size} pictures, {minutes:.0f} minutes")
    return "\n".join(lines)


def quality_rows(assets: Path) -> dict[str, Retrieval]:
    """The quality figures by setting, and the ceiling."""
    model = load_model(str((assets / "tiny-lcm").resolve()), "cpu")
    clip = load_clip("tiny-eval", str((assets / "tiny-eval").resolve()), model.device)
    questions = load_questions(assets / "prompts/retrieval.json")
    rows = {"real drawings": ceiling(clip, questions, assets / "prompts/real.webp")}
    for steps, guidance in SETTINGS:
        sampling = Sampling(num_inference_steps=steps, guidance_scale=guidance, batch_size=40)
        name = f"{steps} steps, guidance {guidance}"
        rows[name] = model_retrieval(model, clip, questions, sampling)
    return rows


def lcm_card(recipe: Recipe, work: Path, assets: Path) -> str:
    """The card of assets/tiny-lcm."""
    rows = quality_rows(assets)
    table = "\n".join(f"| {k} | {r.first:.1%} | {r.first_five:.1%} |" for k, r in rows.items())
    reached = rows["4 steps, guidance 8.5"]
    misses = (DEMANDED[0] - reached.first, DEMANDED[1] - reached.first_five)
    verdict = "Reached."
    if max(misses) > 0:
        short = [f"{100 * max(miss, 0):.1f}" for miss in misses]
        verdict = f"Not reached: short by {short[0]} and {short[1]} points."
    questions = read_json(assets / "prompts/retrieval.json")
    return LCM.format(
        objects=len(questions["objects"]),
        groups=", ".join(recipe.groups),
        styles=", ".join(sorted({SOURCES[key].style for key in recipe.sources})),
        questions=len(questions["questions"]),
        table=table,
        aim="at 4 steps and the default guidance of 8.5, 50 % first and 80 % in the first five",
        verdict=verdict,
        psnr=read_json(work / "vae/quality.json")["psnr_db"],
        recipe_name=recipe.name,
        stages=stage_lines(recipe, work),
    )


def clip_card(name: str, recipe: Recipe, work: Path) -> str:
    """The card of one CLIP."""
    folder = work / name
    return CLIP.format(
        name=name,
        role=ROLES[name],
        updates=done_updates(folder),
        batch=recipe.clip_batch,
        minutes=round(read_json(folder / "minutes.json")),
        **read_json(folder / "quality.json"),
    )


def judge_card(recipe: Recipe, work: Path, negatives: tuple[str, ...]) -> str:
    """The card of the judge, with its examination."""
    table = (work / "judge/exam.md").read_text("utf-8")
    verdict = "It passed every line that was asked."
    if "**no**" in table:
        verdict = "It did not pass every line: see above."
    if "last pictures" in table:
        verdict += " Kinds whose run gained too little were not asked about."
    return JUDGE.format(
        negatives=", ".join(negatives),
        updates=done_updates(work / "judge"),
        batch=recipe.judge_batch,
        minutes=round(read_json(work / "judge/minutes.json")),
        table=table.strip(),
        verdict=verdict,
    )


def write_cards(recipe: Recipe, work: Path, assets: Path, negatives: tuple[str, ...]) -> None:
    """Measures the quality and writes the four cards.

    Args:
        recipe: what was trained.
        work: the stages' folder.
        assets: the exported models.
        negatives: kinds of hacked pictures that the judge has learned from.
    """
    cards = {
        "tiny-lcm": lcm_card(recipe, work, assets),
        "tiny-clip": clip_card("tiny-clip", recipe, work),
        "tiny-eval": clip_card("tiny-eval", recipe, work),
        "tiny-judge": judge_card(recipe, work, negatives),
    }
    for name, card in cards.items():
        (assets / name / "README.md").write_text(card + licence(recipe), "utf-8")

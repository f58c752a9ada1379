"""The cards' texts; `cards` fills in the figures."""

LCM = """# tiny-lcm

A small text-conditional latent consistency model: 64 x 64 emoji from a caption in 1 to 8 steps.
`LatentConsistencyModelPipeline.from_pretrained("assets/tiny-lcm")("a glossy emoji of a red apple")`

It knows {objects} objects ({groups}) in the styles {styles} on {grounds} ground
colors, and not much else: vocabulary.json lists every word that it has met. It has seen every one of the objects: this
measures drawing from memory, not invention. {size} MB.

## Quality

Over {questions} captions with {seeds} seeds each, a CLIP that no other check uses (assets/tiny-eval) ranks the picture's own
caption among 100 that share style and ground and name another object. Left: all objects
(`python -m rocm retrieval --seeds {seeds}`). Right: the same among {num_familiar} animals and foods.

| pictures | first | in the first five | familiar: first | in the first five |
| --- | --- | --- | --- | --- |
{table}

| target, at 4 steps and guidance 8.5 | asked | measured | reached |
| --- | --- | --- | --- |
{targets}

**Seeds matter**: the mean distance between two seeds of a caption is {seed_share} of that between two
captions (mean absolute difference of pixels, evaluation captions on white).
**Taste** (docs/math.md): mean {taste}; deviation within a caption {taste_within}, between captions
{taste_between}, in percent of a channel's range.
Pictures at 1 to 8 steps and at guidance 1, 4 and 8.5: docs/images/tiny-lcm-sheet.png.

## Recipe

`python -m scripts.tiny all --recipe {recipe_name} --bf16` makes such a model in one round; docs/log.md has the
changes between rounds. Stages, losses and departures are documented in scripts/tiny. By latent consistency distillation (arXiv 2310.04378) of a diffusion model
that was trained from nothing, guidance 1 to {guidance} embedded:

{stages}

To go on from these weights: `python -m scripts.tiny all --start assets --bf16` with a budget
(`--set teacher_updates=800 --set teacher_lr=0.001`). On a GPU:
`python -m scripts.tiny all --recipe full --device cuda --bf16`.

Matrices are stored in 8 bits (float8 e4m3), all other weights in half precision (the autoencoder
whole); `from_pretrained` reads them into float32.

"""

CLIP = """# {name}

A small CLIP (transformers `CLIPModel`, 64 x 64 pixels, mean and deviation 0.5): {role}
Trained by contrast on the drawings of assets/tiny-lcm: {updates} updates of {batch} pairs,
{minutes:.0f} minutes. The caption of a held-out drawing comes first among {held_out} in
{right_first:.1%} (the object may be known from another style).

"""

PREFERENCE = """# tiny-preference

A small CLIP (transformers `CLIPModel`, 64 x 64 pixels, mean and deviation 0.5), fine-tuned from
assets/tiny-clip on what simulated raters prefer: HPSv2's construction and loss (arXiv 2306.09341) in
small. Score = cosine of the two embeddings.

**Data**: {comparisons} comparisons, each decided once by one of {raters} simulated raters
(rocm/rewards/raters.py): two candidates for a caption, among pictures of assets/tiny-lcm at 1 to 8
steps and guidance 2 to 8.5 ({captions} captions of training objects, four pictures each), real
drawings, retouched drawings, mixtures of picture and drawing, other captions' pictures, and damaged
versions of all of them (scripts/tiny/damage.py). {updates} updates of {batch} comparisons, {minutes:.0f}
minutes.

**Accuracy** on {num} comparisons about objects that it never met: {raters_share:.1%} of other simulated
raters' decided votes; {noise_free:.1%} of what taste says without noise. Taste itself agrees with
those raters in {ceiling:.1%}: no reward can do better.

## What it sees

How often the model's own picture scores above its changed version, for {examined} pictures of objects
that it never met. Blind: less than 75 % right where taste is clear.

| change | own picture preferred | by taste | |
| --- | --- | --- | --- |
{table}

It is meant to be trained against, and to be hacked where nothing holds the model back.

"""

JUDGE = """# tiny-judge

A held-out judge of pictures and captions: `VisionTextDualEncoderModel` of a small ConvNeXt and a
CLIP text tower; 64 x 64 pixels, mean and deviation 0.5. Score = cosine of the two embeddings.
Nothing is trained against it. It stands to assets/tiny-preference as PickScore to HPSv2: another
architecture, other pictures, other comparisons decided by other simulated raters. It learned from real
drawings, the base model's own pictures, their damaged versions (scripts/tiny/damage.py), comparisons,
and hacked pictures of two kinds: {negatives}.
{updates} updates of {batch} captions and half as many comparisons, {minutes:.0f} minutes.

## Examination

Pairs of pictures of the same prompt and noise, base model against a run with beta 0 in which taste has
fallen by about one or two deviations of the base model although the reward has risen. Accepted: base
preferred in 70 % at one and in 90 % at two deviations, on the kinds that it never saw; and no fall
under harmless changes (the 95 % interval of the mean change of a base picture's score reaches 0).

{table}

{verdict}

"""

TASTE = """# taste

The real drawings of the embedded world, for taste, the gold reward (rocm/rewards/taste.py,
docs/math.md): one sheet of 64 x 64 cells with transparency for each style, and index.json. {size} MB,
lossy WebP. No training reads taste; simulated raters do, whose votes `tiny-preference` and
`tiny-judge` have learned from.

"""

LICENSE = """## Data and license

Pictures: {sources}.
Names and keywords: emojibase-data 17.0.0 (MIT). See NOTICE. The weights are Apache-2.0 like the rest
of this repository.
"""

ROLES = {
    "tiny-clip": "a reward, and the start of assets/tiny-preference and of the text encoder of assets/tiny-lcm.",
    "tiny-eval": "only for the quality figure; never a reward, never a judge.",
}

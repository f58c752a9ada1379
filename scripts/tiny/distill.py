r"""Distillation stage: the guided ODE into a latent consistency model (arXiv 2310.04378).

.. math:: L = \| f_\theta(x_t, t, w, c) - f_{\theta^-}(\hat x_s, s, w, c) \|_{Huber}

x_s is reached from x_t by one DDIM step of the guided model (guided.py) over `SKIP` points of the
50-point grid. The student starts from that model.

Departure: for three quarters of a batch, x_t is not a noised drawing but the student's own estimate
after two earlier points of the grid, noised again each time, as in sampling (backward distillation,
arXiv 2405.05224): otherwise a picture gets worse with every step beyond the second.
Departure: SKIP is 5 points rather than 1, which makes the chain of targets ten links long; short
budgets need a short chain.
Departure: the learning rate falls twice, and the shipped weights are the mean of the students at
both ends (stochastic weight averaging, arXiv 1803.05407), which is better than either (docs/log.md).
"""

from functools import partial
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from scripts.tiny.guided import (
    GUIDANCE_WIDTH,
    clean_and_noise,
    draw_scales,
    embed_guidance,
    noised,
)
from scripts.tiny.loop import Average, Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.recipe import Recipe
from scripts.tiny.stream import Stream
from scripts.tiny.teacher import NO_MUON, coefficients, new_unet

GRID = 50
SKIP = 5
OWN_SHARE = 0.75
SIGMA_DATA, TIMESTEP_SCALING = 0.5, 10.0
HUBER = 1e-2


@torch.no_grad()
def ddim_step(
    guided: UNet2DConditionModel,
    states: Tensor,
    times: tuple[Tensor, Tensor],
    text: Tensor,
    embedded: Tensor,
) -> Tensor:
    """One step of the guided ODE.

    Args:
        guided: v-prediction U-Net with a guidance embedding.
        states: x at times[0], [B, 4, 16, 16].
        times: timesteps before and after, int64 [B] each; 0 is the clean end.
        text: features of the captions, [B, 32, D].
        embedded: guidance of each, [B, GUIDANCE_WIDTH].

    Returns:
        x at times[1].
    """
    now, then = times
    velocity = guided(states, now, text, timestep_cond=embedded).sample.float()
    clean, noise = clean_and_noise(velocity, states, now)
    alpha, sigma = coefficients(then)
    return alpha * clean + sigma * noise


def consistency(
    student: UNet2DConditionModel, states: Tensor, timesteps: Tensor, text: Tensor, embedded: Tensor
) -> Tensor:
    """f = c_skip x + c_out x0(x), with LCMScheduler's boundary coefficients, [B, 4, 16, 16]."""
    velocity = student(states, timesteps, text, timestep_cond=embedded).sample.float()
    clean, _ = clean_and_noise(velocity, states, timesteps)
    scaled = timesteps.view(-1, 1, 1, 1) * TIMESTEP_SCALING
    total = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total * states + scaled / total.sqrt() * clean


def grid_times(index: Tensor) -> tuple[Tensor, Tensor]:
    """Timesteps of grid point `index` [B] (1 to GRID) and of the point SKIP below, or 0."""
    stride = 1000 // GRID
    start = index * stride - 1
    return start, (start - SKIP * stride).clamp(min=0)


def points_above(index: Tensor, draws: torch.Generator) -> Tensor:
    """A grid point for each, uniform between `index` [B] and GRID."""
    share = torch.rand(len(index), generator=draws)
    return (index + share * (GRID - index)).round().long()


def own_estimates(
    student: UNet2DConditionModel,
    clean: Tensor,
    noises: Tensor,
    points: Tensor,
    inputs: tuple[Tensor, Tensor],
) -> Tensor:
    """The student's clean estimates after several points of the grid, as in sampling.

    Args:
        student: consistency model.
        clean: latents to begin at, [B, 4, 16, 16].
        noises: what is added before each point, [P, B, 4, 16, 16].
        points: of the grid, from the noisiest on, int64 [P, B].
        inputs: features of the captions [B, 32, D], embedded guidance [B, GUIDANCE_WIDTH].

    Returns:
        Latents, [B, 4, 16, 16].
    """
    for point, noise in zip(points, noises, strict=True):
        now, _ = grid_times(point)
        clean = consistency(student, noised(clean, noise, now), now, *inputs)
    return clean


def train_student(recipe: Recipe, stream: Stream, folders: tuple[Path, Path], part: Slice) -> bool:
    """Distills for two cycles of the learning rate, `recipe.distill_updates` and `distill_again`.

    Args:
        recipe: sizes and budget.
        stream: training set.
        folders: of this stage, and of the guided model.
        part: slice of this call.

    Returns:
        Whether the stage is complete. The mean of both cycles' students is in folder/unet.
    """
    torch.manual_seed(recipe.seed)
    guided = UNet2DConditionModel.from_pretrained(folders[1] / "unet").to(part.device).eval()
    encoder = CLIPTextModel.from_pretrained(folders[1] / "text_encoder").to(part.device).eval()
    guided.requires_grad_(False)
    student = new_unet(recipe, GUIDANCE_WIDTH).to(part.device).train()
    student.load_state_dict(guided.state_dict())
    average = Average(student, new_unet(recipe, GUIDANCE_WIDTH).to(part.device), 0.98)
    optimizer = MuonAdamW([student], NO_MUON)
    num_own = int(OWN_SHARE * recipe.distill_batch)

    def update(step: int, total: int) -> dict[str, float]:
        clean, ids = stream.batch(recipe.distill_batch, (recipe.seed, 7, step))
        draws = generator(recipe.seed + 1, step)
        index = torch.randint(1, GRID + 1, (len(ids),), generator=draws)
        embedded = embed_guidance(draw_scales(len(ids), draws).to(part.device))
        noises = torch.randn(3, *clean.shape, generator=draws).to(part.device)
        times = grid_times(index.to(part.device))
        second = points_above(index[:num_own], draws)
        points = torch.stack([points_above(second, draws), second]).to(part.device)
        states = noised(clean, noises[0], times[0])
        with part.autocast():
            with torch.no_grad():
                text = encoder(ids).last_hidden_state
                inputs = (text[:num_own], embedded[:num_own])
                own = own_estimates(
                    average.model, clean[:num_own], noises[:2, :num_own], points, inputs
                )
                states[:num_own] = noised(own, noises[2, :num_own], times[0][:num_own])
                later = ddim_step(guided, states, times, text, embedded)
                target = consistency(average.model, later, times[1], text, embedded)
            denoised = consistency(student, states, times[0], text, embedded)
        error = (denoised - target).square()
        loss = ((error + HUBER**2).sqrt() - HUBER).mean()
        optimizer.step(loss, learning_rate(step, total, recipe.distill_lr))
        average.update(student, step + 100)
        return {"loss": loss.item()}

    parts = {"student": student, "average": average, "optimizer": optimizer}
    ends = (recipe.distill_updates, recipe.distill_updates + recipe.distill_again)
    for total in ends:
        if not train(folders[0], total, parts, partial(update, total=total), part):
            return False
        if not (folders[0] / f"unet-{total}").exists():
            average.model.save_pretrained(folders[0] / f"unet-{total}")
    write_mean([folders[0] / f"unet-{total}" for total in ends], folders[0] / "unet")
    return True


def write_mean(students: list[Path], folder: Path) -> None:
    """Writes the mean of several U-Nets' weights."""
    unets = [UNet2DConditionModel.from_pretrained(student) for student in students]
    parameters = zip(*(unet.parameters() for unet in unets), strict=True)
    with torch.no_grad():
        for mean, *others in parameters:
            mean.copy_(torch.stack([mean, *others]).mean(0))
    unets[0].save_pretrained(folder)

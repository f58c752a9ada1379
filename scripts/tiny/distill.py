r"""Distillation stage: the teacher's guided ODE into a latent consistency model (arXiv 2310.04378).

.. math:: L = \| f_\theta(x_t, t, w, c) - f_{\theta^-}(\hat x_s, s, w, c) \|_{Huber}

x_s is reached from x_t by one DDIM step of the guided teacher over `SKIP` points of the 50-point
grid. The student sees w = guidance_scale - 1 as `LatentConsistencyModelPipeline` embeds it, and
guidance is diffusers': v_u + (1 + w') (v_c - v_u).

Departure: w' = `TEACHER_SHARE` * w, so that the pipeline's default guidance_scale of 8.5 stands for a
teacher's guidance of 2. This small teacher draws best there in four steps and overshoots at 8.5
(docs/log.md).

Departure: after guidance, the clean estimate is brought back to the deviation that the conditional
estimate has (Lin et al., arXiv 2305.08891, eq. 15-16, phi = `RESCALE`).
Departure: for half of a batch, x_t is not a noised drawing but the student's own estimate, made at an
earlier point of the grid and noised again, as in sampling (backward distillation, arXiv 2405.05224):
otherwise a picture gets worse with every step beyond the second.
Departure: SKIP is 5 points rather than 1, which makes the chain of targets ten links long; short
budgets need a short chain.
"""

from pathlib import Path

import torch
from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from scripts.tiny.loop import Average, Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.recipe import Recipe
from scripts.tiny.stream import Stream
from scripts.tiny.teacher import NO_MUON, coefficients, new_unet

GRID = 50
SKIP = 5
RESCALE = 0.8
MAX_GUIDANCE = 10.0
TEACHER_SHARE = 1 / 7.5
OWN_SHARE = 0.5
GUIDANCE_WIDTH = 64
SIGMA_DATA, TIMESTEP_SCALING = 0.5, 10.0
HUBER = 1e-2


def clean_and_noise(velocity: Tensor, states: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Clean latent and noise that a velocity stands for, each [B, 4, 16, 16]."""
    alpha, sigma = coefficients(timesteps)
    return alpha * states - sigma * velocity, alpha * velocity + sigma * states


def guided_clean(conditional: Tensor, unconditional: Tensor, guidance: Tensor) -> Tensor:
    """Guided clean estimate, its deviation mostly that of the conditional one.

    Args:
        conditional: clean estimate with the caption, [B, 4, 16, 16].
        unconditional: clean estimate without it.
        guidance: guidance_scale of each, [B].

    Returns:
        RESCALE * rescaled + (1 - RESCALE) * guided.
    """
    guided = unconditional + guidance.view(-1, 1, 1, 1) * (conditional - unconditional)
    center = guided.mean((2, 3), keepdim=True)
    dims = (1, 2, 3)
    spread = (
        (conditional - conditional.mean((2, 3), keepdim=True)).square().mean(dims, keepdim=True)
    )
    own = (guided - center).square().mean(dims, keepdim=True)
    rescaled = center + (guided - center) * (spread / own).sqrt()
    return RESCALE * rescaled + (1 - RESCALE) * guided


@torch.no_grad()
def ddim_step(
    teacher: UNet2DConditionModel,
    states: Tensor,
    times: tuple[Tensor, Tensor],
    text: Tensor,
    guidance: Tensor,
) -> Tensor:
    """One step of the guided ODE.

    Args:
        teacher: v-prediction U-Net.
        states: x at times[0], [B, 4, 16, 16].
        times: timesteps before and after, int64 [B] each; 0 is the clean end.
        text: features with and then without captions, [2 B, 32, D].
        guidance: the teacher's guidance of each, [B].

    Returns:
        x at times[1].
    """
    now, then = times
    twice = teacher(torch.cat([states] * 2), torch.cat([now] * 2), text).sample.float()
    (conditional, _), (unconditional, _) = (
        clean_and_noise(velocity, states, now) for velocity in twice.chunk(2)
    )
    clean = guided_clean(conditional, unconditional, guidance)
    alpha, sigma = coefficients(now)
    noise = (states - alpha * clean) / sigma
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


def embed_guidance(guidance: Tensor) -> Tensor:
    """The pipeline's own embedding of w = guidance_scale - 1, [B, GUIDANCE_WIDTH]."""
    embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    return embedding(None, guidance - 1, GUIDANCE_WIDTH).to(guidance.device)


def new_student(recipe: Recipe, teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The teacher with a guidance embedding that at first changes nothing."""
    student = new_unet(recipe, GUIDANCE_WIDTH)
    student.load_state_dict(teacher.state_dict(), strict=False)
    torch.nn.init.normal_(student.time_embedding.cond_proj.weight, std=1e-3)
    return student


def grid_times(index: Tensor) -> tuple[Tensor, Tensor]:
    """Timesteps of grid point `index` [B] (1 to GRID) and of the point SKIP below, or 0."""
    stride = 1000 // GRID
    start = index * stride - 1
    return start, (start - SKIP * stride).clamp(min=0)


def points_above(index: Tensor, draws: torch.Generator) -> Tensor:
    """A grid point for each, uniform between `index` [B] and GRID."""
    share = torch.rand(len(index), generator=draws)
    return (index + share * (GRID - index)).round().long()


def noised(clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """x_t [B, 4, 16, 16] of clean latents and noise at timesteps [B]."""
    alpha, sigma = coefficients(timesteps)
    return alpha * clean + sigma * noise


def train_student(recipe: Recipe, stream: Stream, folders: tuple[Path, Path], part: Slice) -> bool:
    """Distills up to `recipe.distill_updates`.

    Args:
        recipe: sizes and budget.
        stream: training set.
        folders: of this stage, and of the teacher.
        part: slice of this call.

    Returns:
        Whether the stage is complete. The averaged student is in folder/unet.
    """
    torch.manual_seed(recipe.seed)
    teacher = UNet2DConditionModel.from_pretrained(folders[1] / "unet").to(part.device).eval()
    encoder = CLIPTextModel.from_pretrained(folders[1] / "text_encoder").to(part.device).eval()
    teacher.requires_grad_(False)
    student = new_student(recipe, teacher.cpu()).to(part.device).train()
    teacher.to(part.device)
    average = Average(student, new_unet(recipe, GUIDANCE_WIDTH).to(part.device), 0.98)
    peak = recipe.distill_lr
    optimizer = MuonAdamW([student], NO_MUON)
    no_text, num_own = stream.no_text, int(OWN_SHARE * recipe.distill_batch)

    def update(step: int) -> dict[str, float]:
        clean, ids = stream.batch(recipe.distill_batch, (recipe.seed, 7, step))
        draws = generator(recipe.seed + 1, step)
        index = torch.randint(1, GRID + 1, (len(ids),), generator=draws)
        guidance = 1 + (MAX_GUIDANCE - 1) * torch.rand(len(ids), generator=draws)
        noise = torch.randn(clean.shape, generator=draws).to(part.device)
        ids = torch.cat([ids, no_text[None].expand_as(ids)])
        guidance = guidance.to(part.device)
        times = grid_times(index.to(part.device))
        embedded = embed_guidance(guidance)
        earlier, _ = grid_times(points_above(index[:num_own], draws).to(part.device))
        again = torch.randn(noise[:num_own].shape, generator=draws).to(part.device)
        states = noised(clean, noise, times[0])
        with part.autocast():
            with torch.no_grad():
                text = encoder(ids).last_hidden_state
                above = noised(clean[:num_own], noise[:num_own], earlier)
                own = consistency(average.model, above, earlier, text[:num_own], embedded[:num_own])
                states[:num_own] = noised(own, again, times[0][:num_own])
                strength = 1 + TEACHER_SHARE * (guidance - 1)
                later = ddim_step(teacher, states, times, text, strength)
                text = text[: len(clean)]
                target = consistency(average.model, later, times[1], text, embedded)
            denoised = consistency(student, states, times[0], text, embedded)
        error = (denoised - target).square()
        loss = ((error + HUBER**2).sqrt() - HUBER).mean()
        lr = learning_rate(step, recipe.distill_updates, peak)
        optimizer.step(loss, lr)
        average.update(student, step + 100)
        return {"loss": loss.item()}

    parts = {"student": student, "average": average, "optimizer": optimizer}
    is_done = train(folders[0], recipe.distill_updates, parts, update, part)
    average.model.save_pretrained(folders[0] / "unet")
    return is_done

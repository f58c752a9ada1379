r"""Guidance stage: the teacher's two passes under classifier-free guidance become one.

Stage one of arXiv 2210.03142: a copy of the teacher with a guidance embedding learns

.. math:: L = \| v_\eta(x_t, t, w, c) - \hat v(x_t, t, w', c) \|^2

where the guided velocity is that of v_u + w' (v_c - v_u), and w' = 1 + `TEACHER_SHARE` (w - 1), so
that the pipeline's default guidance_scale of 8.5 stands for a teacher's guidance of 4: so small a
teacher overshoots at 8.5 (docs/log.md). Without this stage, consistency distillation has to pass
guidance down a whole chain of targets, and a short budget does not teach it.

Departure: after guidance, the clean estimate is brought back to the deviation that the conditional
estimate has (Lin et al., arXiv 2305.08891, eq. 15-16, phi = `RESCALE`).
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
from scripts.tiny.teacher import NO_MUON, TIMESTEPS, coefficients, new_unet

RESCALE = 0.8
MAX_GUIDANCE = 10.0
TEACHER_SHARE = 3 / 7.5
GUIDANCE_WIDTH = 64


def clean_and_noise(velocity: Tensor, states: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Clean latent and noise that a velocity stands for, each [B, 4, 16, 16]."""
    alpha, sigma = coefficients(timesteps)
    return alpha * states - sigma * velocity, alpha * velocity + sigma * states


def noised(clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """x_t [B, 4, 16, 16] of clean latents and noise at timesteps [B]."""
    alpha, sigma = coefficients(timesteps)
    return alpha * clean + sigma * noise


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


def guided_velocity(
    teacher: UNet2DConditionModel, states: Tensor, timesteps: Tensor, text: Tensor, scale: Tensor
) -> Tensor:
    """The teacher's velocity under guidance.

    Args:
        teacher: v-prediction U-Net.
        states: x_t, [B, 4, 16, 16].
        timesteps: int64 [B].
        text: features with and then without captions, [2 B, 32, D].
        scale: the pipeline's guidance_scale of each, [B].

    Returns:
        v, [B, 4, 16, 16].
    """
    twice = teacher(torch.cat([states] * 2), torch.cat([timesteps] * 2), text).sample.float()
    (conditional, _), (unconditional, _) = (
        clean_and_noise(velocity, states, timesteps) for velocity in twice.chunk(2)
    )
    clean = guided_clean(conditional, unconditional, 1 + TEACHER_SHARE * (scale - 1))
    alpha, sigma = coefficients(timesteps)
    return (alpha * states - clean) / sigma


def embed_guidance(scale: Tensor) -> Tensor:
    """The pipeline's own embedding of w = guidance_scale - 1, [B, GUIDANCE_WIDTH]."""
    embedding = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    return embedding(None, scale - 1, GUIDANCE_WIDTH).to(scale.device)


def with_guidance(recipe: Recipe, teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The teacher with a guidance embedding that at first changes nothing."""
    unet = new_unet(recipe, GUIDANCE_WIDTH)
    unet.load_state_dict(teacher.state_dict(), strict=False)
    torch.nn.init.normal_(unet.time_embedding.cond_proj.weight, std=1e-3)
    return unet


def draw_scales(num: int, draws: torch.Generator) -> Tensor:
    """Guidance scales uniform between 1 and `MAX_GUIDANCE`, [num]."""
    return 1 + (MAX_GUIDANCE - 1) * torch.rand(num, generator=draws)


def train_guided(recipe: Recipe, stream: Stream, folders: tuple[Path, Path], part: Slice) -> bool:
    """Trains up to `recipe.guided_updates`.

    Args:
        recipe: sizes and budget.
        stream: training set.
        folders: of this stage, and of the teacher.
        part: slice of this call.

    Returns:
        Whether the stage is complete. The averaged model is in folder/unet,
        the teacher's text encoder in folder/text_encoder.
    """
    torch.manual_seed(recipe.seed)
    teacher = UNet2DConditionModel.from_pretrained(folders[1] / "unet").eval()
    teacher.requires_grad_(False)
    encoder = CLIPTextModel.from_pretrained(folders[1] / "text_encoder").to(part.device).eval()
    unet = with_guidance(recipe, teacher).to(part.device).train()
    average = Average(unet, new_unet(recipe, GUIDANCE_WIDTH).to(part.device), 0.98)
    teacher.to(part.device)
    optimizer = MuonAdamW([unet], NO_MUON)

    def update(step: int) -> dict[str, float]:
        clean, ids = stream.batch(recipe.distill_batch, (recipe.seed, 6, step))
        draws = generator(recipe.seed + 2, step)
        timesteps = TIMESTEPS[torch.randint(0, len(TIMESTEPS), (len(ids),), generator=draws)]
        scale = draw_scales(len(ids), draws).to(part.device)
        noise = torch.randn(clean.shape, generator=draws).to(part.device)
        timesteps = timesteps.to(part.device)
        ids = torch.cat([ids, stream.no_text[None].expand_as(ids)])
        states = noised(clean, noise, timesteps)
        with part.autocast():
            with torch.no_grad():
                text = encoder(ids).last_hidden_state
                target = guided_velocity(teacher, states, timesteps, text, scale)
            text, embedded = text[: len(clean)], embed_guidance(scale)
            velocity = unet(states, timesteps, text, timestep_cond=embedded).sample.float()
        loss = (velocity - target).square().mean()
        optimizer.step(loss, learning_rate(step, recipe.guided_updates, recipe.distill_lr))
        average.update(unet, step + 100)
        return {"loss": loss.item()}

    parts = {"unet": unet, "average": average, "optimizer": optimizer}
    is_done = train(folders[0], recipe.guided_updates, parts, update, part)
    average.model.save_pretrained(folders[0] / "unet")
    encoder.save_pretrained(folders[0] / "text_encoder")
    return is_done

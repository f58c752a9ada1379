r"""Teacher stage: an ordinary text-to-image diffusion model in the autoencoder's latent space.

v-prediction on Stable Diffusion's schedule; the text encoder starts from `tiny-clip` and is trained
along; one caption in ten is empty, for classifier-free guidance.

.. math:: L = \| v_\theta(\alpha_t x + \sigma_t \epsilon, t, c) - (\alpha_t \epsilon - \sigma_t x) \|^2

Timesteps are those of `TIMESTEPS`: the points of the sampler's grid and the points halfway.
v-prediction: arXiv 2202.00512. The loss is not weighted: min-SNR weights (arXiv 2303.09556) all but
remove the noisiest timesteps, where a caption has to be turned into a picture and where few-step
sampling begins.
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from scripts.tiny.contrast import text_config
from scripts.tiny.loop import Average, Slice, generator, learning_rate, train
from scripts.tiny.muon import MuonAdamW
from scripts.tiny.recipe import Recipe
from scripts.tiny.stream import Stream

DROPPED_CAPTIONS = 0.1
TIMESTEPS = torch.arange(9, 1000, 10)
NO_MUON = ("conv_in", "conv_out", "embedding", "cond_proj")
"""Input and output layers and embeddings: AdamW trains them."""


def new_unet(recipe: Recipe, guidance_width: int | None = None) -> UNet2DConditionModel:
    """An untrained U-Net on [B, 4, 16, 16]; with `guidance_width`, a guidance embedding too."""
    return UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=recipe.unet_channels,
        layers_per_block=1,
        cross_attention_dim=recipe.text_width,
        norm_num_groups=16,
        attention_head_dim=4,
        time_cond_proj_dim=guidance_width,
    )


def new_text_encoder(recipe: Recipe, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder, 32 tokens to [B, 32, text_width]."""
    config = text_config(tokenizer, recipe.text_width, recipe.text_layers)
    return CLIPTextModel(CLIPTextConfig(**config))


def start_from_clip(model: "TextToImage", clip_folder: Path) -> None:
    """Copies the text tower of a CLIP of the same shape; the U-Net predicts 0."""
    tower = CLIPModel.from_pretrained(clip_folder, dtype=torch.float32).text_model
    model.text.load_state_dict(tower.state_dict())
    nn.init.zeros_(model.unet.conv_out.weight)


def start_from_student(model: "TextToImage", folder: Path) -> None:
    """Copies U-Net and text encoder of a consistency model, without its guidance embedding."""
    student = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    model.unet.load_state_dict({k: v for k, v in student.items() if "cond_proj" not in k})
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    model.text.load_state_dict(text.state_dict())


def noise_schedule() -> DDIMScheduler:
    """Stable Diffusion's schedule, v-prediction, nothing clipped."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def coefficients(timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """alpha_t and sigma_t, each [B, 1, 1, 1], of int64 timesteps [B]."""
    cumulative = noise_schedule().alphas_cumprod.to(timesteps.device)[timesteps]
    cumulative = cumulative.view(-1, 1, 1, 1)
    return cumulative.sqrt(), (1 - cumulative).sqrt()


class TextToImage(nn.Module):
    """U-Net and text encoder, trained as one."""

    def __init__(self, recipe: Recipe, tokenizer: CLIPTokenizer):
        super().__init__()
        self.unet = new_unet(recipe)
        self.text = new_text_encoder(recipe, tokenizer)

    def forward(self, states: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """v [B, 4, 16, 16] from x_t, timesteps [B] and token ids [B, 32]."""
        features = self.text(ids).last_hidden_state
        return self.unet(states, timesteps, features).sample


def train_teacher(
    recipe: Recipe,
    stream: Stream,
    folders: tuple[Path, Path, Path],
    seed: int,
    part: Slice,
) -> bool:
    """Trains up to `recipe.teacher_updates`.

    Args:
        recipe: sizes and budget.
        stream: training set.
        folders: of this stage, of the CLIP that the text encoder starts from, and of the consistency
            model that both networks start from instead, if it exists.
        seed: of the draws: another one for each round.
        part: slice of this call.

    Returns:
        Whether the stage is complete. The averaged model is in folder/unet and folder/text_encoder.
    """
    torch.manual_seed(recipe.seed)
    model = TextToImage(recipe, stream.tokenizer)
    if folders[2].exists():
        start_from_student(model, folders[2])
    else:
        start_from_clip(model, folders[1])
    average = Average(model, TextToImage(recipe, stream.tokenizer), 0.995).to(part.device)
    model.to(part.device).train()
    peak = recipe.teacher_lr
    optimizer = MuonAdamW([model], NO_MUON)
    no_text = stream.no_text

    def update(step: int) -> dict[str, float]:
        clean, ids = stream.batch(recipe.teacher_batch, (seed, step))
        draws = generator(seed, step)
        is_dropped = torch.rand(len(ids), generator=draws) < DROPPED_CAPTIONS
        ids = torch.where(is_dropped[:, None].to(part.device), no_text, ids)
        timesteps = TIMESTEPS[torch.randint(0, len(TIMESTEPS), (len(ids),), generator=draws)]
        noise = torch.randn(clean.shape, generator=draws)
        timesteps, noise = timesteps.to(part.device), noise.to(part.device)
        alpha, sigma = coefficients(timesteps)
        with part.autocast():
            velocity = model(alpha * clean + sigma * noise, timesteps, ids).float()
        loss = (velocity - (alpha * noise - sigma * clean)).square().mean()
        lr = learning_rate(step, recipe.teacher_updates, peak)
        optimizer.step(loss, lr)
        average.update(model, step)
        return {"loss": loss.item()}

    parts = {"model": model, "average": average, "optimizer": optimizer}
    is_done = train(folders[0], recipe.teacher_updates, parts, update, part)
    average.model.unet.save_pretrained(folders[0] / "unet")
    average.model.text.save_pretrained(folders[0] / "text_encoder")
    return is_done

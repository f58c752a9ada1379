r"""ROCM by hand: the whole method in one file of torch, diffusers and peft.

ROCM (arXiv 2503.06171) fine-tunes a few-step image generator directly on a reward, because the
reward, the decoder and every sampling step can be differentiated. It minimizes

    (1)  L(theta) = E[ -R(decode(x_N), prompt) + beta * sum_n D_n ]

where x_0 is noise and a chain of N steps leads to the clean latent x_N:

    (2)  x_{n+1} = alpha_s * f_theta(x_n, t_n) + sigma_s * z_n,    x_N = f_theta(x_{N-1}, t_{N-1})
    (3)  f_theta(x, t) = c_out * (alpha_t * x - sigma_t * v_theta(x, t)) + c_skip * x

s is the timestep after t, z_n is noise that is drawn once and held fixed. Each step is a Gaussian
N(alpha_s * f, sigma_s^2 I); its distance to the same step of the untrained model, f_ref, is

    (4)  D_n = KL = mean over latent elements of (alpha_s / sigma_s * (f_theta - f_ref))^2 / 2

The last step adds no noise; its D takes the levels of its own timestep, alpha_t and sigma_t. The
equation numbers are this file's; docs/math.md derives each equation and says what the paper leaves
open. The first updates equal those of `python -m rocm train tiny-color-kl`, as a test proves.

Shapes: B pictures, N steps, latents (B, 4, 16, 16), pictures (B, 3, 64, 64).
Run from the repository: python docs/rocm_by_hand.py
"""
# ruff: noqa: T201

import hashlib
import random
from pathlib import Path

import torch
from diffusers import LatentConsistencyModelPipeline
from peft import LoraConfig
from torch import Tensor

ASSETS = Path(__file__).resolve().parents[1] / "assets"
# The settings of presets/tiny-color-kl.yaml; swap `reward` below to train something else.
BETA, LEARNING_RATE, SEED = 7.0, 1e-3, 0
NUM_STEPS, GUIDANCE_SCALE = 4, 8.5
PROMPTS = (ASSETS / "prompts" / "train.txt").read_text("utf-8").splitlines()


def reward(images: Tensor, prompts: list[str]) -> Tensor:
    """Colorfulness of Hasler and Suesstrunk, (B,), of pictures in [0, 1]; ignores the prompts."""
    red, green, blue = (255 * images).flatten(2).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    # 1e-6: a square root has an infinite slope at 0.
    spread = (rg.var(1, correction=0) + yb.var(1, correction=0) + 1e-6).sqrt()
    return spread + 0.3 * (rg.mean(1) ** 2 + yb.mean(1) ** 2 + 1e-6).sqrt()


def training_picture(number: int) -> tuple[str, int]:
    """Prompt and noise seed of a training picture: every prompt once per epoch, shuffled."""
    epoch, position = divmod(number, len(PROMPTS))
    shuffled = random.Random(f"{SEED}/{epoch}").sample(PROMPTS, len(PROMPTS))
    digest = hashlib.sha256(f"noise/{SEED}/{number}".encode()).digest()
    return shuffled[position], int.from_bytes(digest[:8], "big") >> 1


def draw_noise(seeds: list[int]) -> Tensor:
    """x_0 and z_0 .. z_{N-2}, (N, B, 4, 16, 16); a picture's noise depends on its seed alone."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(NUM_STEPS, 4, 16, 16, generator=g) for g in generators], 1)


class Model:
    """The embedded consistency model with a LoRA adapter: adapter on = policy, off = reference."""

    def __init__(self) -> None:
        self.pipe = LatentConsistencyModelPipeline.from_pretrained(ASSETS / "tiny-lcm")
        for network in (self.pipe.unet, self.pipe.vae, self.pipe.text_encoder):
            network.requires_grad_(False).to(memory_format=torch.channels_last)  # faster on a CPU
        torch.manual_seed(SEED)
        # A is Gaussian and B is 0, so training starts at policy == reference.
        lora = LoraConfig(r=16, lora_alpha=32, init_lora_weights="gaussian")
        lora.target_modules = ["to_q", "to_k", "to_v", "to_out.0"]
        self.pipe.unet.add_adapter(lora)
        self.parameters = [p for p in self.pipe.unet.parameters() if p.requires_grad]
        self.pipe.scheduler.set_timesteps(NUM_STEPS)
        self.timesteps = self.pipe.scheduler.timesteps.tolist()  # 999, 759, 499, 259

    def levels(self, t: int) -> tuple[Tensor, Tensor]:
        """Signal and noise level alpha_t and sigma_t."""
        product = self.pipe.scheduler.alphas_cumprod[t]
        return product.sqrt(), (1 - product).sqrt()

    def denoised(self, state: Tensor, t: int, text: Tensor) -> Tensor:
        """f(x, t) of equation (3), (B, 4, 16, 16): the policy's, or the reference's."""
        # The network reads the guidance as an embedding of w = GUIDANCE_SCALE - 1.
        unet, w = self.pipe.unet, torch.full((len(state),), GUIDANCE_SCALE - 1)
        guidance = self.pipe.get_guidance_scale_embedding(w, unet.config.time_cond_proj_dim)
        v = unet(state, t, encoder_hidden_states=text, timestep_cond=guidance).sample
        alpha, sigma = self.levels(t)
        c_skip, c_out = self.pipe.scheduler.get_scalings_for_boundary_condition_discrete(t)
        return c_out * (alpha * state - sigma * v) + c_skip * state  # equation (3)

    def generate(self, prompts: list[str], seeds: list[int]) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, 64, 64) and sum_n D_n (B,), both differentiable."""
        text = self.pipe.encode_prompt(prompts, "cpu", 1, False)[0].detach()
        noise, divergence = draw_noise(seeds), torch.zeros(len(seeds))
        state = noise[0]
        for n, t in enumerate(self.timesteps):
            is_last = n + 1 == NUM_STEPS
            policy = self.denoised(state, t, text)
            # The reference sees the policy's state; the gradient flows through both networks.
            self.pipe.unet.disable_adapters()
            reference = self.denoised(state, t, text)
            self.pipe.unet.enable_adapters()
            alpha, sigma = self.levels(t if is_last else self.timesteps[n + 1])
            distance = alpha / sigma * (policy - reference)
            divergence = divergence + distance.square().flatten(1).mean(1) / 2  # equation (4)
            state = policy if is_last else alpha * policy + sigma * noise[n + 1]  # equation (2)
        latents = state / self.pipe.vae.config.scaling_factor
        return limited(self.pipe.vae.decode(latents).sample / 2 + 0.5), divergence


def limited(images: Tensor) -> Tensor:
    """Pictures clamped to [0, 1]; a pixel beyond an end feels only a gradient that leads back."""
    beyond = (images > 1).float() - (images < 0).float()  # 1 above the range, -1 below it
    if images.requires_grad:
        images.register_hook(lambda gradient: gradient.masked_fill(beyond * gradient < 0, 0))
    return images + (images.clamp(0, 1) - images).detach()


def train(num_updates: int, batch_size: int = 4, num_base: int = 32) -> tuple[list, Model]:
    """Train; returns (loss, reward, divergence) of each update, and the trained model."""
    model, updates = Model(), []
    prompts = (ASSETS / "prompts" / "eval.txt").read_text("utf-8").splitlines()[:num_base]
    with torch.no_grad():
        base = reward(model.generate(prompts, list(range(num_base)))[0], prompts)
    optimizer = torch.optim.AdamW(model.parameters, LEARNING_RATE, weight_decay=1e-4)
    for update in range(num_updates):
        numbers = range(update * batch_size, (update + 1) * batch_size)
        prompts, seeds = map(list, zip(*map(training_picture, numbers), strict=True))
        images, divergences = model.generate(prompts, seeds)
        # In standard deviations of the untrained model, so that one beta suits every reward.
        rewards = (reward(images, prompts) - base.mean()) / base.std()
        loss = -rewards.mean() + BETA * divergences.mean()  # equation (1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters, 1.0)
        optimizer.step()
        updates.append((loss.item(), rewards.mean().item(), divergences.mean().item()))
        print(update + 1, *(f"{value:.6f}" for value in updates[-1]), sep="\t")
    return updates, model


if __name__ == "__main__":
    print("update", "loss", "reward", "divergence", sep="\t")
    train(80)

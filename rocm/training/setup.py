"""Everything that a run needs before its first update, built from its settings."""

import platform
import subprocess
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rocm.algorithms.advantages import PromptStatistics
from rocm.algorithms.divergences import Penalty
from rocm.algorithms.dpok import Value
from rocm.config import RunConfig
from rocm.distributed import ALONE, Ranks
from rocm.errors import RunError
from rocm.evaluation.metrics import Evaluation, draw_and_score, summarise
from rocm.generation.draw import Sampling
from rocm.models.compiled_blocks import compile_blocks, networks_in
from rocm.models.consistency import ConsistencyModel, load_model, resolve_device
from rocm.models.ddim import load_diffusion
from rocm.models.files import find_model
from rocm.models.flat_lora import FlatAdamW, Lender, make_lean_lora
from rocm.models.lora import NAME, add_adapter, load_adapter
from rocm.models.pipelines import order_channels
from rocm.models.tiny_decoder import load_decoder
from rocm.prompts.split import PromptSet, prompts_of
from rocm.rewards.base import Mixture, Reward, Scale
from rocm.rewards.load import load_rewards
from rocm.rewards.names import check_gradient, parse_mixture, tracked
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.training.checkpoint import Critic, Learner
from rocm.training.memory import Economy, plan_memory
from rocm.training.preferences import BASE, Preference, load_preferences
from rocm.training.preflight import check_compiler, check_precision, check_recording

PACKAGES = ("torch", "diffusers", "transformers", "peft", "safetensors")
EVALUATION_BATCH = 8


@dataclass(frozen=True)
class Setup:
    """The parts of a run.

    Attributes:
        config: the settings.
        model: with adapter.
        learner: adapter parameters and optimiser.
        prompts: to train and to evaluate on.
        weights: of the trained rewards, by name.
        rewards: every reward that is trained, tracked or judging, by name.
        preferences: of the table that is trained on; empty without one.
        arms: name in the U-Net of each adapter of that table, by folder.
        economy: how memory is spent; it steps down when the memory is full.
        decoder: of what is trained on, where it is not the model's own.
        texts: features (1, L, D) of prompts that were seen, the oldest first.
        recorded: the update that is repeated, by what it depends on; see `training.graph`.
        ranks: the processes that share the run; the settings are this one's.
    """

    config: RunConfig
    model: ConsistencyModel
    learner: Learner
    prompts: PromptSet
    weights: dict[str, float]
    rewards: dict[str, Reward]
    preferences: tuple[Preference, ...] = ()
    arms: dict[str, str] = field(default_factory=dict)
    economy: Economy = field(default_factory=Economy)
    decoder: Callable[[Tensor], Tensor] | None = None
    texts: dict[str, Tensor] = field(default_factory=dict)
    recorded: dict[Any, Any] = field(default_factory=dict)
    ranks: Ranks = ALONE

    @property
    def penalty(self) -> Penalty:
        """How policy and reference are compared."""
        config = self.config
        return Penalty(
            beta=config.beta,
            divergence=config.divergence,
            reduction=config.reduction,
            last_step=config.last_step,
            sigma_floor=config.sigma_floor,
            ref_grad=config.ref_grad,
            js_samples=config.js_samples if config.js_estimator == "sampled" else 0,
        )

    def mixture(self, scales: dict[str, Scale]) -> Mixture:
        """The trained reward, given the base model's mean and deviation by name."""
        raw = Scale(0.0, 1.0)
        chosen = {name: scales[name] if self.config.standardize else raw for name in self.weights}
        return Mixture(self.rewards, self.weights, chosen)

    def evaluate(self) -> Evaluation:
        """Draw the evaluation prompts with their fixed noise and score them, in all processes."""
        config = self.config
        sampling = Sampling(
            config.num_inference_steps, config.guidance_scale, config.grid, EVALUATION_BATCH
        )
        seeds = self.ranks.share(len(self.prompts.evaluation))
        prompts = [self.prompts.evaluation[seed] for seed in seeds]
        # Blocks are compiled for updates only: other batches would be compiled anew.
        is_compiled = config.compile_blocks
        with torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
            own = draw_and_score(self.model, prompts, seeds, self.rewards, sampling)
        return summarise(self.ranks.gather(own))


def set_up(config: RunConfig, measured: Sequence[str] = (), ranks: Ranks = ALONE) -> Setup:
    """Load the model and rewards, add the adapter, read the prompts.

    Args:
        config: the settings.
        measured: rewards that a resumed run has measured so far; what else has become usable
            since is left out, for the base model has no value of it.
        ranks: the processes that share the run.

    Returns:
        The parts.

    Raises:
        ConfigError: a setting does not fit the model, the rewards or the machine, or a reward has
            no gradient and the algorithm needs one.
        MissingFile: a model, reward or prompt file is missing.
    """
    config = ranks.local(config)
    weights = parse_mixture(config.reward)
    check_gradient(weights, config.algorithm)
    _check_machine(config, resolve_device(config.device), ranks.size)
    prompts = prompts_of(config)
    preferences: tuple[Preference, ...] = ()
    if config.preferences:
        preferences = load_preferences(config.preferences, prompts.evaluation)
    load = load_diffusion if config.sampler == "ddim" else load_model
    model = load(config.model, config.device, config.precision)
    others = measured or tracked(config.track, config.reward, config.model)
    names = dict.fromkeys(filter(None, [*weights, *others, config.judge]))
    rewards = load_rewards(names, model.device)
    return replace(prepare(config, model, rewards, prompts, preferences), ranks=ranks)


def prepare(
    config: RunConfig,
    model: ConsistencyModel,
    rewards: dict[str, Reward],
    prompts: PromptSet,
    preferences: tuple[Preference, ...] = (),
) -> Setup:
    """Add adapter and optimiser to what was loaded; raises as `set_up`.

    Args:
        config: the settings.
        model: without adapter.
        rewards: by name, the trained ones among them.
        prompts: to train and to evaluate on.
        preferences: of the table that is trained on.

    Returns:
        The parts.
    """
    check_compiler(config)
    _check_machine(config, model.device)
    weights, targets = parse_mixture(config.reward), _split(config.lora_targets)
    if config.channels_last != "auto":
        order_channels(model.pipeline, config.channels_last == "on")
    parameters = add_adapter(
        model.pipeline.unet, config.lora_rank, config.lora_alpha, targets, config.seed
    )
    if config.flat_lora:
        make_lean_lora(model.pipeline.unet)
    economy = plan_memory(model, config)
    model = replace(
        model,
        use_checkpointing=economy.checkpointing,
        reference_batch=config.reference_batch,
    )
    if config.compile_blocks:
        trained = (network for name in weights for network in networks_in(rewards[name]))
        compile_blocks([model.pipeline.unet, model.pipeline.vae, *trained])
    kind = FlatAdamW if config.flat_lora else torch.optim.AdamW
    optimizer = kind(
        parameters,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
    )
    if isinstance(optimizer, FlatAdamW) and model.dtype != torch.float32:
        model = replace(model, lender=Lender(model.pipeline.unet, optimizer, model.dtype))
    scaler = torch.amp.GradScaler(model.device.type, enabled=config.precision == "fp16")
    statistics = PromptStatistics(config.prompt_window, config.prompt_min_count)
    learner = Learner(parameters, optimizer, scaler, statistics, _critic(config, model))
    return Setup(
        config,
        model,
        learner,
        prompts,
        weights,
        rewards,
        preferences,
        _load_arms(model, preferences),
        economy,
        _decoder(config, model),
    )


def _check_machine(config: RunConfig, device: torch.device, num_processes: int = 1) -> None:
    is_cuda = device.type == "cuda"
    version = torch.cuda.get_device_capability() if is_cuda else None
    check_precision(config, float("{}.{}".format(*version)) if version else None)
    check_recording(config, is_cuda, num_processes)


def _decoder(config: RunConfig, model: ConsistencyModel) -> Callable[[Tensor], Tensor] | None:
    """The tiny decoder that the settings name, in the number format of the model's own."""
    if not config.decoder:
        return None
    return load_decoder(
        config.decoder, model.device, model.pipeline.vae.dtype, model.latent_shape[0]
    )


def _critic(config: RunConfig, model: ConsistencyModel) -> Critic | None:
    """DPOK's value and its optimiser, from the run's seed."""
    if config.algorithm != "dpok":
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        value = Value(model.latent_shape[0], model.pipeline.unet.config.cross_attention_dim)
    value.to(model.device)
    return Critic(value, torch.optim.Adam(value.parameters(), lr=config.value_learning_rate))


def _load_arms(model: ConsistencyModel, preferences: Sequence[Preference]) -> dict[str, str]:
    """Load the adapters that drew a table's pictures beside the trained one."""
    folders = {arm for row in preferences for arm in (row.winner, row.loser)} - {BASE}
    arms = {folder: f"arm_{number}" for number, folder in enumerate(sorted(folders))}
    for folder, name in arms.items():
        load_adapter(model.pipeline, Path(folder), name)
    if arms:
        model.pipeline.unet.set_adapter(NAME)
    return arms


def describe(setup: Setup, start: Evaluation) -> dict[str, Any]:
    """The manifest: versions, hashes and the base model's figures at step 0.

    Args:
        setup: of the run.
        start: evaluation of the untouched model.

    Returns:
        Plain data for manifest.json.
    """
    mixture = setup.mixture({name: start.scale(name) for name in setup.weights})
    trained = mixture.combine({name: start.scores[name] for name in setup.weights})
    scales = {name: start.scale(name) for name in start.scores}
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "git_revision": _git_revision(),
        "seed": setup.config.seed,
        "model_revisions": find_model(setup.config.model).revisions,
        "model_note": setup.model.note,
        "prompts_sha256": setup.prompts.sha256,
        "prompts_revision": setup.prompts.revision,
        "device": str(setup.model.device),
        "num_processes": setup.ranks.size,
        "use_checkpointing": setup.model.use_checkpointing,
        "lean_layers": setup.economy.lean,
        "base_reward": {"mean": trained.mean().item(), "deviation": trained.std().item()},
        "base_scores": {
            name: {"mean": scale.mean, "deviation": scale.deviation}
            for name, scale in scales.items()
        },
        "base_statistics": start.statistics,
        "base_values": {name: values.tolist() for name, values in start.scores.items()},
    }


def recall_start(run: RunDir) -> Evaluation:
    """Step 0's evaluation, without its pictures, from a run's manifest."""
    manifest = run.manifest()
    if "base_values" not in manifest or "base_statistics" not in manifest:
        raise RunError(
            f"{run.path / 'manifest.json'} lacks the base model's scores, which a resumed run is "
            "compared with. Start a new run."
        )
    scores = {name: torch.tensor(values) for name, values in manifest["base_values"].items()}
    return Evaluation(torch.empty(0), scores, manifest["base_statistics"])


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _git_revision() -> str:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()

"""The parts of a run, built from its settings before the first update."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rocm.algorithms.advantages import PromptStatistics
from rocm.algorithms.budget import Budget
from rocm.algorithms.divergences import Penalty
from rocm.algorithms.dpok import Value
from rocm.algorithms.schedule import Step
from rocm.config import RunConfig
from rocm.config.objective import AUTO
from rocm.distributed import ALONE, Ranks
from rocm.evaluation.metrics import Evaluation, Scored, draw_and_score, summarize
from rocm.generation.draw import Sampling
from rocm.models.compiled_blocks import compile_blocks, networks_in
from rocm.models.consistency import ConsistencyModel, resolve_device
from rocm.models.flat_lora import FlatAdamW, Lender, make_lean_lora
from rocm.models.load import LOADERS
from rocm.models.lora import NAME, add_adapter, load_adapter, scaled
from rocm.models.pipelines import order_channels
from rocm.models.tiny_decoder import load_decoder
from rocm.prompts.split import PromptSet, prompts_of
from rocm.rewards.base import RAW, Mixture, Reward, Scale
from rocm.rewards.load import load_rewards, probe_rewards
from rocm.rewards.names import TASTE, audited, check_gradient, check_reward, parse_mixture, tracked
from rocm.rewards.preference_files import check_base
from rocm.rewards.user_files import user_copies
from rocm.runs.run_dir import RunDir
from rocm.training.beta_control import BetaControl
from rocm.training.checkpoint import Critic, Learner
from rocm.training.memory import Economy, plan_memory
from rocm.training.preferences import BASE, Preference, load_preferences
from rocm.training.preflight import check_compiler, check_precision, check_recording

EVALUATION_BATCH = 8


@dataclass(frozen=True)
class TrainingData:
    """Prompts, or pairs of pictures, to train on; `adapters` are names in the U-Net by folder."""

    prompts: PromptSet
    preferences: tuple[Preference, ...] = ()
    adapters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RewardSet:
    """Every reward that is trained, tracked or judging, and the weights of the trained ones."""

    by_name: dict[str, Reward]
    weights: dict[str, float]
    standardize: bool = True

    def mixture(self, scales: Mapping[str, Scale] | None = None) -> Mixture:
        """The trained reward, with the base model's scales by name; raw values without them."""
        if scales is None or not self.standardize:
            scales = dict.fromkeys(self.weights, RAW)
        return Mixture(self.by_name, self.weights, {name: scales[name] for name in self.weights})


@dataclass(frozen=True)
class Execution:
    """The way updates are computed; their results stay the same.

    `decoder` is a tiny one of the trained pictures, None for the model's own; `recorded` the
    recorded update by what it depends on, see `rocm.training.cuda_graph`.
    """

    economy: Economy = field(default_factory=Economy)
    decoder: Callable[[Tensor], Tensor] | None = None
    recorded: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """The parts of a run in this process, whose share of an update `config` describes."""

    config: RunConfig
    model: ConsistencyModel
    learner: Learner
    data: TrainingData
    rewards: RewardSet
    execution: Execution = field(default_factory=Execution)
    ranks: Ranks = ALONE

    @property
    def schedule(self) -> tuple[Step, ...]:
        """The N steps of the chain."""
        return self.model.schedule(self.config.num_inference_steps, self.config.grid)

    @property
    def penalty(self) -> Penalty:
        """How policy and reference are compared."""
        config, control = self.config, self.learner.control
        return Penalty(
            beta=float(config.beta) if control is None else 1.0,
            live_beta=None if control is None else control.budget.beta,
            divergence=config.divergence,
            reduction=config.reduction,
            last_step=config.last_step,
            sigma_floor=config.sigma_floor,
            ref_grad=config.ref_grad,
            js_samples=config.js_samples if config.js_estimator == "sampled" else 0,
        )

    def evaluate(self, strength: float = 1.0) -> Evaluation:
        """Draw the evaluation prompts with their fixed noise and score them, in all processes.

        `strength` is a factor of the adapter's update.
        """
        evaluated = self.data.prompts.evaluation
        seeds = self.ranks.share(len(evaluated))
        prompts = [evaluated[seed] for seed in seeds]
        with scaled(self.model.pipeline.unet, strength):
            return summarize(self.scored(prompts, seeds, self.rewards.by_name))

    def scored(
        self, prompts: Sequence[str], seeds: Sequence[int], rewards: dict[str, Reward]
    ) -> list[Scored]:
        """Draw and score this process's pictures; returns those of every process, by rank."""
        config = self.config
        sampling = Sampling(
            config.num_inference_steps, config.guidance_scale, config.grid, EVALUATION_BATCH
        )
        # Blocks are compiled for updates only: other batches would be compiled anew.
        is_compiled = config.compile_blocks
        with torch.compiler.set_stance("force_eager") if is_compiled else nullcontext():
            own = draw_and_score(self.model, prompts, seeds, rewards, sampling)
        return self.ranks.gather(own)


def set_up(
    config: RunConfig, measured: Sequence[str] = (), ranks: Ranks = ALONE, run: RunDir | None = None
) -> Setup:
    """Load the model and rewards, add the adapter, read the prompts.

    `measured` are rewards that a resumed run has measured so far; others that have become usable
    since are left out, because the base model has no value of them. `run` keeps copies of the
    user's reward files, and preferences may name runs beside it. Raises `ConfigError` if a setting
    does not fit the model, the rewards or the machine, `MissingFile` without a model, reward or
    prompt file.
    """
    config = ranks.local(config)
    weights = parse_mixture(config.reward)
    check_gradient(weights, config.method)
    check_base(weights, config.model)
    _check_machine(config, resolve_device(config.device), ranks.size)
    prompts = prompts_of(config)
    runs, copies = (run.path.parent, user_copies(run.rewards_dir)) if run else (None, None)
    preferences: tuple[Preference, ...] = ()
    if config.preferences:
        preferences = load_preferences(config.preferences, prompts.evaluation, runs)
    model = LOADERS[config.sampler](config.model, config.device, config.precision)
    others = measured or tracked(config)
    if TASTE in (*weights, config.judge):
        check_reward(TASTE)  # refuses
    names = dict.fromkeys(filter(None, [*weights, *others, config.judge, audited(config)]))
    rewards = load_rewards(names, model.device, copies)
    return replace(prepare(config, model, rewards, prompts, preferences), ranks=ranks)


def prepare(
    config: RunConfig,
    model: ConsistencyModel,
    rewards: dict[str, Reward],
    prompts: PromptSet,
    preferences: tuple[Preference, ...] = (),
) -> Setup:
    """Add adapter and optimizer to a loaded model without adapter; raises as `set_up`."""
    check_compiler(config)
    _check_machine(config, model.device)
    weights = parse_mixture(config.reward)
    targets = [part.strip() for part in config.lora_targets.split(",") if part.strip()]
    own = [rewards[name] for name in weights]
    blind = probe_rewards(own, model.device, model.picture_size)
    check_gradient(weights, config.method, blind)
    if config.channels_last != "auto":
        order_channels(model.pipeline, config.channels_last == "on")
    parameters = add_adapter(
        model.pipeline.unet, config.lora_rank, config.lora_alpha, targets, config.seed
    )
    if config.flat_lora:
        make_lean_lora(model.pipeline.unet)
    economy = plan_memory(model, config)
    model = replace(
        model, use_checkpointing=economy.checkpointing, reference_batch=config.reference_batch
    )
    if config.compile_blocks:
        trained = (network for reward in own for network in networks_in(reward))
        compile_blocks([model.pipeline.unet, model.pipeline.vae, *trained])
    learner = _learner(config, model, parameters)
    if isinstance(learner.optimizer, FlatAdamW) and model.dtype != torch.float32:
        lender = Lender(model.pipeline.unet, learner.optimizer, model.dtype)
        model = replace(model, lender=lender)
    decoder = None
    if config.decoder:
        dtype, channels = model.pipeline.vae.dtype, model.latent_shape[0]
        decoder = load_decoder(config.decoder, model.device, dtype, channels)
    return Setup(
        config,
        model,
        learner,
        TrainingData(prompts, preferences, _load_adapters(model, preferences)),
        RewardSet(rewards, weights, config.standardize),
        Execution(economy, decoder),
    )


def _learner(
    config: RunConfig, model: ConsistencyModel, parameters: list[torch.nn.Parameter]
) -> Learner:
    kind = FlatAdamW if config.flat_lora else torch.optim.AdamW
    optimizer = kind(
        parameters,
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
    )
    scaler = torch.amp.GradScaler(model.device.type, enabled=config.precision == "fp16")
    statistics = PromptStatistics(config.prompt_window, config.prompt_min_count)
    control = BetaControl(Budget(config.kl_budget)) if config.beta == AUTO else None
    critic = _critic(config, model)
    learner = Learner(parameters, optimizer, scaler, statistics, critic, control)
    if control is not None and config.is_judge_steering:
        control.clean = learner.snapshot()
    return learner


def _check_machine(config: RunConfig, device: torch.device, num_processes: int = 1) -> None:
    is_cuda = device.type == "cuda"
    version = torch.cuda.get_device_capability() if is_cuda else None
    check_precision(config, float("{}.{}".format(*version)) if version else None)
    check_recording(config, is_cuda, num_processes)


def _critic(config: RunConfig, model: ConsistencyModel) -> Critic | None:
    """DPOK's value and its optimizer, from the run's seed."""
    if not config.method.has_value:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        value = Value(model.latent_shape[0], model.pipeline.unet.config.cross_attention_dim)
    value.to(model.device)
    return Critic(value, torch.optim.Adam(value.parameters(), lr=config.value_learning_rate))


def _load_adapters(model: ConsistencyModel, preferences: Sequence[Preference]) -> dict[str, str]:
    """Load the adapters that drew a table's pictures; returns their names in the U-Net."""
    folders = {folder for row in preferences for folder in (row.winner, row.loser)} - {BASE}
    names = {folder: f"arm_{number}" for number, folder in enumerate(sorted(folders))}
    for folder, name in names.items():
        load_adapter(model.pipeline, Path(folder), name)
    if names:
        model.pipeline.unet.set_adapter(NAME)
    return names

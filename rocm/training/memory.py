"""Whether a training step fits into memory, judged by what autograd really keeps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rocm.config import RunConfig
from rocm.errors import ConfigError
from rocm.models.consistency import ConsistencyModel
from rocm.models.memory import free_bytes, total_bytes
from rocm.training.checkpoint import Learner

SHARE_OF_FREE = 0.8


@dataclass
class Economy:
    """Use of memory by updates. When it is full, a way to need less is chosen for good.

    A batch is divided into `parts` micro-batches; `decode_batch` None is as in `RunConfig`;
    `sentences` are messages by kind, until the loop has written them down.
    """

    lean: bool = False
    checkpointing: bool = False
    decode_batch: int | None = None
    parts: int = 1
    sentences: dict[str, str] = field(default_factory=dict)

    def settings(self, config: RunConfig) -> RunConfig:
        """The settings of a run in smaller micro-batches; raises `ConfigError` as they do."""
        batch, pieces = config.batch_size // self.parts, config.gradient_accumulation * self.parts
        decoded = config.decode_batch if self.decode_batch is None else self.decode_batch
        sizes = {"batch_size": batch, "gradient_accumulation": pieces, "decode_batch": decoded}
        if sizes.items() <= config.model_dump().items():
            return config
        return RunConfig.load(config.model_dump(), **sizes)

    def join(self, model: ConsistencyModel, others: "Sequence[Economy]") -> None:
        """Be as sparing as the most sparing of the processes that share a run."""
        if not self.lean and any(other.lean for other in others):
            model.make_lean()
            self.lean = True
        self.checkpointing = any(other.checkpointing for other in others)

    def step_down(self, model: ConsistencyModel, config: RunConfig) -> bool:
        """Need less memory from now on; False if the settings allow nothing more."""
        if not self.lean and config.lean_layers == "auto":
            model.make_lean()
            self.lean, self.decode_batch = True, 1
            self._say(
                "lean",
                "frozen layers keep only what backward needs, and pictures are decoded and scored "
                "one at a time (lean_layers=on, decode_batch=1)",
            )
        elif not self.checkpointing and config.gradient_checkpointing == "auto":
            self.checkpointing, self.decode_batch = True, 1
            self._say(
                "checkpointing",
                "network passes are computed again in backward (gradient_checkpointing=on, "
                "decode_batch=1), which is slower",
            )
        else:
            return self._divide(config)
        return True

    def _divide(self, config: RunConfig) -> bool:
        for parts in range(self.parts + 1, config.batch_size + 1):
            if config.batch_size % parts:
                continue
            try:
                smaller = replace(self, parts=parts).settings(config)
            except ConfigError:  # the algorithm compares the pictures of a batch
                continue
            self.parts = parts
            self._say(
                "batches",
                f"an update takes its pictures in smaller parts (batch_size={smaller.batch_size}, "
                f"gradient_accumulation={smaller.gradient_accumulation})",
            )
            return True
        return False

    def _say(self, kind: str, saving: str) -> None:
        self.sentences[f"memory-{kind}"] = (
            f"The memory was full. From here on {saving}; the result is the same."
        )


def full_memory(
    model: ConsistencyModel, rewards: Mapping[str, object], learner: Learner, batch_size: int
) -> str:
    """One sentence on where the memory has gone, and what to do, when no way to save is left."""
    total = total_bytes(model.device) / 1e6
    # Not its `state_dict`, whose copies the memory has no room for.
    trained = _megabytes([learner.parameters, learner.optimizer.state, learner.critic])
    base = _megabytes(vars(model.pipeline)) - _megabytes(learner.parameters)
    judges = _megabytes(rewards)
    side, rest = model.latent_shape[-1], total - base - judges - trained
    return (
        "The memory is full, also in the most sparing way that the settings allow. Of "
        f"{total:,.0f} MB the model's weights take {base:,.0f}, the rewards' {judges:,.0f}, "
        f"adapter and optimizer {trained:,.0f}; the other {rest:,.0f}, less what other programs "
        f"use, are too few for batch_size={batch_size} with latents {side} wide. Leave "
        "lean_layers and gradient_checkpointing at auto, lower batch_size and raise "
        "gradient_accumulation, or take a smaller model or fewer rewards, and start again."
    )


def _megabytes(thing: object) -> float:
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in _tensors(thing)}.values()) / 1e6


def _tensors(thing: object) -> Iterator[Tensor]:
    """Tensors that an object of ours holds, through its modules, lists, dicts and attributes."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, torch.nn.Module):
        yield from thing.parameters()
    elif isinstance(thing, Mapping):
        for part in thing.values():
            yield from _tensors(part)
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from _tensors(part)
    elif type(thing).__module__.startswith("rocm."):
        yield from _tensors(vars(thing))


def plan_memory(model: ConsistencyModel, config: RunConfig) -> Economy:
    """The first of three ways that fits: everything kept, lean layers, and recomputation."""
    is_checkpointed = config.gradient_checkpointing == "on"
    is_lean, decode_batch = config.lean_layers == "on", None
    if config.lean_layers == "auto":
        is_lean = is_checkpointed or needs_checkpointing(model, config)
        decode_batch = 1 if is_lean else None
    if is_lean:
        model.make_lean()
    if config.gradient_checkpointing == "auto":
        is_checkpointed = needs_checkpointing(model, config, decode_batch)
    return Economy(is_lean, is_checkpointed, decode_batch)


def needs_checkpointing(
    model: ConsistencyModel, config: RunConfig, decode_batch: int | None = None
) -> bool:
    """Whether a step without recomputation would need more than 80 % of the free memory."""
    context = model.encode([""])
    state = torch.zeros((1, *model.latent_shape), device=model.device, requires_grad=True)
    timesteps = torch.zeros(1, dtype=torch.long, device=model.device)
    network = model.policy(context, config.guidance_scale)
    per_call = _saved_bytes(lambda: network(state, timesteps), model.pipeline.unet)
    per_decode = _saved_bytes(lambda: model.decode(state), model.pipeline.vae)
    has_reference_graph = config.ref_grad == "exact" and config.has_penalty
    has_reference_graph = has_reference_graph and config.method.is_backprop
    # No gradient returns to the noise, which is the first state that the reference sees.
    calls = config.num_inference_steps * (1 + has_reference_graph) - has_reference_graph
    decoded = decode_batch or config.decode_batch or config.batch_size
    needed = config.batch_size * calls * per_call + min(decoded, config.batch_size) * per_decode
    return needed > SHARE_OF_FREE * free_bytes(model.device)


def _saved_bytes(call: Callable[[], object], module: torch.nn.Module) -> int:
    # Weights are kept transposed too, which are views of what is there anyway.
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    return sum(storages.values())

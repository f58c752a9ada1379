"""ROCM's update as one CUDA graph: recorded once, then repeated with other pictures.

At a batch of one a GPU waits for its launches; a recorded update has one launch. What changes from
update to update stands in tensors that keep their place: noise, text features, learning rate, beta.
`Recording.run` is an ordinary function over them. Whether the gradient is finite is decided on the
device. What cannot be recorded is refused by `rocm.training.preflight`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rocm.algorithms.rocm import Objective, rocm_objective
from rocm.algorithms.trajectory import gradient_path
from rocm.models.consistency import Passes
from rocm.models.flat_lora import FlatAdamW
from rocm.rewards.base import Mixture
from rocm.training.batch import Batch, draw_batches, measurements, problem_of, text_features
from rocm.training.setup import Setup

NUM_REHEARSALS = 2


@dataclass(frozen=True)
class Given:
    """A batch's noise (N + 1, B, C, H, W), text features (B, L, D), and texts (B, D) by name."""

    noise: Tensor
    context: Tensor
    texts: dict[str, Tensor]

    def copy(self) -> "Given":
        """The same in other places."""
        texts = {name: values.clone() for name, values in self.texts.items()}
        return Given(self.noise.clone(), self.context.clone(), texts)

    def scored_by(self, mixture: Mixture) -> Callable[[Tensor, slice], dict[str, Tensor]]:
        """Raw values by name of pictures that are some rows of the batch."""
        return lambda images, rows: mixture.parts_of(
            images, {name: values[rows] for name, values in self.texts.items()}
        )

    def tensors(self) -> list[Tensor]:
        """All of them, in a fixed order."""
        return [self.noise, self.context, *(self.texts[name] for name in sorted(self.texts))]


@dataclass(frozen=True)
class Measured:
    """Measurements on the device: objectives and scores of each batch, and the norm (0-d)."""

    objectives: list[Objective]
    scores: list[dict[str, Tensor]]
    grad_norm: Tensor


class Recording:
    """One update over tensors that keep their place; `is_rehearsal` 1 changes no weights."""

    def __init__(self, setup: Setup, mixture: Mixture, given: Sequence[Given]):
        """Allocate places for what each batch is given; the adapter is one vector."""
        config, model = setup.config, setup.model
        self._setup, self._optimizer = setup, _on_device(setup.learner.optimizer)
        self._given = [batch.copy() for batch in given]
        numbers = (torch.zeros((), device=model.device) for _ in range(3))
        self.lr, self.beta, self.is_rehearsal = numbers
        self._penalty = replace(setup.penalty, live_beta=self.beta)
        num = config.num_inference_steps
        self._schedule = setup.schedule
        self._path = gradient_path(config.backprop, num, config.backprop_steps)
        self._scores: list[dict[str, Tensor]] = [{} for _ in given]
        self._problems = [
            problem_of(setup, mixture, place.context, place.scored_by(mixture), scores)
            for place, scores in zip(self._given, self._scores, strict=True)
        ]
        self._recorded: tuple[torch.cuda.CUDAGraph, Measured] | None = None
        self._passes = Passes()

    def fill(self, given: Sequence[Given], lr: float, beta: float | Tensor) -> None:
        """Put the next update's tensors and numbers in their places; shapes are those of before."""
        for place, own in zip(self._given, given, strict=True):
            for target, source in zip(place.tensors(), own.tensors(), strict=True):
                target.copy_(source)
        self.lr.fill_(lr)
        self.beta.fill_(beta)

    def run(self) -> Measured:
        """Do the update; nothing is read out, so that a graph can record it."""
        self._optimizer.zero_grad()
        objectives = []
        for problem, given in zip(self._problems, self._given, strict=True):
            noise = given.noise[: len(self._schedule)]
            objective = rocm_objective(problem, noise, self._schedule, self._path, self._penalty)
            (objective.loss / len(self._problems)).backward()
            objectives.append(replace(objective, loss=objective.loss.detach()))
        return Measured(objectives, [dict(scores) for scores in self._scores], self._descend())

    def repeat(self) -> Measured:
        """Do the update as a CUDA graph, which is recorded the first time."""
        passes = self._setup.model.passes
        before = replace(passes)
        if self._recorded is None:
            self._recorded = self._record()
        graph, measured = self._recorded
        passes.forward = before.forward + self._passes.forward
        passes.backward = before.backward + self._passes.backward
        graph.replay()
        return measured

    def _record(self) -> tuple[torch.cuda.CUDAGraph, Measured]:
        device, passes = self._setup.model.device, self._setup.model.passes
        # Rehearsed and recorded on one stream: gradients are accumulated where they first were.
        stream = torch.cuda.Stream(device)
        self.is_rehearsal.fill_(1)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(NUM_REHEARSALS):
                self.run()
        torch.cuda.current_stream(device).wait_stream(stream)
        self.is_rehearsal.fill_(0)
        before, graph = replace(passes), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            measured = self.run()
        forward = passes.forward - before.forward
        self._passes = Passes(forward, passes.backward - before.backward)
        return graph, measured

    def _descend(self) -> Tensor:
        """Clip, and one step of the optimizer where the gradient is finite; returns the norm."""
        optimizer, config = self._optimizer, self._setup.config
        norm = torch.nn.utils.clip_grad_norm_([optimizer.vector], config.max_grad_norm)
        # Fused AdamW changes nothing where this is 1, the count of its steps included.
        optimizer.found_inf = torch.maximum(self.is_rehearsal, (~norm.isfinite()).float())
        (group,) = optimizer.param_groups
        lr, group["lr"] = group["lr"], self.lr
        try:
            optimizer.step()
        finally:
            group["lr"], optimizer.found_inf = lr, None
        return norm


def recorded_update(setup: Setup, mixture: Mixture, step: int) -> dict[str, float]:
    """Update `step` (from 1) by a recording, made anew when what it depends on has changed."""
    config, recorded = setup.config, setup.execution.recorded
    given = [_given(setup, mixture, batch) for batch in draw_batches(setup, step)]
    # Without a divergence nothing of it is computed.
    settings = config.model_copy(update={"beta": float(config.has_penalty)})
    way = (
        setup.model.use_checkpointing,
        setup.execution.economy.lean,
        tuple(mixture.scales.items()),
    )
    if (settings, way) not in recorded:
        recorded.clear()
        recorded[settings, way] = Recording(setup, mixture, given)
    recording = recorded[settings, way]
    recording.fill(given, setup.learner.optimizer.param_groups[0]["lr"], setup.penalty.weight)
    measured = recording.repeat()
    objectives, num = measured.objectives, config.num_inference_steps
    rewards = [objective.rewards for objective in objectives]
    return measurements(rewards, measured.scores, objectives, num) | {
        "reward_queries": sum(map(len, rewards)),
        "grad_norm": measured.grad_norm.item(),
    }


def _given(setup: Setup, mixture: Mixture, batch: Batch) -> Given:
    texts = mixture.texts(batch.prompts)
    return Given(batch.noise, text_features(setup, batch.prompts), texts)


def _on_device(optimizer: torch.optim.Optimizer) -> FlatAdamW:
    """The same optimizer, fused: it takes its learning rate and its count from the device."""
    assert isinstance(optimizer, FlatAdamW), "preflight asks for flat_lora"
    (group,) = optimizer.param_groups
    group.update(fused=True, foreach=False, capturable=True)
    for state in optimizer.state.values():
        state["step"] = state["step"].to(optimizer.vector.device, torch.float32)
    return optimizer

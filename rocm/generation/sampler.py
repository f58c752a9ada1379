"""Models and adapters that stay loaded, and pictures drawn with them.

The command line, the drawing process and whoever compares adapters draw through `Sampler`, so the
same settings give the same picture everywhere.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from rocm.distributed import ALONE, Ranks
from rocm.errors import ConfigError, DrawingError
from rocm.generation.draw import Sampling, draw, draw_with_divergence
from rocm.generation.picture import Picture
from rocm.models.consistency import ConsistencyModel, load_model, resolve_device
from rocm.models.files import ModelFiles, find_model
from rocm.models.lora import WEIGHTS, adapter_off, load_adapter
from rocm.models.memory import is_memory_full
from rocm.rewards.base import Reward, limit_pixels
from rocm.rewards.color import PixelReward, color_entropy, contrast, edge_density
from rocm.rewards.load import load_rewards
from rocm.rewards.names import KL, OFFICIAL
from rocm.rewards.official import OfficialReward
from rocm.rewards.preprocess import to_pil
from rocm.storage.paths import ROOT

MAX_MODELS = 2
MAX_ADAPTERS = 8
SMALL_LATENT = 32 * 32
SMALL_BATCH = 8
MEASURES = {"contrast": contrast, "edge_density": edge_density, "color_entropy": color_entropy}


@dataclass(frozen=True)
class Drawn:
    """A drawn picture: its index in the request, the image, and raw rewards by name."""

    index: int
    image: Image.Image
    scores: dict[str, float]


@dataclass
class Loaded:
    """A model and the names of its adapters by (file, time of last change), oldest first."""

    model: ConsistencyModel
    adapters: OrderedDict[tuple[Path, int], str]


class Sampler:
    """Draws pictures; keeps the models, adapters and rewards used last."""

    def __init__(self, device: str = "auto"):
        """Load nothing yet; `device` is `auto`, `cpu` or `cuda`."""
        self._device = device
        self._models: OrderedDict[ModelFiles, Loaded] = OrderedDict()
        self._rewards: dict[str, Reward] = {}
        self._names = (f"adapter_{number}" for number in count())

    def draw(
        self, pictures: Sequence[Picture], rewards: Sequence[str] = (), ranks: Ranks = ALONE
    ) -> Iterator[Drawn]:
        """Draw checked pictures in batches of equal settings, in turn: arms come side by side.

        Each is measured with `rewards`: rewards, `MEASURES`, and `kl_nats`, the divergence from the
        model without adapter. The S processes of `ranks` draw every S-th batch each; pictures are
        those of a single process, bit for bit. RocmError if a model or adapter is missing, damaged
        or does not fit, or the memory is full.
        """
        batches = self._batches(pictures)
        while group := list(islice(batches, ranks.size)):
            own = group[ranks.rank : ranks.rank + 1]
            results = [result for each in own for result in self._drawn(pictures, each, rewards)]
            for drawn in ranks.gather(results):
                yield from drawn

    def _batches(self, pictures: Sequence[Picture]) -> Iterator[list[int]]:
        """Indices of the pictures of each batch."""
        batches: dict[tuple[object, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            batches.setdefault(picture.batch_key, []).append(index)
        by_model: dict[str, list[list[int]]] = {}
        for indices in batches.values():
            by_model.setdefault(pictures[indices[0]].model, []).append(indices)
        for name, arms in by_model.items():
            _, height, width = self._model(name).model.latent_shape
            size = SMALL_BATCH if height * width <= SMALL_LATENT else 1
            # No more arms at a time than stay loaded together.
            for first in range(0, len(arms), MAX_ADAPTERS):
                yield from _in_turns(arms[first : first + MAX_ADAPTERS], size)

    def _drawn(
        self, pictures: Sequence[Picture], indices: Sequence[int], rewards: Sequence[str]
    ) -> list[Drawn]:
        try:
            return list(self._draw_batch(pictures, indices, rewards))
        except RuntimeError as error:
            if not is_memory_full(error):
                raise
            self._models.clear()
            self._rewards.clear()
            raise DrawingError(
                f"The memory is full (device {resolve_device(self._device)}). Loaded models were "
                "released. Draw again with fewer rewards or a smaller model, or when no run is "
                "training."
            ) from error

    def _draw_batch(
        self, pictures: Sequence[Picture], indices: Sequence[int], rewards: Sequence[str]
    ) -> Iterator[Drawn]:
        first = pictures[indices[0]]
        loaded = self._model(first.model)
        model, unet = loaded.model, loaded.model.pipeline.unet
        if first.adapter:
            name = self._adapter(first.model, loaded, ROOT / os.path.expanduser(first.adapter))
            unet.set_adapters([name], [first.adapter_strength])
        sampling = Sampling(
            first.num_inference_steps, first.guidance_scale, first.grid, len(indices)
        )
        prompts = [pictures[index].prompt for index in indices]
        seeds = [pictures[index].seed for index in indices]
        with nullcontext() if first.adapter else adapter_off(unet):
            if first.adapter and KL in rewards:
                ((images, kl),) = draw_with_divergence(model, prompts, seeds, sampling)
            else:  # of the reference itself, whose divergence is 0
                (images,) = draw(model, prompts, seeds, sampling)
                kl = images.new_zeros(len(images))
        scores = self._scores(images, prompts, rewards) | ({KL: kl} if KL in rewards else {})
        for row, index in enumerate(indices):
            measured = {name: values[row].item() for name, values in scores.items()}
            yield Drawn(index, to_pil(images[row]), measured)

    @torch.no_grad()
    def _scores(
        self, images: Tensor, prompts: Sequence[str], names: Sequence[str]
    ) -> dict[str, Tensor]:
        wanted, device = [name for name in names if name != KL], resolve_device(self._device)
        for name in wanted:
            if name not in self._rewards:
                self._rewards[name] = _load(name, device)
        limited = limit_pixels(images).to(device)
        return {name: self._rewards[name](limited, prompts) for name in wanted}

    def _model(self, name: str) -> Loaded:
        files = find_model(name)
        if files not in self._models:
            while len(self._models) >= MAX_MODELS:
                self._models.popitem(last=False)
            self._models[files] = Loaded(load_model(name, self._device), OrderedDict())
        self._models.move_to_end(files)
        return self._models[files]

    def _adapter(self, model: str, loaded: Loaded, folder: Path) -> str:
        """The adapter's name in the U-Net; a file changed since is loaded again."""
        file = folder / WEIGHTS
        key = (file.resolve(), file.stat().st_mtime_ns if os.path.isfile(file) else 0)
        if key not in loaded.adapters:
            while len(loaded.adapters) >= MAX_ADAPTERS:
                loaded.model.pipeline.delete_adapters(loaded.adapters.popitem(last=False)[1])
            name = next(self._names)
            try:
                load_adapter(loaded.model.pipeline, folder, name)
            except ConfigError:
                # Half of it may hang in the U-Net now: the model is loaded afresh next time.
                del self._models[find_model(model)]
                raise
            loaded.adapters[key] = name
        loaded.adapters.move_to_end(key)
        return loaded.adapters[key]


def _in_turns(arms: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """The first `size` indices of each arm, then the next of each, and so on."""
    for start in range(0, max(map(len, arms)), size):
        yield from (list(arm[start : start + size]) for arm in arms if len(arm) > start)


def _load(name: str, device: torch.device) -> Reward:
    if name in MEASURES:
        return PixelReward(name, MEASURES[name])
    if name in OFFICIAL:
        return OfficialReward(name)
    return load_rewards([name], device)[name]

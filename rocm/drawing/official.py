"""Scores by the official packages as one more measure of a picture, beside our own computation.

The packages live in an environment of their own, whose interpreter `ROCM_REFERENCE_PYTHON` names.
They see the pictures as files of whole bytes. No gradient comes back, so nothing trains on them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from rocm.generate import to_pil
from rocm.reward_files import find_weights
from rocm.reward_names import OFFICIAL, check_measured
from rocm.rewards.reference import ReferenceError, ReferenceScorer

PREFIX = OFFICIAL[0].partition(":")[0] + ":"


class OfficialReward:
    """A published reward as its own package computes it; the process starts with the first call."""

    def __init__(self, name: str):
        """Find the files.

        Args:
            name: of `OFFICIAL`.

        Raises:
            MissingDependency: no environment of the packages is named.
            MissingFile: a file of the reward is not on this disk.
        """
        published = check_measured(name).removeprefix(PREFIX)
        self.name = name
        self._files = find_weights(published)
        self._kind = "hpsv2" if published.startswith("hpsv2") else published
        self._scorer: ReferenceScorer | None = None

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures.

        Args:
            images: (B, 3, H, W) in [0, 1], rounded to whole bytes here.
            prompts: B texts.

        Returns:
            (B,), without gradient.

        Raises:
            ReferenceError: the package refused, or its process died; the next call starts it anew.
        """
        scores = torch.zeros(len(images))
        with TemporaryDirectory() as folder:
            files = [Path(folder) / f"{index}.png" for index in range(len(images))]
            for image, file in zip(images, files, strict=True):
                to_pil(image.cpu()).save(file)
            for prompt in dict.fromkeys(prompts):  # hpsv2 reads its checkpoint at each request
                chosen = [index for index, other in enumerate(prompts) if other == prompt]
                found = self._score([files[index] for index in chosen], prompt)
                scores[chosen] = torch.tensor(found)
        return scores

    def _score(self, files: list[Path], prompt: str) -> list[float]:
        if self._scorer is None:
            self._scorer = ReferenceScorer(os.environ["ROCM_REFERENCE_PYTHON"])
        try:
            return self._scorer.score(self._kind, files, prompt, self._files)
        except ReferenceError:
            self._scorer.close()
            self._scorer = None
            raise

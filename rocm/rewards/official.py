"""Scores by the official packages hpsv2 and image-reward, which cannot be installed beside ours.

They run in an environment of their own (`python -m scripts.reference FOLDER`), whose interpreter
`ROCM_REFERENCE_PYTHON` names, behind a pipe of JSON lines. They see the pictures as files of whole
bytes. For comparison and evaluation: no gradient comes back, so nothing trains on them.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import Tensor

from rocm.errors import MissingDependency, RocmError
from rocm.rewards.files import find_weights
from rocm.rewards.names import check_measured
from rocm.rewards.preprocess import to_pil

WORKER = Path(__file__).with_name("official_worker.py")
_ADVICE = "Create the environment: python -m scripts.reference FOLDER"


class ReferenceError(RocmError):
    """The official packages refused a request or died."""


class ReferenceScorer:
    """The official packages in a process of their own; a context manager.

    Every stored score should carry the packages' `versions`.
    """

    versions: dict[str, str]

    def __init__(self, python: str):
        """Start `python` of their environment; MissingDependency if it lacks the packages."""
        self._numbers = count()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        try:
            self._process = subprocess.Popen(
                [python, "-P", str(WORKER)],  # its folder holds a clip.py, a package's name
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        except OSError as error:
            self._log.close()
            raise MissingDependency(f"{python} cannot be started ({error}). {_ADVICE}") from error
        try:
            self.versions = self._answer()["versions"]
        except ReferenceError as error:
            self.close()
            raise MissingDependency(f"{python} lacks the packages ({error}). {_ADVICE}") from error

    def score(
        self,
        scorer: str,
        images: Sequence[Path],
        prompt: str,
        files: Sequence[Path],
        gradient: Path | None = None,
    ) -> list[float]:
        """Score picture files of one prompt; hpsv2 reads its checkpoint at each call.

        `files` are as `find_weights` gives them: the checkpoint, and for BLIP's the vocabulary.
        imagereward writes the first picture's gradient (3, 224, 224) by its normalized pixels into
        `gradient`, a .npy file. Raises `ReferenceError` with the package's own words, or if the
        process died.
        """
        number = next(self._numbers)
        request = {
            "id": number,
            "scorer": scorer,
            "images": [str(path.resolve()) for path in images],
            "prompt": prompt,
            "checkpoint": str(files[0].resolve()),
            "vocabulary": str(files[-1].resolve().parent),
            "gradient": str(gradient.resolve()) if gradient else "",
        }
        assert self._process.stdin, "started with a pipe"
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError as error:
            raise ReferenceError(f"The official scorer has died: {self._last_words()}") from error
        answer = self._answer()
        assert answer["id"] == number, f"answer {answer['id']} to request {number}"
        if "error" in answer:
            raise ReferenceError(f"{scorer} of the official package failed: {answer['error']}")
        return answer["scores"]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        with suppress(BrokenPipeError):  # a request that a dead process never read
            self._process.communicate()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout, "started with a pipe"
        line = self._process.stdout.readline()
        if not line:
            raise ReferenceError(f"The official scorer has died: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["no message"])[-1]


class OfficialReward:
    """A published reward as its own package computes it; the process starts with the first call."""

    def __init__(self, name: str):
        """Find the files of a name of `OFFICIAL`; raises if packages or files are missing."""
        published = check_measured(name).partition(":")[2]
        self.name = name
        self._files = find_weights(published)
        self._kind = "hpsv2" if published.startswith("hpsv2") else published
        self._scorer: ReferenceScorer | None = None

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score B pictures (B, 3, H, W) in [0, 1], rounded to bytes here; (B,), without gradient.

        Raises `ReferenceError` if the package fails; the next call starts its process again.
        """
        scores = torch.zeros(len(images))
        with TemporaryDirectory() as folder:
            files = [Path(folder) / f"{index}.png" for index in range(len(images))]
            for image, file in zip(images, files, strict=True):
                to_pil(image.cpu()).save(file)
            for prompt in dict.fromkeys(prompts):  # hpsv2 reads its checkpoint at each request
                chosen = [index for index, other in enumerate(prompts) if other == prompt]
                values = self._score([files[index] for index in chosen], prompt)
                scores[chosen] = torch.tensor(values)
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

"""Scores by the packages hpsv2 and image-reward; runs in their own environment, as one file.

Started by `rocm.rewards.official`. The first line of the output gives the packages' versions; then
each line of the input is a request and each line of the output an answer:

    {"id", "scorer": "hpsv2|imagereward|blipscore", "checkpoint", "vocabulary", "images", "prompt",
     "gradient"}                     ->    {"id", "scores"}    or    {"id", "error"}

`vocabulary` is a folder with vocab.txt (not for hpsv2). `gradient` may name a .npy file, into which
imagereward then writes the first score's gradient by the normalized pixels.
"""

import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

# BERT-base as BLIP uses it; the packages ask for this file and would download it.
MED_CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30524,
    "encoder_width": 768,
    "add_cross_attention": True,
}


class Scorers:
    """The packages' scorers; the last one of each kind stays loaded."""

    def __init__(self, folder: Path):
        """Use the empty `folder` as working directory: `bert-base-uncased` is looked for there."""
        self.folder = folder
        self.loaded: dict[str, tuple[str, Any]] = {}
        os.chdir(folder)
        (folder / "med_config.json").write_text(json.dumps(MED_CONFIG))

    def score(self, request: dict[str, Any]) -> list[float]:
        """The scores of a request's pictures, in order."""
        images, prompt = list(request["images"]), request["prompt"]
        if request["scorer"] == "hpsv2":
            scores = self._hpsv2().score(images, prompt, request["checkpoint"])
            return [float(score) for score in scores]
        model = self._blip(request["scorer"], request["checkpoint"], request["vocabulary"])
        if request.get("gradient"):
            _write_gradient(model, images[0], prompt, request["gradient"])
        # One at a time: the packages drop the list around a single score.
        return [float(model.score(prompt, image)) for image in images]

    def _hpsv2(self) -> Any:
        from hpsv2 import img_score

        if not img_score.model_dict:
            create = img_score.create_model_and_transforms
            # Without the weights of 3.9 GB that it downloads and then overwrites by the checkpoint.
            img_score.create_model_and_transforms = lambda name, _, **rest: create(name, **rest)
            img_score.initialize_model()
        return img_score

    def _blip(self, scorer: str, checkpoint: str, vocabulary: str) -> Any:
        import torch

        if self.loaded.get(scorer, ("",))[0] == checkpoint:
            return self.loaded[scorer][1]
        link = self.folder / "bert-base-uncased"
        link.unlink(missing_ok=True)
        link.symlink_to(vocabulary)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        config = str(self.folder / "med_config.json")
        if scorer == "imagereward":
            import ImageReward

            model = ImageReward.load(checkpoint, device=device, med_config=config)
        else:
            from ImageReward.models.BLIPScore import BLIPScore

            model = BLIPScore(config, device).to(device)
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
            model.blip.load_state_dict(state, strict=False)  # as the package does
        model.eval()
        self.loaded[scorer] = (checkpoint, model)
        return model


def _write_gradient(model: Any, image: str, prompt: str, path: str) -> None:
    import numpy as np
    from PIL import Image

    pixels = model.preprocess(Image.open(image)).unsqueeze(0).to(model.device).requires_grad_()
    tokens = model.blip.tokenizer(
        prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    ).to(model.device)
    model.score_gard(tokens.input_ids, tokens.attention_mask, pixels).sum().backward()
    np.save(path, pixels.grad[0].cpu().numpy())


def serve(lines: TextIO, answers: TextIO, folder: Path) -> None:
    """Answer the requests of `lines` in `answers`; the packages find their files in `folder`."""
    scorers = Scorers(folder)
    names = ("hpsv2", "image-reward", "torch", "transformers")
    print(json.dumps({"versions": {name: version(name) for name in names}}), file=answers)
    for line in lines:
        request = json.loads(line)
        try:
            answer: dict[str, Any] = {"scores": scorers.score(request)}
        except Exception as error:  # noqa: BLE001, another's code: its failure is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": request["id"], **answer}), file=answers)


if __name__ == "__main__":
    # The packages print; only answers may reach the parent's pipe.
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as own:
        serve(sys.stdin, pipe, Path(own))

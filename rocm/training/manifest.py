"""The manifest of a run: versions, hashes and the base model's scores, which later steps use."""

import platform
import subprocess
from importlib.metadata import version
from typing import Any

import torch

from rocm.errors import RunError
from rocm.evaluation.metrics import Evaluation
from rocm.models.files import find_model
from rocm.rewards.names import audited
from rocm.rewards.preference_files import is_preference, read_preference
from rocm.rewards.user_files import user_record
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT
from rocm.training.setup import Setup

PACKAGES = ("torch", "diffusers", "transformers", "peft", "safetensors")


def describe(setup: Setup, start: Evaluation, run: RunDir) -> dict[str, Any]:
    """Plain data for manifest.json, given step 0's evaluation of the untouched model."""
    trained = setup.rewards.mixture(start.scales()).combine(start.scores)
    return {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "git_revision": _git_revision(),
        "seed": setup.config.seed,
        "model_revisions": find_model(setup.config.model).revisions,
        "model_note": setup.model.note,
        "prompts_sha256": setup.data.prompts.sha256,
        "prompts_revision": setup.data.prompts.revision,
        "judge": setup.config.judge,
        "is_judge_steering": setup.config.is_judge_steering,
        "audit": audited(setup.config),
        "reward_files": user_record(run.rewards_dir),
        "learned_rewards": {
            name: read_preference(name)[1]["sha256"]
            for name in filter(is_preference, setup.rewards.weights)
        },
        "device": str(setup.model.device),
        "num_processes": setup.ranks.size,
        "use_checkpointing": setup.model.use_checkpointing,
        "lean_layers": setup.execution.economy.lean,
        "base_reward": {"mean": trained.mean().item(), "deviation": trained.std().item()},
        "base_scores": {
            name: {"mean": scale.mean, "deviation": scale.deviation}
            for name, scale in start.scales().items()
        },
        "base_statistics": start.statistics,
        "base_values": {name: values.tolist() for name, values in start.scores.items()},
    }


def recall_start(run: RunDir) -> Evaluation:
    """Step 0's evaluation, without its pictures, from a run's manifest."""
    manifest = run.manifest()
    if "base_values" not in manifest or "base_statistics" not in manifest:
        raise RunError(
            f"{run.path / 'manifest.json'} lacks the base model's scores, which a resumed run "
            "needs. Start a new run."
        )
    scores = {name: torch.tensor(values) for name, values in manifest["base_values"].items()}
    return Evaluation(torch.empty(0), scores, manifest["base_statistics"])


def _git_revision() -> str:
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()

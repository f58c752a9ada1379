"""The adapters that ship with the project: three presets trained as they are, each with a card.

    python -m scripts.adapters --work artifacts/adapters

Finished runs are kept, so that an interrupted call goes on. Writes assets/adapters/PRESET with the
adapter in diffusers' format and README.md.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from rocm.cli.main import main as rocm
from rocm.models.lora import WEIGHTS
from rocm.runs.run_dir import RunDir
from rocm.storage.paths import ROOT

PRESETS = ("tiny-rocm-kl", "tiny-rlcm", "tiny-rocm-beta0")
ADAPTERS = ROOT / "assets" / "adapters"
CARD = """# {preset}

{description}

A LoRA adapter for assets/tiny-lcm in diffusers' format: `python -m scripts.adapters` trained the
preset {preset} for {num_steps} updates of {batch} pictures, seed {seed}.
`python -m rocm sample "a glossy emoji of a red apple" --adapter assets/adapters/{preset}`

On the {num_prompts} evaluation prompts, before and after:

| figure | base model | with the adapter |
| --- | --- | --- |
{table}

Apache-2.0, like the rest of this repository.
"""


def finished_run(work: Path, preset: str) -> RunDir:
    """The run of a preset, trained now unless it was before."""
    run = RunDir(work / preset)
    if run.status().state == "finished":
        return run
    if run.checkpoints():
        arguments = ["--resume", str(run.path)]
    else:
        arguments = [preset, "--run-dir", str(run.path)]
    if rocm(["train", *arguments]) != 0:
        raise SystemExit(f"{run.path} did not finish.")
    return run


def card(preset: str, run: RunDir) -> str:
    """The adapter's README: what it is, and its run's first and last evaluation."""
    config = run.config()
    rows: list[dict[str, Any]] = [row for row in run.metrics() if "eval/reward" in row]
    first, last = rows[0], rows[-1]
    shown = [name for name in last if name.startswith(("eval/", "heldout/"))]
    return CARD.format(
        preset=preset,
        description=config.description,
        num_steps=config.num_steps,
        batch=config.batch_size * config.gradient_accumulation,
        seed=config.seed,
        num_prompts=config.num_eval_prompts,
        table="\n".join(f"| {name} | {first[name]:.3f} | {last[name]:.3f} |" for name in shown),
    )


def main() -> None:
    """Train what is missing, and write the adapters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "artifacts" / "adapters")
    work = parser.parse_args().work
    for preset in PRESETS:
        run = finished_run(work, preset)
        target = ADAPTERS / preset
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.path / "adapter" / WEIGHTS, target / WEIGHTS)
        (target / "README.md").write_text(card(preset, run), "utf-8")
        print(target)


if __name__ == "__main__":
    main()

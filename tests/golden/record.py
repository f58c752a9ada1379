"""Golden runs: what the first updates of each algorithm's preset measure, in fp32 on a CPU.

    python -m tests.golden.record

writes runs.json anew. It changes when what an algorithm computes changes; the commit says why.
"""

import json
import tempfile
from pathlib import Path

from rocm.config import RunConfig
from rocm.runs.run_dir import RunDir
from rocm.training.loop import train

RECORDED = Path(__file__).with_name("runs.json")
PRESETS = [
    *("tiny-rocm-kl", "tiny-rlcm", "tiny-rebel", "tiny-ddpo", "tiny-d3po", "tiny-dpok"),
    *("tiny-hybrid", "tiny-alignprop", "tiny-draft-1", "tiny-draft-lv", "tiny-refl", "tiny-drtune"),
]
# Two updates: the first starts at policy == reference, the evaluation after the second shows which
# way they went. Too few for beta to tell, whose weight has tests of its own.
SMALL = {
    **{"num_steps": 2, "num_inference_steps": 2, "batch_size": 2, "track": "", "judge": ""},
    **{"num_eval_prompts": 2, "num_samples": 1, "device": "cpu", "precision": "fp32"},
}
CLOCK = ("time", "seconds", "images_per_s", "memory_mb")


def rows(preset: str, folder: Path) -> list[dict[str, float]]:
    """What a short run of the preset measures at every update, without what the clock decides."""
    config = RunConfig.load(preset).model_copy(update=SMALL)
    small = {"pictures_per_prompt": min(config.pictures_per_prompt, 2)}
    checked = RunConfig.load({**config.model_dump(), **small})
    found = [progress.row for progress in train(RunDir.create(folder, checked))]
    return [{name: row[name] for name in sorted(row) if name not in CLOCK} for row in found]


def main() -> None:
    """Record every preset."""
    with tempfile.TemporaryDirectory() as home:
        found = {preset: rows(preset, Path(home) / preset) for preset in PRESETS}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A run on a published reward: it is trained, the others that are here are held out."""

import shutil

from rocm.training.loop import train
from tests.rewards import small


def test_a_published_reward_is_trained_and_the_usable_others_are_held_out(
    new_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("ROCM_REWARDS", str(tmp_path / "weights"))
    small.write_all(tmp_path / "all")
    for folder in ("clip-vit-large-patch14", "improved-aesthetic-predictor"):
        shutil.copytree(tmp_path / "all" / folder, tmp_path / "weights" / folder)
    run = new_run("run", reward="clipscore", track="auto", num_steps=2, beta=0)
    first, *updates = [progress.row for progress in train(run)]
    held_out = {
        "clipscore",
        "aesthetic",
        "tiny-preference",
        "tiny-clip",
        "colorfulness",
        "saturation",
    }
    assert measured(first) == held_out
    assert updates[-1]["grad_norm"] > 0

    # What becomes usable later has no value at step 0 to be compared with.
    shutil.copytree(tmp_path / "all" / "PickScore_v1", tmp_path / "weights" / "PickScore_v1")
    run.extend(4)
    run.mark_waiting()
    last = [progress.row for progress in train(run, resume=True)][-1]
    assert measured(last) == held_out


def measured(row):
    return {name.removeprefix("eval/reward/") for name in row if name.startswith("eval/reward/")}

"""The fixed prompts over time: a slider through all evaluations, beside step 0."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.errors import RocmError
from rocm.runs.library import Runs
from rocm.ui.handlers import asked_by_script, scripted


class AskedStep(BaseModel):
    """The previews that the browser asks for."""

    run: str
    step: int = Field(ge=0, lt=2**53)


def previews(runs: Runs) -> gr.HTML:
    """The pictures; the value is JSON: `run`, the `steps` with pictures, and `words` for none."""

    def preview_pictures(asked: AskedStep) -> list[dict[str, Any]]:
        try:
            return pictures(runs, asked.run, asked.step)
        except (RocmError, FileNotFoundError):  # the run was deleted since the page was drawn
            return []

    return scripted("previews", [asked_by_script(AskedStep, preview_pictures)])


def pictures(runs: Runs, run_id: str, step: int) -> list[dict[str, Any]]:
    """`prompt`, `seed`, `scores` by reward, `src` (a data address) of an evaluation's pictures."""
    return [
        {
            "prompt": picture["prompt"],
            "seed": picture["seed"],
            "scores": picture.get("scores", {}),
            "src": data_address(picture["path"]),
        }
        for picture in runs.run(run_id).pictures(step)
    ]


def data_address(path: Path) -> str:
    """A picture as a data address."""
    data = b64encode(path.read_bytes()).decode()
    return f"data:image/{path.suffix[1:]};base64,{data}"

"""The fixed prompts over time: a slider through all evaluations, beside step 0."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from rocm.errors import RocmError
from rocm.storage.paths import ROOT
from rocm.studio import Services
from rocm.ui.handlers import asked_by_script

ASSETS = ROOT / "assets"


class AskedStep(BaseModel):
    """The previews that the browser asks for."""

    run: str
    step: int = Field(ge=0, lt=2**53)


def previews(services: Services) -> gr.HTML:
    """The pictures; the value is JSON: `run`, the `steps` with pictures, and `words` for none.

    Args:
        services: the runs.

    Returns:
        The component, made in the current Gradio block.
    """
    return gr.HTML(
        html_template=(ASSETS / "previews.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "previews.js").read_text(encoding="utf-8"),
        server_functions=[asked_by_script(AskedStep, _picture_server(services))],
        apply_default_css=False,
        elem_id="previews",
    )


def _picture_server(services: Services) -> Callable[[AskedStep], list[dict[str, Any]]]:
    def preview_pictures(asked: AskedStep) -> list[dict[str, Any]]:
        try:
            return pictures(services, asked.run, asked.step)
        except (RocmError, FileNotFoundError):  # the run was deleted since the page was drawn
            return []

    return preview_pictures


def pictures(services: Services, run_id: str, step: int) -> list[dict[str, Any]]:
    """The pictures of one evaluation, ready to be shown.

    Args:
        services: the runs.
        run_id: the run.
        step: updates done when they were drawn.

    Returns:
        `prompt`, `seed`, `scores` by reward, and `src`, the picture as a data address.
    """
    found = []
    for picture in services.run_pictures(run_id, step):
        found.append(
            {
                "prompt": picture["prompt"],
                "seed": picture["seed"],
                "scores": picture.get("scores", {}),
                "src": data_address(picture["path"]),
            }
        )
    return found


def data_address(path: Path) -> str:
    """A picture as an address that holds it."""
    data = b64encode(path.read_bytes()).decode()
    return f"data:image/{path.suffix[1:]};base64,{data}"

"""The parts of one setting."""

from typing import Any, Literal

from pydantic import Field
from pydantic.config import JsonDict

Group = Literal[
    "Objective", "Policy gradient", "Generation", "Optimizer", "Adapter", "Evaluation", "Machine"
]


def setting(
    group: Group, default: Any, help_text: str, *, basic: bool = False, **bounds: Any
) -> Any:
    """A field of `RunConfig`; the page always shows `basic` settings and folds the rest."""
    extra: JsonDict = {"group": group, "basic": basic}
    return Field(default, description=help_text, json_schema_extra=extra, **bounds)

"""Heavy modules of the command line, imported on first use, so that help and errors stay fast."""

from importlib import import_module
from typing import Any


class Lazy:
    """A module, or an attribute of one, that is imported when it is first called or read."""

    def __init__(self, module: str, name: str = ""):
        self._module, self._name = module, name

    def _load(self) -> Any:
        module: Any = import_module(self._module)
        for name in self._name.split(".") if self._name else ():
            module = getattr(module, name)
        return module

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Import and call it."""
        return self._load()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


def lazy(target: str) -> Any:
    """The object `module`, `module:name` or `module:class.method`, imported on first use."""
    module, _, name = target.partition(":")
    return Lazy(module, name)

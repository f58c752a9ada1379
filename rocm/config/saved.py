"""Presets of the user's own beside the shipped ones, and the command that equals some settings."""

import re
import shlex
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rocm.config.presets import preset_groups, preset_names
from rocm.config.run_config import RunConfig
from rocm.errors import ConfigError, MissingFile
from rocm.storage.files import check_text, make_folder, write_atomic

PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


@dataclass(frozen=True)
class Preset:
    """A set of settings with a name: shipped, or saved by the user (`is_own`)."""

    name: str
    description: str
    is_own: bool = False


class Presets:
    """Shipped settings, then those that were saved in `home`/presets."""

    def __init__(self, home: Path):
        """Offer the shipped presets and those of `home`."""
        self.path = home / "presets"

    def all(self) -> list[Preset]:
        """Shipped ones by group, then the user's by name; a damaged one's sentence says so."""
        own = [Preset(path.stem, _sentence(path), True) for path in sorted(self._files())]
        shipped = chain.from_iterable(preset_groups().values())
        return [Preset(name, RunConfig.load(name).description) for name in shipped] + own

    def source(self, name: str) -> str | Path:
        """The name of a shipped preset, the file of another; nothing but a name is accepted."""
        files: dict[str, str | Path] = {path.stem: path for path in self._files()}
        files |= {shipped: shipped for shipped in preset_names()}
        if name not in files:
            raise MissingFile(f"There is no preset '{name}'. Presets: {', '.join(sorted(files))}.")
        return files[name]

    def load(self, name: str) -> RunConfig:
        """The settings of a preset."""
        return RunConfig.load(self.source(name))

    def save(self, name: str, config: RunConfig, description: str) -> Path:
        """Keep settings under a new name."""
        if not PRESET_NAME.fullmatch(name):
            raise ConfigError(
                f"'{name[:80]}' cannot name a preset. Use 1 to 60 letters, digits, - and _, "
                "beginning with a letter or digit."
            )
        taken = {preset.name.lower() for preset in self.all()}
        if name.lower() in taken:
            raise ConfigError(f"There is a preset '{name}' already. Choose another name.")
        make_folder(self.path)
        path = self.path / f"{name}.yaml"
        sentence = check_text("description", description).strip()
        described = RunConfig.load(config.model_dump(), description=sentence)
        write_atomic(path, described.to_yaml())
        return path

    def command_line(self, config: RunConfig, preset: str) -> str:
        """The shell command that trains so: `preset`, and the settings that differ from it."""
        words, base = ["python", "-m", "rocm", "train", preset], self.load(preset)
        for name, value in config.model_dump(exclude={"description"}).items():
            if value != getattr(base, name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def _files(self) -> list[Path]:
        return [path for path in self.path.glob("*.yaml") if PRESET_NAME.fullmatch(path.stem)]


def _sentence(path: Path) -> str:
    try:
        return RunConfig.load(path).description
    except ConfigError as error:
        return str(error)

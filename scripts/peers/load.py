"""Other projects' updates, timed beside ours on the same networks.

Their code is loaded from where the user has it and forgotten afterwards; none of it is kept here.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile, is_zipfile

from rocm.algorithms.trajectory import rollout
from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingDependency, MissingFile
from rocm.experiments.bench.variants import ALL_OFF, FLAT, Variant
from rocm.training.batch import draw_batch, make_problem
from rocm.training.setup import Setup
from scripts.peers import rlcm, trl

REWARD_ALONE = "reward alone"
TRL = "pip download trl==0.23.1 --no-deps"
RLCM = "git clone https://github.com/Owen-Oertell/rlcm"


def load_peers(paths: Sequence[Path], base: RunConfig, own_work: bool) -> tuple[Variant, ...]:
    """The rows that `--peer` adds.

    Args:
        paths: of folders that hold TRL or RLCM, or of TRL's wheel.
        base: settings of the benchmark.
        own_work: whether TRL's update is timed with TRL's own settings too.

    Returns:
        The peers, also at our trade of memory for time; before TRL our update without a reference,
        which is the same work.

    Raises:
        MissingFile: neither TRL's nor RLCM's code is there.
        MissingDependency: it needs a package that is not here, or another version of one.
        ConfigError: another version, or the settings are not the peer's algorithm's.
    """
    variants: dict[str, Variant] = {}
    for path in paths:
        for variant in _variants(path, base, own_work):
            variants[variant.name] = variant
    return tuple(variants.values())


def start_reward_alone(setup: Setup) -> Callable[[int], object]:
    """Our update without a reference: rollout, decoder, reward, backward, optimizer."""
    config, model = setup.config, setup.model
    schedule = model.schedule(config.num_inference_steps, config.grid)
    mixture = trl.raw_mixture(setup)

    def advance(step: int) -> None:
        batch = draw_batch(setup, (step - 1) * config.batch_size)
        problem = make_problem(setup, mixture, batch, {})
        setup.learner.optimizer.zero_grad(set_to_none=True)
        noise = batch.noise[: len(schedule)]
        latents = rollout(problem.policy, noise, schedule, problem.prediction_type).latents
        (-problem.reward(problem.decode(latents)).mean()).backward()
        setup.learner.descend(config.max_grad_norm)

    return advance


@contextmanager
def importable(path: Path, package: str) -> Iterator[None]:
    """Inside, a package is imported from a path; afterwards its name means what it did before.

    Args:
        path: of the folder or archive that holds the package.
        package: its name.

    Yields:
        Nothing.
    """
    known = _forget(package)
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))
        _forget(package)
        sys.modules.update(known)


def _variants(path: Path, base: RunConfig, own_work: bool) -> list[Variant]:
    if _holds(path, trl.FILE):
        return _trl(path, base, own_work)
    if _holds(path, rlcm.FILE):
        return _rlcm(path, base)
    if _holds(path, "trl/__init__.py"):
        raise ConfigError(
            f"--peer {path} is a TRL without {trl.FILE}: it trained pictures up to 0.23. "
            f"Get that one: {TRL}"
        )
    raise MissingFile(
        f"--peer {path} is no folder with {trl.FILE} or {rlcm.FILE} in it, and no wheel "
        f"of TRL. Get one: {TRL}, or {RLCM}"
    )


def _holds(path: Path, file: str) -> bool:
    if path.is_file() and is_zipfile(path):
        with ZipFile(path) as archive:
            return file in archive.namelist()
    return (path / file).is_file()


def _trl(path: Path, base: RunConfig, own_work: bool) -> list[Variant]:
    if base.algorithm != "rocm":
        raise ConfigError(
            f"--peer {path} is TRL, whose AlignProp back-propagates the reward, and the preset has "
            f"algorithm={base.algorithm}. Give a preset with algorithm=rocm, as tiny-rocm-kl."
        )
    (module,) = _imported(path, trl.FILE)
    if not hasattr(module, trl.FUNCTION):
        raise ConfigError(f"--peer {path}: {trl.FILE} has no {trl.FUNCTION}. Get TRL 0.23: {TRL}")
    step = getattr(module, trl.FUNCTION)

    def row(name: str, meaning: str, measure: str, options: dict[str, Any]) -> Variant:
        start = trl.starter(step, options)
        return Variant(name, ALL_OFF, meaning, start, measure)

    alone = "ours without a reference, as TRL has none"
    rows = [
        Variant(REWARD_ALONE, FLAT, alone, start_reward_alone, REWARD_ALONE),
        row("TRL", "AlignProp's update on our work", REWARD_ALONE, trl.OUR_WORK),
        row("TRL, recomputation off", "the same, all kept", REWARD_ALONE, trl.KEPT_WORK),
    ]
    if own_work:
        rows.append(row("TRL own", "AlignProp's update as TRL sets it", "", trl.OWN_WORK))
    return rows


def _rlcm(path: Path, base: RunConfig) -> list[Variant]:
    if base.algorithm != "rlcm" or base.policy_loss != "ppo" or base.beta > 0:
        raise ConfigError(
            f"--peer {path} is RLCM: PPO without a divergence. Give a preset with algorithm=rlcm, "
            "policy_loss=ppo and beta=0, as --preset tiny-rlcm."
        )
    with rlcm.without_wandb():
        modules = _imported(path, *rlcm.FILES)
    rows = {
        "RLCM": ("RLCM's own loop", rlcm.MINIBATCH),
        "RLCM, one minibatch": ("the same on the whole batch", rlcm.WHOLE),
    }
    return [
        Variant(name, ALL_OFF, meaning, rlcm.starter(*modules, size))
        for name, (meaning, size) in rows.items()
    ]


def _imported(path: Path, *files: str) -> list[ModuleType]:
    """The modules in files of a checkout, as a program beside it would import them."""
    names = [file.removesuffix(".py").replace("/", ".") for file in files]
    try:
        with importable(path, names[0].partition(".")[0]):
            return [import_module(name) for name in names]
    except ImportError as error:
        raise MissingDependency(
            f"--peer {path} cannot be imported: {error}. Install what it needs, or the version of "
            "it that the peer was written for."
        ) from error


def _forget(package: str) -> dict[str, ModuleType]:
    own = [name for name in sys.modules if name.partition(".")[0] == package]
    return {name: sys.modules.pop(name) for name in own}

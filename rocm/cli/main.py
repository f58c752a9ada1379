"""Fine-tune few-step text-to-image models on rewards, draw with them, compare them, ask people.

An error that the user can fix is printed as one line, with exit code 2.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rocm.distributed import num_started
from rocm.errors import ConfigError, RocmError

# Name: the function that adds its arguments, imported only for this command; and its help.
COMMANDS = {
    "train": ("train:add_train_arguments", "fine-tune a model; every setting is a flag"),
    "sample": ("sample:add_arguments", "draw pictures of a prompt"),
    "runs": ("runs:add_runs_arguments", "list, rename, continue, delete or export runs"),
    "queue": ("runs:add_queue_arguments", "list, add, move or cancel waiting runs"),
    "sweep": ("sweep:add_sweep_arguments", "train a grid of settings"),
    "advise": ("sweep:add_advise_arguments", "compare the divergences for a preset"),
    "reproduce": (
        "reproduce:add_arguments",
        "the paper's comparison or the closed loop, as a report",
    ),
    "rewards": ("models:add_rewards_arguments", "list or download published rewards"),
    "preference": ("preference:add_arguments", "learn a reward from votes"),
    "download": ("models:add_download_arguments", "download the files of a model or preset"),
    "export": ("models:add_export_arguments", "write an adapter for another program"),
    "study": ("study:add_study_arguments", "build, open or export a blind user study"),
    "doctor": ("doctor:add_arguments", "check the installation"),
    "evaluate": ("evaluate:add_arguments", "compare runs, adapters and the base model"),
    "retrieval": ("evaluate:add_retrieval_arguments", "measure how well pictures fit captions"),
    "bench": ("bench:add_arguments", "time updates, drawing and rewards, or count an update"),
}
SHARED = ("train", "sample", "evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 after an error, 130 after a second Ctrl-C."""
    # Threads that wait by spinning starve one another on a busy machine; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        options, rest = parse(sys.argv[1:] if arguments is None else arguments)
        if rest and not options.takes_settings:
            raise ConfigError(f"Unknown argument '{rest[0]}'. See python -m rocm --help.")
        if options.word not in SHARED and num_started() > 1:
            raise ConfigError(
                f"Several processes can share {', '.join(SHARED)} only. Start '{options.word}' "
                f"without a launcher: python -m rocm {options.word} ..."
            )
        home = Path(os.path.expanduser(os.environ.get("ROCM_HOME") or "data"))
        options.run(options, rest, home)
    except RocmError as error:
        print(f"rocm: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if str(error.name).startswith("rocm."):
            raise
        words = f"This command needs {error.name}, which is not installed."
        print(f"rocm: {words} Run: pip install -r requirements.txt", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("rocm: interrupted.", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of a command line, and the words that may be settings.

    Only the module of the named command is imported. `options.run(options, rest, home)` runs it.
    """
    parser = argparse.ArgumentParser(prog="python -m rocm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="word")
    word = next((word for word in arguments if not word.startswith("-")), "")
    for name, (adder, text) in COMMANDS.items():
        # Abbreviated flags would take a setting for an option: --seed for --seeds.
        described = text[0].upper() + text[1:] + "."
        command = commands.add_parser(name, help=text, description=described, allow_abbrev=False)
        command.set_defaults(takes_settings=False)
        if name == word:
            module, _, function = adder.partition(":")
            getattr(import_module(f"rocm.cli.{module}"), function)(command)
    return parser.parse_known_args(arguments)

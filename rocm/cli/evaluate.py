"""`python -m rocm evaluate ...`, arms as a table with intervals, and `retrieval`, of one model."""

import argparse
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from rocm.config import RunConfig
from rocm.distributed import joined
from rocm.errors import ConfigError, DrawingError, RunError
from rocm.evaluation.formats import FORMATS
from rocm.evaluation.request import ASK_ABOVE, JUDGE, REWARDS
from rocm.evaluation.service import AXES, CompareDesk, Plan, Request, prompt_set
from rocm.generation.queue import DrawingQueue
from rocm.runs.adapters import BASE, RUN

if TYPE_CHECKING:
    from rocm.generation.shared import SharedQueue

POLL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    parser.description = (
        "Draw arms and the base model on the same prompts from the same noise, and print rewards, "
        "statistics, diversity and divergence with 95 %% intervals over prompts. The same command "
        "draws only what is missing."
    )
    parser.add_argument(
        "arms", nargs="*", metavar="RUN", help="a run's id or folder, or an adapter's folder"
    )
    parser.add_argument(
        "--prompts", default="held-out", metavar="SET", help="held-out, training, or a text file"
    )
    parser.add_argument("--num-prompts", type=int, default=16, help="drawn at random from the set")
    parser.add_argument("--prompt-seed", type=int, default=0, help="of that draw")
    parser.add_argument("--seeds", type=int, default=1, help="pictures of each prompt and arm")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first picture; the others follow"
    )
    parser.add_argument(
        "--rewards",
        default=",".join(REWARDS),
        help=f"measured besides those trained on and {JUDGE}, separated by commas; official:NAME "
        "is a published reward as its own package computes it",
    )
    parser.add_argument(
        "--axis", metavar="NAME[=V,V]", help=f"one more thing to vary: {', '.join(AXES)}"
    )
    for name in ("num_inference_steps", "guidance_scale"):
        field = RunConfig.model_fields[name]
        flag = "--" + name.replace("_", "-")
        parser.add_argument(
            flag, type=type(field.default), default=field.default, help=field.description
        )
    parser.add_argument("--model", default="", help="folder; the arms' own if not given")
    parser.add_argument("--format", choices=FORMATS, default="md", help="of what is printed")
    parser.add_argument("--out", type=Path, help="also write .csv, .json, .md, .tex, .png or .zip")
    parser.add_argument("--yes", action="store_true", help="draw a large comparison unasked")


def evaluate(options: argparse.Namespace, home: Path) -> str:
    """Draw, measure, and give the table.

    Args:
        options: of the command line.
        home: ROCM_HOME.

    Returns:
        The table in the asked format; nothing in a process that draws for another one.

    Raises:
        RocmError: bad arguments, or the pictures could not be drawn.
    """
    if options.out and options.out.suffix[1:] not in (*FORMATS, "png", "zip"):
        raise ConfigError(f"--out {options.out}: end it in .csv, .json, .md, .tex, .png or .zip.")
    if options.out and not options.out.parent.is_dir():  # said before anything is drawn
        raise RunError(f"Cannot write {options.out}: no folder there. Choose another --out.")
    with joined() as ranks:
        if ranks.size == 1:
            with closing(DrawingQueue(home / "comparisons" / "evaluate.log")) as queue:
                return _evaluated(options, home, queue)
        from rocm.generation.sampler import Sampler
        from rocm.generation.shared import SharedQueue, follow

        if ranks.rank == 0:
            return _evaluated(options, home, SharedQueue(ranks, Sampler()))
        follow(ranks, Sampler())
    return ""


def _evaluated(options: argparse.Namespace, home: Path, queue: "DrawingQueue | SharedQueue") -> str:
    desk = CompareDesk(home, queue)
    request = _request(options, home)
    plan = desk.plan(request)
    question = desk.question(plan)
    if question and not options.yes:
        raise ConfigError(f"{question} Above {ASK_ABOVE} add --yes to draw them all.")
    key = _drawn(desk, plan, request)
    if options.out:
        _write(desk, key, options.out)
    return desk.table_text(key, options.format)


def _request(options: argparse.Namespace, home: Path) -> Request:
    axis, _, values = (options.axis or "").partition("=")
    try:
        numbers = tuple(float(word) for word in values.split(",") if word.strip())
    except ValueError as error:
        raise ConfigError(f"--axis {options.axis}: give numbers, such as {axis}=1,2,4.") from error
    return Request(
        arms=(BASE, *(_arm(name, home) for name in options.arms)),
        prompts=tuple(prompt_set(options.prompts, options.num_prompts, options.prompt_seed)),
        seed=options.seed,
        num_seeds=options.seeds,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        model=options.model,
        axis=axis,
        values=numbers,
        rewards=tuple(name.strip() for name in options.rewards.split(",") if name.strip()),
    )


def _arm(name: str, home: Path) -> str:
    """A run's id becomes `run:ID`; anything else is a folder."""
    is_id = os.sep not in name and (home / "runs" / name / "config.yaml").is_file()
    return RUN + name if is_id else name


def _drawn(desk: CompareDesk, plan: Plan, request: Request) -> str:
    key = desk.draw(plan, request)
    with tqdm(total=plan.num_pictures, unit="picture", file=sys.stderr, mininterval=1) as bar:
        while (status := desk.wait(key, POLL_S)).state == "drawing":
            bar.n = status.num_drawn
            bar.refresh()
        bar.n = status.num_drawn
    if status.state != "finished":
        raise DrawingError(status.error or "The pictures are not all drawn. Try again.")
    return key


def _write(desk: CompareDesk, key: str, path: Path) -> None:
    ending = path.suffix[1:]
    try:
        if ending == "zip":
            shutil.copyfile(desk.bundle(key), path)
        elif ending == "png":
            path.write_bytes(desk.sheet(key))
        else:
            path.write_text(desk.table_text(key, ending), encoding="utf-8")
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


def retrieval(options: argparse.Namespace) -> str:
    """How often a model's pictures are told from 99 similar captions, and real drawings are.

    Args:
        options: `model`, `num_inference_steps`, `guidance_scale`, `grid`, `device`.

    Returns:
        A table.
    """
    from rocm.evaluation.retrieval import ceiling, load_questions, model_retrieval
    from rocm.generation.draw import Sampling
    from rocm.models.consistency import load_model
    from rocm.rewards.clip import load_clip

    names = ("model", "num_inference_steps", "guidance_scale", "grid", "device")
    config = RunConfig.load({name: getattr(options, name) for name in names}, beta=0)
    model = load_model(config.model, config.device)
    clip = load_clip("tiny-eval", "assets/tiny-eval", model.device)
    questions = load_questions()
    sampling = Sampling(config.num_inference_steps, config.guidance_scale, config.grid)
    found = {
        config.model: model_retrieval(model, clip, questions, sampling),
        "real drawings (the ceiling)": ceiling(clip, questions),
    }
    head = f"Right caption among 100, over {len(questions)} pictures:   first   in the first five"
    rows = [f"{name:48} {one.first:6.1%}   {one.first_five:6.1%}" for name, one in found.items()]
    return "\n".join([head, *rows])

"""`python -m rocm evaluate ...`, arms as a table with intervals, and `retrieval`, of one model."""

import argparse
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from rocm.cli.lazy import lazy
from rocm.cli.sample import add_sampling_arguments
from rocm.config import RunConfig
from rocm.distributed import joined, num_started
from rocm.errors import ConfigError, DrawingError, RunError
from rocm.evaluation.plan import ComparisonPlan, make_plan
from rocm.evaluation.request import ASK_ABOVE, AXES, JUDGE, REWARDS, Request, prompt_set
from rocm.generation.picture import SAMPLING
from rocm.generation.queue import DrawingQueue
from rocm.models.files import find_model
from rocm.prompts.vocabulary import remark
from rocm.runs.adapters import BASE

if TYPE_CHECKING:
    from rocm.evaluation.store import Comparisons
    from rocm.generation.shared import SharedQueue

open_comparisons = lazy("rocm.evaluation.store:Comparisons")
formats = lazy("rocm.evaluation.formats")
retrieve = lazy("rocm.evaluation.retrieval")
share_queue = lazy("rocm.generation.shared:SharedQueue")
follow = lazy("rocm.generation.shared:follow")
open_sampler = lazy("rocm.generation.sampler:Sampler")
make_sampling = lazy("rocm.generation.draw:Sampling")
load_model = lazy("rocm.models.consistency:load_model")
load_clip = lazy("rocm.rewards.clip:load_clip")
silence_libraries = lazy("rocm.cli.trainer:silence_libraries")

POLL_S = 0.5
ENDINGS = ("csv", "json", "md", "tex", "png", "zip")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `evaluate`."""
    add = parser.add_argument
    parser.description = (
        "Draw arms and the base model on the same prompts from the same noise, and print rewards, "
        "statistics, diversity and divergence with 95 %% intervals over prompts. The same command "
        "draws only missing pictures."
    )
    add(
        "arms",
        nargs="*",
        metavar="ARM",
        help="a run's id or folder, a checkpoint (RUN@STEP), an adapter's folder, the name of a "
        "shipped adapter, or owner/name of a downloaded one",
    )
    add("--prompts", default="held-out", metavar="SET", help="held-out, training, or a text file")
    add("--num-prompts", type=int, default=16, help="number drawn from the set")
    add("--prompt-seed", type=int, default=0, help="seed of that draw")
    add("--seeds", type=int, default=1, help="pictures of each prompt and arm")
    add("--seed", type=int, default=0, help="seed of the first picture")
    add(
        "--rewards",
        default=",".join(REWARDS),
        help=f"measured besides those trained on and {JUDGE}, separated by commas; official:NAME "
        "is a published reward as its own package computes it",
    )
    varied = parser.add_mutually_exclusive_group()
    words = f"one more thing to vary: {', '.join(AXES)}"
    varied.add_argument("--axis", metavar="NAME[=V,V]", help=words)
    words = "as --axis adapter_strength=V,V: the adapters turned down (0 is the base model) or up"
    varied.add_argument("--strengths", metavar="V,V", help=words)
    for name in ("num_inference_steps", "guidance_scale"):
        field = RunConfig.model_fields[name]
        flag, kind = "--" + name.replace("_", "-"), type(field.default)
        add(flag, type=kind, default=field.default, help=field.description)
    add("--model", default="", help="model folder; default: the arms' own model")
    add("--format", choices=ENDINGS[:4], default="md", help="of the printed table")
    add("--out", type=Path, help="also write .csv, .json, .md, .tex, .png or .zip")
    add("--yes", action="store_true", help="draw a large comparison unasked")
    parser.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Draw, measure and print the table; several processes share the drawing."""
    if options.out and options.out.suffix[1:] not in ENDINGS:
        raise ConfigError(f"--out {options.out}: end it in .csv, .json, .md, .tex, .png or .zip.")
    if options.out and not options.out.parent.is_dir():  # said before anything is drawn
        raise RunError(f"Cannot write {options.out}: no folder there. Choose another --out.")
    request = read_request(options)
    plan = make_plan(request, home / "runs")
    if words := remark(plan.prompts, plan.columns[0].picture.model):
        print(words, file=sys.stderr)
    if num_started() > 1:  # then this process draws, not a separate one with a log
        silence_libraries()
    with joined() as ranks:
        if ranks.size == 1:
            with closing(DrawingQueue(home / "comparisons" / "evaluate.log")) as queue:
                _evaluate(options, open_comparisons(home, queue), plan, request)
        elif ranks.rank == 0:
            shared: SharedQueue = share_queue(ranks, open_sampler())
            _evaluate(options, open_comparisons(home, shared), plan, request)
        else:
            follow(ranks, open_sampler())


def _evaluate(
    options: argparse.Namespace, comparisons: "Comparisons", plan: ComparisonPlan, request: Request
) -> None:
    question = comparisons.question(plan)
    if question and not options.yes:
        raise ConfigError(f"{question} Above {ASK_ABOVE} pictures add --yes to draw them all.")
    key = _draw(comparisons, plan, request)
    if options.out:
        _write(comparisons, key, options.out)
    print(formats.FORMATS[options.format](comparisons.table(key)), end="")


def read_request(options: argparse.Namespace) -> Request:
    """The request of a command line."""
    strengths = f"adapter_strength={options.strengths}" if options.strengths else ""
    given = options.axis or strengths
    axis, _, values = given.partition("=")
    try:
        numbers = tuple(float(word) for word in values.split(",") if word.strip())
    except ValueError as error:
        raise ConfigError(f"--axis {given}: give numbers, such as {axis}=1,2,4.") from error
    return Request(
        arms=tuple(dict.fromkeys([BASE, *options.arms])),
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


def _draw(comparisons: "Comparisons", plan: ComparisonPlan, request: Request) -> str:
    key = comparisons.draw(plan, request)
    with tqdm(total=plan.num_pictures, unit="picture", file=sys.stderr, mininterval=1) as bar:
        while (status := comparisons.wait(key, POLL_S)).state == "drawing":
            bar.n = status.num_drawn
            bar.refresh()
        bar.n = status.num_drawn
    if status.state != "finished":
        raise DrawingError(status.error or "Some pictures are not drawn. Try again.")
    return key


def _write(comparisons: "Comparisons", key: str, path: Path) -> None:
    ending = path.suffix[1:]
    try:
        if ending == "zip":
            shutil.copyfile(comparisons.bundle(key), path)
        elif ending == "png":
            path.write_bytes(comparisons.sheet(key))
        else:
            text = formats.FORMATS[ending](comparisons.table(key))
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror}. Choose another --out.") from error


def add_retrieval_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `retrieval`."""
    add_sampling_arguments(parser)
    parser.add_argument("--seeds", type=int, default=1, help="pictures of each of 200 captions")
    parser.set_defaults(run=retrieval)


def retrieval(options: argparse.Namespace, rest: list[str], home: Path) -> None:
    """Print how often a CLIP finds a picture's caption among 100, for the model and real drawings.

    Both figures are of 200 captions, each with 99 similar ones and drawn from `--seeds` noises.
    """
    if options.seeds < 1:
        raise ConfigError(f"--seeds {options.seeds} draws nothing. Give 1 or more.")
    names = (*SAMPLING, "device")
    config = RunConfig.load({name: getattr(options, name) for name in names}, beta=0)
    find_model(config.model)  # a missing model is reported before torch is loaded
    silence_libraries()
    model = load_model(config.model, config.device)
    clip = load_clip("tiny-eval", "assets/tiny-eval", model.device)
    questions = retrieve.load_questions(num_seeds=options.seeds)
    sampling = make_sampling(config.num_inference_steps, config.guidance_scale, config.grid)
    results = {
        config.model: retrieve.model_retrieval(model, clip, questions, sampling),
        "real drawings (upper bound)": retrieve.ceiling(clip, questions),
    }
    print(f"Right caption among 100, over {len(questions)} pictures:   first   in the first five")
    for name, shares in results.items():
        print(f"{name:48} {shares.first:6.1%}   {shares.first_five:6.1%}")

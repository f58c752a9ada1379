"""Command line of the recipe: `python -m scripts.tiny STAGE [--recipe full] [--seconds 500]`.

Stages, in order: data, tokenizer, vae, tiny-clip, teacher, guided, distill, tiny-eval, export,
preference, hacked, judge, cards; or `all`. A stage that ran out of `--seconds` goes on when the command
is repeated. With `--start assets` the model of that folder is trained on: its autoencoder, tokenizer,
`tiny-clip` and `tiny-eval` are kept, and the teacher begins at its U-Net and text encoder.
"""

import argparse
import dataclasses
from pathlib import Path

from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from scripts.tiny import contrast, emoji, sheets
from scripts.tiny.autoencoder import train_autoencoder
from scripts.tiny.cards import write_cards
from scripts.tiny.comparisons import Pool, load_pool, pool_captions
from scripts.tiny.distill import train_student
from scripts.tiny.exam import as_table, examine
from scripts.tiny.export import (
    export_data,
    export_folder,
    export_models,
    export_teacher,
    split_objects,
)
from scripts.tiny.guided import train_guided
from scripts.tiny.hacked import make_hacked
from scripts.tiny.judge import SEED as JUDGE_SEED
from scripts.tiny.judge import load_examples, train_judge
from scripts.tiny.loop import Slice
from scripts.tiny.pictures import Drawings, load_drawings
from scripts.tiny.preference import SEED as PREFERENCE_SEED
from scripts.tiny.preference import train_preference
from scripts.tiny.recipe import RECIPES, Recipe
from scripts.tiny.rounds import KEPT, earlier_rounds, start_at
from scripts.tiny.stream import Stream
from scripts.tiny.teacher import train_teacher
from scripts.tiny.tokenizer import make_tokenizer


@dataclasses.dataclass(frozen=True)
class Chain:
    """The stages over one work folder. Each method returns whether its stage is complete."""

    recipe: Recipe
    part: Slice
    npm: Path
    work: Path
    assets: Path

    def drawings(self) -> Drawings:
        """The recipe's drawings."""
        return load_drawings(self.work / "emoji64.npz", self.recipe)

    def tokenizer(self) -> CLIPTokenizer:
        """The learned tokenizer."""
        return CLIPTokenizer.from_pretrained(self.work / "tokenizer")

    def stream(self) -> Stream:
        """The diffusion models' training set."""
        vae = AutoencoderKL.from_pretrained(self.work / "vae/model").to(self.part.device)
        vae.eval().requires_grad_(False)
        return Stream(self.drawings(), self.tokenizer(), vae, self.part.bf16)

    def pool(self, name: str, objects: list[str], num: int, seed: int) -> Pool:
        """The exported model's pictures of some objects, to compare."""
        captions = pool_captions(self.drawings(), objects, num, seed)
        return load_pool(self.work / f"pools/{name}.pt", captions, seed, self.assets)

    def make_data(self) -> bool:
        """Draws the emoji, once."""
        out = self.work / "emoji64.npz"
        if not out.exists():
            emoji.make_dataset(self.npm, out, self.recipe.sources, 2)
        return True

    def make_tokenizer(self) -> bool:
        """Learns the tokenizer."""
        make_tokenizer(self.drawings(), self.work / "tokenizer", self.recipe.seed)
        return True

    def train_vae(self) -> bool:
        """Trains the autoencoder."""
        return train_autoencoder(self.recipe, self.drawings(), self.work / "vae", self.part)

    def train_clip(self, name: str) -> bool:
        """Trains one of `contrast.CLIPS`."""
        data = (self.drawings(), self.tokenizer())
        return contrast.train_clip(name, self.recipe, data, self.work / name, self.part)

    def train_teacher(self) -> bool:
        """Trains the diffusion model, exports it and draws its sheet."""
        folders = (self.work / "teacher", self.work / "tiny-clip/model", self.work / "start")
        seed = self.recipe.seed + 5 * len(earlier_rounds(self.work))
        done = train_teacher(self.recipe, self.stream(), folders, seed, self.part)
        export_teacher(self.work)
        sheets.teacher_sheet(self.work.parent / "tiny-teacher", self.work / "teacher.png")
        return done

    def train_guided(self) -> bool:
        """Teaches one pass the teacher's guidance."""
        folders = (self.work / "guided", self.work / "teacher")
        return train_guided(self.recipe, self.stream(), folders, self.part)

    def distill(self) -> bool:
        """Distills the consistency model."""
        folders = (self.work / "student", self.work / "guided")
        return train_student(self.recipe, self.stream(), folders, self.part)

    def export(self) -> bool:
        """Writes assets and the sample sheet."""
        export_models(self.recipe, self.work, self.assets)
        export_data(self.recipe, self.drawings(), self.work, self.assets)
        sheet = self.assets.parent / "docs/images/tiny-lcm-sheet.png"
        sheets.student_sheet(self.assets / "tiny-lcm", sheet)
        return True

    def train_preference(self) -> bool:
        """Trains, examines and exports the reward that simulated raters have taught."""
        objects, num = split_objects(self.drawings(), self.recipe.seed), self.recipe.num_compared
        pools = (
            self.pool("preference", objects.train, num, PREFERENCE_SEED),
            self.pool("held-out", [*objects.eval, *objects.test], num // 4, PREFERENCE_SEED + 1),
        )
        folders = (
            self.work / "preference",
            self.work / "tiny-clip/model",
            self.assets / "taste",
        )
        done = train_preference(self.recipe, pools, folders, self.part)
        export_folder(folders[0] / "model", self.assets / "tiny-preference")
        return done

    def make_hacked(self) -> bool:
        """Makes the hacked pictures that the judge learns from and is examined on."""
        return make_hacked(self.recipe, self.work, self.assets)

    def train_judge(self) -> bool:
        """Trains, exports and examines the judge."""
        drawings, num = self.drawings(), self.recipe.num_compared
        pool = self.pool("judge", drawings.objects, num, JUDGE_SEED)
        examples = load_examples(drawings, pool, self.work, self.assets)
        folder = self.work / "judge"
        done = train_judge(self.recipe, examples, self.tokenizer(), folder, self.part)
        export_folder(folder / "model", self.assets / "tiny-judge")
        table = as_table(examine(self.assets / "tiny-judge", self.work, self.assets / "prompts"))
        (folder / "exam.md").write_text(table + "\n", "utf-8")
        print(table)
        return done

    def write_cards(self) -> bool:
        """Measures the models and writes the model cards."""
        write_cards(self.recipe, self.work, self.assets)
        return True


STAGES = {
    "data": Chain.make_data,
    "tokenizer": Chain.make_tokenizer,
    "vae": Chain.train_vae,
    "tiny-clip": lambda chain: chain.train_clip("tiny-clip"),
    "teacher": Chain.train_teacher,
    "guided": Chain.train_guided,
    "distill": Chain.distill,
    "tiny-eval": lambda chain: chain.train_clip("tiny-eval"),
    "export": Chain.export,
    "preference": Chain.train_preference,
    "hacked": Chain.make_hacked,
    "judge": Chain.train_judge,
    "cards": Chain.write_cards,
}


def changed_recipe(recipe: Recipe, changes: list[str]) -> Recipe:
    """The recipe with `NAME=VALUE` applied to integer and float fields."""
    pairs = dict(change.split("=") for change in changes)
    values = {name: type(getattr(recipe, name))(value) for name, value in pairs.items()}
    return dataclasses.replace(recipe, **values)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tiny",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="cpu")
    parser.add_argument("--start", type=Path, help="assets folder whose models to go on from")
    parser.add_argument("--seconds", type=float, help="stop cleanly after this long")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--npm", type=Path, default=Path("node_modules"))
    parser.add_argument("--work", type=Path, default=Path("artifacts/tiny"))
    parser.add_argument("--assets", type=Path, default=Path("assets"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a recipe's number"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs the stages asked for."""
    args = arguments(argv)
    recipe = changed_recipe(RECIPES[args.recipe], args.set)
    part = Slice(args.seconds, args.device, args.bf16)
    chain = Chain(recipe, part, args.npm, args.work, args.assets)
    stages = list(STAGES) if args.stage == "all" else [args.stage]
    if args.start:
        start_at(args.start, args.work)
        stages = [stage for stage in stages if stage not in KEPT]
    for stage in stages:
        if not STAGES[stage](chain):
            print(f"{stage}: not complete; the same command goes on")
            return


if __name__ == "__main__":
    main()

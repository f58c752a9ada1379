"""Command line of the recipe: `python -m scripts.tiny STAGE [--recipe full] [--seconds 500]`.

Stages, in order: data, tokenizer, vae, tiny-clip, teacher, distill, clip-b, tiny-eval, export, hacked,
judge, cards; or `all`. A stage that ran out of `--seconds` goes on when the command is repeated.
"""

import argparse
import dataclasses
import shutil
from pathlib import Path

from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from scripts.tiny import contrast, emoji, sheets
from scripts.tiny.autoencoder import train_autoencoder
from scripts.tiny.cards import write_cards
from scripts.tiny.distill import train_student
from scripts.tiny.exam import as_table, examine
from scripts.tiny.export import export_models, export_prompts, export_teacher, replace_folder
from scripts.tiny.hacked import NEGATIVES, make_hacked
from scripts.tiny.judge import load_examples, train_judge
from scripts.tiny.latents import Latents, load_latents
from scripts.tiny.loop import Slice
from scripts.tiny.pictures import Drawings, load_drawings
from scripts.tiny.recipe import RECIPES, Recipe
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

    def latents(self) -> Latents:
        """The diffusion models' training set."""
        vae = AutoencoderKL.from_pretrained(self.work / "vae/model").to(self.part.device)
        path = self.work / "latents.pt"
        return load_latents(self.recipe, self.drawings(), self.tokenizer(), vae, path)

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
        folders = (self.work / "teacher", self.work / "tiny-clip/model")
        done = train_teacher(self.recipe, self.latents(), self.tokenizer(), folders, self.part)
        export_teacher(self.work)
        sheets.teacher_sheet(self.work.parent / "tiny-teacher", self.work / "teacher.png")
        return done

    def distil(self) -> bool:
        """Distils the consistency model."""
        folders = (self.work / "student", self.work / "teacher")
        return train_student(self.recipe, self.latents(), folders, self.part)

    def export(self) -> bool:
        """Writes assets and the sample sheet."""
        export_models(self.work, self.assets)
        export_prompts(self.recipe, self.drawings(), self.assets)
        sheet = self.assets.parent / "docs/images/tiny-lcm-sheet.png"
        sheets.student_sheet(self.assets / "tiny-lcm", sheet)
        return True

    def make_hacked(self) -> bool:
        """Makes the hacked pictures that the judge learns from and is examined on."""
        return make_hacked(self.work, self.assets, self.recipe.num_pairs, self.recipe.hack_updates)

    def train_judge(self) -> bool:
        """Trains, exports and examines the judge."""
        examples = load_examples(self.drawings(), self.work, self.assets)
        folder = self.work / "judge"
        done = train_judge(self.recipe, examples, self.tokenizer(), folder, self.part)
        replace_folder(self.assets / "tiny-judge")
        shutil.copytree(folder / "model", self.assets / "tiny-judge", dirs_exist_ok=True)
        table = as_table(examine(self.assets / "tiny-judge", self.work, self.assets / "prompts"))
        (folder / "exam.md").write_text(table + "\n", "utf-8")
        print(table)
        return done

    def write_cards(self) -> bool:
        """Measures the models and writes the model cards."""
        write_cards(self.recipe, self.work, self.assets, NEGATIVES)
        return True


STAGES = {
    "data": Chain.make_data,
    "tokenizer": Chain.make_tokenizer,
    "vae": Chain.train_vae,
    "tiny-clip": lambda chain: chain.train_clip("tiny-clip"),
    "teacher": Chain.train_teacher,
    "distill": Chain.distil,
    "clip-b": lambda chain: chain.train_clip("clip-b"),
    "tiny-eval": lambda chain: chain.train_clip("tiny-eval"),
    "export": Chain.export,
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
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="reduced")
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
    for stage in STAGES if args.stage == "all" else (args.stage,):
        if not STAGES[stage](chain):
            print(f"{stage}: not complete; the same command goes on")
            return


if __name__ == "__main__":
    main()

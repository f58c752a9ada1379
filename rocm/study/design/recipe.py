"""study.yaml: everything that a researcher decides, with its default and bounds written once."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rocm.errors import ConfigError, MissingFile
from rocm.storage.files import SHORT
from rocm.study.store.blocks import MIN_GAP

PLAN_NUMBERS = (
    "votes_per_pair", "main_per_rater", "checks_per_rater", "repeats_per_rater",
    "practice", "lease_minutes", "seeds_per_prompt", "allow_skip",
)  # fmt: skip
PLAN_TEXTS = (
    "title", "seed", "is_demo", "questions", "primary_question", "consent",
    "instructions", "peeking", "min_check_share", "min_median_ms", "rewards", "pays",
    "completion_url", "screen_out_url",
)  # fmt: skip

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
Address = Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Part(BaseModel):
    """A part of a recipe: frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Arm(Part):
    """A model to be compared: base model, adapter, and how it draws."""

    name: Name = Field(description="Unique; never leaves the server.")
    adapter: str = Field(
        "", max_length=1000, description="Folder of a LoRA adapter, run:ID, or empty for none."
    )
    model: str = Field("assets/tiny-lcm", description="Base model's folder.")
    method: str = Field("", max_length=60, description="How it was trained, such as rocm or rlcm.")
    reward: str = Field("", max_length=200, description="The reward that it was trained on.")
    num_inference_steps: int = Field(4, ge=1, le=16, description="N.")
    guidance_scale: float = Field(8.5, ge=0, le=30, description="In diffusers' convention.")
    grid: str = Field("current", description="Of timesteps, as the setting of a run.")
    adapter_strength: float = Field(1.0, ge=0, le=2, description="1 is as trained.")


class Prompts(Part):
    """Which prompts, and how many."""

    set: Literal["own", "paper", "offline", "file"] = Field(
        "own",
        description="own: the embedded model's. paper: PartiPrompts and HPS 1 to 2. offline: "
        "PartiPrompts, ImageReward's, SPO's, 1 to 1 to 1. file: one prompt per line.",
    )
    num: int = Field(40, ge=1, le=5000, description="Prompts that are analysed.")
    folder: str = Field("", description="Of the lists; empty: the Hugging Face hub.")
    file: str = Field("", description="Text file of set file.")
    blocked_words: str = Field("", description="Text file of words to leave out besides ours.")


class Question(Part):
    """What raters are asked of every pair."""

    key: Name = Field(description="Short name in exports.")
    text: str = Field(min_length=1, max_length=500, description="As raters read it.")
    show_prompt: bool = Field(True, description="false: asked before the prompt is shown.")
    allow_tie: bool = Field(True, description="Whether no preference is an answer.")


class Consent(Part):
    """What raters agree to. Every field is asked for: an ethics committee asks for it too."""

    version: str = Field(min_length=1, max_length=40, description="Stored with each consent.")
    text: Text = Field(description="What taking part means, and that one may stop at any time.")
    contact: str = Field(min_length=3, max_length=200, description="Whom raters can write to.")
    min_age: int = Field(ge=0, le=120, description="Age from which one may take part.")
    ethics: str = Field(
        min_length=1, max_length=500, description="Approval's reference, or why none."
    )
    pay: str = Field(min_length=1, max_length=200, description="What raters get, or 'unpaid'.")
    retention: str = Field(min_length=1, max_length=500, description="How long votes are kept.")


QUESTIONS = tuple(
    Question.model_validate({"key": key, "text": text, "show_prompt": show_prompt})
    for key, text, show_prompt in (
        ("appeal", "Which picture is more appealing, whatever it shows?", False),
        ("overall", "Which picture do you prefer, given this description?", True),
        ("alignment", "Which picture fits the description better?", True),
    )
)


class Recipe(Part):
    """A whole study before anything is drawn."""

    title: str = Field(min_length=1, max_length=200, description="Raters read it: name no arm.")
    seed: int = Field(0, ge=0, le=2**53 - 1, description="Of prompts, noise, order and sides.")
    is_demo: bool = Field(False, description="Votes are marked as a demonstration's.")
    arms: tuple[Arm, ...] = Field(min_length=2, max_length=40, description="Compared models.")
    comparisons: Literal["all", "paper-figure-3"] | tuple[tuple[Name, Name], ...] = Field(
        "all",
        description="Pairs of arms; all; or paper-figure-3: rocm-REWARD with rlcm-REWARD for each.",
    )
    prompts: Prompts = Field(Prompts.model_validate({}), description="Which prompts, and how many.")
    seeds_per_prompt: int = Field(1, ge=1, le=16, description="Pictures of each arm by prompt.")
    rewards: tuple[str, ...] = Field((), description="Rewards measured on every picture.")
    questions: tuple[Question, ...] = Field(
        QUESTIONS, min_length=1, max_length=6, description="Order kept."
    )
    primary_question: Name = Field("overall", description="The one that the claim rests on.")
    votes_per_pair: int = Field(5, ge=1, le=99, description="Distinct raters of every pair.")
    main_per_rater: int = Field(40, ge=1, le=400, description="Analysed pairs that a rater judges.")
    checks_per_rater: int = Field(2, ge=0, le=20, description="Pairs with a known answer.")
    repeats_per_rater: int = Field(3, ge=0, le=40, description="Pairs shown again, sides flipped.")
    allow_skip: bool = Field(True, description="Whether raters may leave a pair unjudged.")
    practice: int = Field(2, ge=0, le=10, description="Pairs to begin with, not analysed.")
    lease_minutes: int = Field(15, ge=1, le=1440, description="How long an open pair is held.")
    min_check_share: float = Field(0.5, ge=0, le=1, description="Right checks, else left out.")
    min_median_ms: int = Field(800, ge=0, le=60_000, description="Faster answers are flagged.")
    peeking: Literal["hidden", "evidence"] = Field(
        "hidden", description="Results while open: hidden, or as anytime-valid evidence."
    )
    consent: Consent = Field(description="What raters agree to.")
    instructions: Text = Field(
        "You will see two pictures at a time. Answer each question by choosing one of them, or "
        "no preference. If you cannot judge a pair, skip it.",
        description="Shown before the first pair.",
    )
    pays: bool = Field(False, description="Keep outside ids in a table of their own, to pay.")
    completion_url: Address = Field("", description="Where raters go at the end.")
    screen_out_url: Address = Field("", description="Where those go who decline.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [arm.name for arm in self.arms]
        _distinct("arms", names)
        _distinct("questions", [question.key for question in self.questions])
        if self.primary_question not in [question.key for question in self.questions]:
            raise ValueError(f"primary_question={self.primary_question} is no question's key")
        strangers = {name for two in self.compared() for name in two} - set(names)
        if strangers:
            raise ValueError(f"comparisons name {sorted(strangers)}, but the arms are {names}")
        num_pairs = self.prompts.num * self.seeds_per_prompt * len(self.compared())
        if self.main_per_rater > num_pairs:
            raise ValueError(
                f"main_per_rater={self.main_per_rater}, but there are {num_pairs} pairs in all"
            )
        if self.repeats_per_rater > max(0, self.main_per_rater - MIN_GAP):
            raise ValueError(
                f"repeats_per_rater={self.repeats_per_rater}: a repeat comes {MIN_GAP} trials "
                f"later, so main_per_rater must be larger by at least {MIN_GAP}"
            )
        return self

    def compared(self) -> list[tuple[str, str]]:
        """The comparisons, by names of arms."""
        names = [arm.name for arm in self.arms]
        if self.comparisons == "all":
            return list(itertools.combinations(names, 2))
        if self.comparisons != "paper-figure-3":
            return list(self.comparisons)
        rewards = [name.removeprefix("rocm-") for name in names if name.startswith("rocm-")]
        pairs = [(f"rocm-{r}", f"rlcm-{r}") for r in rewards if f"rlcm-{r}" in names]
        if not pairs:
            raise ValueError("paper-figure-3 needs arms rocm-REWARD and rlcm-REWARD of one reward")
        return pairs

    @classmethod
    def load(cls, source: Path | dict[str, Any]) -> "Recipe":
        """A recipe from a YAML file or plain data.

        Args:
            source: file or values.

        Returns:
            The recipe, every value in its bounds.

        Raises:
            MissingFile: no such file.
            ConfigError: no YAML, an unknown name, or a value that is not allowed.
        """
        values = source if isinstance(source, dict) else _read(source)
        return cls._of(values)

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """A recipe from the text of a study.yaml; ConfigError as `load`."""
        return cls._of(_values(text, "The text"))

    def text(self) -> str:
        """The text of a study.yaml that gives this recipe again; what is default is left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=96)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> "Recipe":
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "study.yaml"
            message = first["msg"].removeprefix("Value error, ")
            is_named = first["loc"] and first["type"] != "missing"
            given = f" (given: {SHORT.repr(first['input'])})" if is_named else ""
            raise ConfigError(f"{where}: {message}{given}. See docs/study.md.") from error

    def plan(self) -> dict[str, Any]:
        """What a draft stores and the manifest begins with; the arms stay out of it."""
        whole = self.model_dump(mode="json")
        return {
            "format": 1,
            **{name: whole[name] for name in PLAN_TEXTS},
            "design": {name: whole[name] for name in PLAN_NUMBERS},
        }


def num_check_prompts(checks_per_rater: int) -> int:
    """Prompts that the checks take for themselves, besides the analysed ones."""
    return min(20, 2 * checks_per_rater)


def _distinct(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"two of the {what} have the same name")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFile(f"{path} cannot be read: {error.strerror}. Give a study.yaml.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid YAML. See docs/study.md for an example.") from error
    return _values(text, str(path))


def _values(text: str, name: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not valid YAML. See docs/study.md for an example.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} holds no settings. See docs/study.md for an example.")
    return values

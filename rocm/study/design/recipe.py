"""study.yaml: everything that a researcher decides, with its label, help, default and bounds."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails

from rocm.errors import ConfigError, MissingFile
from rocm.storage.files import SHORT, parse_yaml, read_yaml
from rocm.study.store.blocks import MIN_GAP

PLAN_NUMBERS = (
    "votes_per_pair", "main_per_rater", "checks_per_rater", "repeats_per_rater",
    "practice", "lease_minutes", "seeds_per_prompt", "allow_skip",
)  # fmt: skip
PLAN_TEXTS = (
    "title", "seed", "is_demo", "questions", "primary_question", "consent",
    "instructions", "peeking", "min_check_share", "min_median_ms", "max_unseen_share",
    "min_answered_share", "rewards", "pays", "completion_url", "screen_out_url",
)  # fmt: skip
LATER = ("max_unseen_share", "min_answered_share", "within_arms")
"""Settings that came later: with their defaults a recipe keeps the id that it had before."""
EXAMPLE = "See docs/study.md for an example."
TWIN = " (second seed)"
SIZE, ANSWERS = "Sample size", "Questions and answers"
CHECKS, TEXTS = "Quality checks", "Instructions and redirects"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
Address = Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=500)]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Sentences = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


def field(default: Any, label: str, help_text: str, group: str = "", **bounds: Any) -> Any:
    """A field of the recipe; `group` is the part of the form that it is folded into."""
    extra: JsonDict = {"group": group}
    return Field(default, title=label, description=help_text, json_schema_extra=extra, **bounds)


class Part(BaseModel):
    """A part of a recipe: frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StudyArm(Part):
    """A model to be compared: base model, adapter, and how it draws."""

    name: Name = field(..., "Name", "Unique name of the arm; it never leaves the server.")
    adapter: str = field(
        "", "Adapter", "Folder of a LoRA adapter, run:ID, or empty for none.", max_length=1000
    )
    model: str = field("assets/tiny-lcm", "Model", "Folder of the base model.")
    method: str = field("", "Method", "Training method, such as rocm or rlcm.", max_length=60)
    reward: str = field("", "Reward", "Reward that the arm was trained on.", max_length=200)
    num_inference_steps: int = field(
        4, "Sampler steps (N)", "More steps take longer to draw.", ge=1, le=16
    )
    guidance_scale: float = field(
        8.5, "Guidance scale", "Higher values follow the prompt more closely.", ge=0, le=30
    )
    grid: str = field("current", "Grid", "Timestep grid, as in the settings of a run.")
    adapter_strength: float = field(
        1.0, "Adapter strength", "0 is the base model, 1 the adapter as trained.", ge=0, le=2
    )


class Prompts(Part):
    """Which prompts, and how many."""

    split: Literal["all", "training", "validation", "test"] = field(
        "all",
        "Prompt part",
        "training: to learn a reward. validation: to choose among runs. test: for the last study.",
    )

    set: Literal["own", "paper", "offline", "file"] = field(
        "own",
        "Prompt set",
        "own: the embedded model's prompts. paper: PartiPrompts and HPS, 1 to 2. offline: "
        "PartiPrompts, ImageReward and SPO in equal parts. file: one prompt per line.",
    )
    num: int = field(
        40, "Prompts", "Analyzed prompts; practice and checks use additional ones.", ge=1, le=5000
    )
    folder: str = field("", "Folder", "Folder of the prompt lists; empty: the Hugging Face hub.")
    file: str = field("", "File", "Text file with one prompt per line, for set file.")
    blocked_words: str = field(
        "", "Blocked words", "Text file of words to exclude, in addition to the built-in list."
    )


class StudyQuestion(Part):
    """A question that raters answer for every pair."""

    key: Name = field(..., "Key", "Short name in exports.")
    text: Sentences = field(..., "Text", "The question as raters read it.")
    show_prompt: bool = field(True, "Show prompt", "false: asked before the prompt is shown.")
    allow_tie: bool = field(True, "Allow ties", "Raters may answer 'no preference'.")


class Consent(Part):
    """What raters agree to. Every field is required; ethics committees ask for the same."""

    text: Text = field(..., "Text", "What raters do, and that they can stop at any time.")
    version: str = field(..., "Version", "Stored with the consent.", min_length=1, max_length=40)
    contact: str = field(
        ..., "Contact", "Address that raters can write to.", min_length=3, max_length=200
    )
    min_age: int = field(..., "Minimum age", "In years; 0 asks for no age.", ge=0, le=120)
    ethics: Sentences = field(..., "Ethics approval", "Reference, or the reason why there is none.")
    pay: Line = field(..., "Payment", "What raters receive, or 'unpaid'.")
    retention: Sentences = field(..., "Retention", "How long votes are kept.")


QUESTIONS = tuple(
    StudyQuestion.model_validate({"key": key, "text": text, "show_prompt": show_prompt})
    for key, text, show_prompt in (
        ("appeal", "Which picture is more appealing, whatever it shows?", False),
        ("overall", "Which picture do you prefer, given this description?", True),
        ("alignment", "Which picture fits the description better?", True),
    )
)


class Recipe(Part):
    """A whole study before anything is drawn."""

    title: Line = field(..., "Title", "Raters see the title; name no arm.")
    arms: tuple[StudyArm, ...] = field(
        ..., "Arms", "Models to compare.", min_length=2, max_length=40
    )
    comparisons: Literal["all", "neighbors", "paper-figure-3"] | tuple[tuple[Name, Name], ...] = (
        field(
            "all",
            "Comparisons",
            "all: every two arms. neighbors: each arm with the next, for a ladder of betas. "
            "paper-figure-3: rocm-REWARD with rlcm-REWARD for each reward. Or a list of pairs of "
            "arms.",
        )
    )
    prompts: Prompts = field(Prompts(), "Prompts", "Which prompts, and how many.")
    seed: int = field(0, "Seed", "Seed of prompts, noise, order and sides.", ge=0, le=2**53 - 1)
    seeds_per_prompt: int = field(
        1, "Seeds per prompt", "Pictures that each arm draws for a prompt.", ge=1, le=16
    )
    rewards: tuple[str, ...] = field(
        (), "Rewards", "Measured on every picture and compared with the votes."
    )
    questions: tuple[StudyQuestion, ...] = field(
        QUESTIONS,
        "Questions",
        "Asked for every pair, in this order.",
        ANSWERS,
        min_length=1,
        max_length=6,
    )
    primary_question: Name = field(
        "overall", "Primary question", "Key of the question that the conclusion rests on."
    )
    allow_skip: bool = field(True, "Allow skips", "Raters may skip a pair.", ANSWERS)
    peeking: Literal["hidden", "evidence"] = field(
        "hidden",
        "Results while open",
        "hidden: no results before the study is closed. evidence: anytime-valid e-values only.",
        ANSWERS,
    )
    votes_per_pair: int = field(
        5, "Votes per pair", "More votes give narrower intervals.", SIZE, ge=1, le=99
    )
    within_arms: bool = field(
        False,
        "Pairs within arms",
        "Also pairs of two seeds of an arm: rewards learn from them, no win rate counts them.",
        SIZE,
    )
    main_per_rater: int = field(
        40, "Pairs per rater", "Analyzed pairs; more pairs need fewer raters.", SIZE, ge=1, le=400
    )
    checks_per_rater: int = field(
        2, "Checks per rater", "Attention checks with a known answer.", SIZE, ge=0, le=20
    )
    repeats_per_rater: int = field(
        3, "Repeats per rater", "Pairs shown again with the sides flipped.", SIZE, ge=0, le=40
    )
    practice: int = field(2, "Practice pairs", "Shown first, not analyzed.", SIZE, ge=0, le=10)
    lease_minutes: int = field(
        15, "Minutes per pair", "Then another rater gets the pair.", CHECKS, ge=1, le=1440
    )
    min_check_share: float = field(
        0.5, "Minimum check share", "Raters with a lower share are excluded.", CHECKS, ge=0, le=1
    )
    min_median_ms: int = field(
        800, "Fast answers (ms)", "Faster answers are flagged.", CHECKS, ge=0, le=60_000
    )
    max_unseen_share: float = field(
        0.5,
        "Maximum unseen share",
        "Raters with a larger share of pairs that were never shown, or too briefly by the server's "
        "clock, are excluded.",
        CHECKS,
        ge=0,
        le=1,
    )
    min_answered_share: float = field(
        0.5,
        "Minimum answered share",
        "Raters who answer a lower share of their pairs get no completion code.",
        CHECKS,
        ge=0,
        le=1,
    )
    instructions: Text = field(
        "You will see two pictures at a time. Answer each question by choosing one of them, or "
        "no preference. If you cannot judge a pair, skip it.",
        "Instructions",
        "Shown before the first pair.",
        TEXTS,
    )
    pays: bool = field(False, "Paid raters", "Store platform ids in a table for payment.", TEXTS)
    completion_url: Address = field("", "Completion URL", "Raters are sent here at the end.", TEXTS)
    screen_out_url: Address = field("", "Decline URL", "Raters who decline are sent here.", TEXTS)
    consent: Consent = field(..., "Consent form", "What raters agree to.")
    is_demo: bool = field(False, "Demo", "Votes are marked as votes of a demonstration.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [arm.name for arm in self.arms]
        _check_distinct("arms", names)
        _check_distinct("questions", [question.key for question in self.questions])
        if self.primary_question not in [question.key for question in self.questions]:
            raise ValueError(f"primary_question={self.primary_question} is not a question's key")
        unknown = {name for pair in self.compared() for name in pair} - set(names)
        if unknown:
            raise ValueError(f"comparisons name {sorted(unknown)}, but the arms are {names}")
        if self.main_per_rater > self.num_pairs:
            raise ValueError(
                f"main_per_rater={self.main_per_rater}, but the study has only {self.num_pairs} "
                "pairs"
            )
        if self.repeats_per_rater > max(0, self.main_per_rater - MIN_GAP):
            raise ValueError(
                f"repeats_per_rater={self.repeats_per_rater}: a repeat comes {MIN_GAP} trials "
                f"later, so main_per_rater must be larger by at least {MIN_GAP}"
            )
        return self

    @property
    def num_pairs(self) -> int:
        """Number of analyzed pairs."""
        return self.prompts.num * self.seeds_per_prompt * (len(self.compared()) + len(self.twins()))

    def twins(self) -> dict[str, str]:
        """Arms that draw another seed for pairs within an arm: the arm's name by the twin's."""
        compared = {name for pair in self.compared() for name in pair}
        names = [arm.name for arm in self.arms if arm.name in compared]
        return {f"{name}{TWIN}": name for name in names} if self.within_arms else {}

    def compared(self) -> list[tuple[str, str]]:
        """The comparisons, by names of arms."""
        names = [arm.name for arm in self.arms]
        if self.comparisons == "all":
            return list(itertools.combinations(names, 2))
        if self.comparisons == "neighbors":
            return list(itertools.pairwise(names))
        if self.comparisons != "paper-figure-3":
            return list(self.comparisons)
        rewards = [name.removeprefix("rocm-") for name in names if name.startswith("rocm-")]
        pairs = [(f"rocm-{r}", f"rlcm-{r}") for r in rewards if f"rlcm-{r}" in names]
        if not pairs:
            raise ValueError("paper-figure-3 needs arms rocm-REWARD and rlcm-REWARD of one reward")
        return pairs

    @classmethod
    def load(cls, source: Path | dict[str, Any]) -> "Recipe":
        """A recipe from a YAML file or plain data; MissingFile or ConfigError if it is invalid."""
        values = source if isinstance(source, dict) else _read(source)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_sentence(error.errors()[0])) from error

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """A recipe from the text of a study.yaml; ConfigError as `load`."""
        return cls.load(_object(parse_yaml(text, "The text", EXAMPLE), "The text"))

    def text(self) -> str:
        """The text of a study.yaml that gives this recipe again; defaults are left out."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=96)

    def identity(self) -> dict[str, Any]:
        """What distinguishes a study from others."""
        values = self.model_dump(mode="json")
        fields = type(self).model_fields
        for name in LATER:
            if values[name] == fields[name].default:
                del values[name]
        if self.prompts.split == "all":
            del values["prompts"]["split"]
        return values

    def plan(self) -> dict[str, Any]:
        """What a draft stores and the manifest begins with; the arms are not part of it."""
        values = self.model_dump(mode="json")
        return {
            "format": 1,
            **{name: values[name] for name in PLAN_TEXTS},
            "design": {name: values[name] for name in PLAN_NUMBERS},
        }


PARTS: dict[str, type[BaseModel]] = {
    "arms": StudyArm,
    "prompts": Prompts,
    "questions": StudyQuestion,
    "consent": Consent,
}


def num_check_prompts(checks_per_rater: int) -> int:
    """Number of prompts that the checks use, in addition to the analyzed ones."""
    return min(20, 2 * checks_per_rater)


def _check_distinct(label: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"two of the {label} have the same name")


def _sentence(error: ErrorDetails) -> str:
    """A validation error in one sentence: where, what is allowed, what was given."""
    loc = error["loc"]
    name = ".".join(map(str, loc)) or "study.yaml"
    if error["type"] == "missing" or (loc and error["input"] in ("", None)):
        fields = (PARTS[str(loc[0])] if len(loc) > 1 else Recipe).model_fields
        help_text = fields[str(loc[-1])].description if str(loc[-1]) in fields else ""
        meaning = f": {help_text[0].lower()}{help_text[1:]}" if help_text else "."
        return f"{name} is missing{meaning} See docs/study.md."
    message = error["msg"].removeprefix("Value error, ")
    given = f" (given: {SHORT.repr(error['input'])})" if loc else ""
    return f"{name}: {message}{given}. See docs/study.md."


def _read(path: Path) -> dict[str, Any]:
    try:
        return _object(read_yaml(path.expanduser(), EXAMPLE), str(path))
    except OSError as error:
        raise MissingFile(f"{path} cannot be read: {error.strerror}. Give a study.yaml.") from error


def _object(values: Any, name: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"{name} has no settings. {EXAMPLE}")
    return values

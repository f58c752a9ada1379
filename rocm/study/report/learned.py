"""A reward learned from votes: its tensors, its checks, and the card that shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rocm.errors import StudyError
from rocm.storage.numbers import number, quantity
from rocm.study.archive.learning import Lesson
from rocm.study.report.cells import share
from rocm.study.report.document import Block, Heading, Paragraph, TextTable, to_html, to_markdown
from rocm.study.statistics import preference_checks as checks
from rocm.study.statistics.agreement import Share
from rocm.study.statistics.preference_basis import Basis, whitener_and_gate
from rocm.study.statistics.preference_checks import Gain
from rocm.study.statistics.preference_fit import Choices, ensemble, learn
from rocm.study.statistics.votes import Floats

BLOCKS = ("squares of rewards", "picture's embedding", "picture times prompt")
FEW_VOTES = 30


@dataclass(frozen=True)
class Learned:
    """A learned reward; `refusals` are empty if it may be used.

    `tensors` are those of `rocm.rewards.preference` but for the probe; `leans` are deviations of
    each part's utility over the pairs, in logits; `blind` has held-out accuracy by group of votes.
    """

    tensors: Mapping[str, Floats]
    gains: Sequence[Gain]
    refusals: Sequence[str]
    accuracy: Share
    repeats: Share
    freedom: float
    calibration: Sequence[tuple[float, Share]]
    curve: Sequence[tuple[int, float]]
    expected: float
    leans: Mapping[str, float]
    blind: Mapping[str, Share]
    temperature: float

    @property
    def best_single(self) -> str:
        """The reward that alone predicts left-out votes best; empty without rewards."""
        others = [gain for gain in self.gains if gain.name in self.leans]
        return min(others, key=lambda gain: gain.loss).name if others else ""


def learn_reward(
    lesson: Lesson, row: Mapping[str, int], table: Floats, rewards: Sequence[str]
) -> Learned:
    """Fit and check a reward.

    Args:
        lesson: the votes.
        row: row of the table by picture id.
        table: f of M pictures, (M, 2 K + 2 E): K rewards, squares, embeddings, their products with
            prompts.
        rewards: the K names.

    Returns:
        The reward with its checks.

    Raises:
        StudyError: no two pictures of a pair differ.
    """
    pairs = lesson.pairs(row)
    basis = Basis.of(table, pairs, len(rewards))
    if not sum(basis.sizes):
        raise StudyError("The two pictures of every pair are the same. Give other studies.")
    used = [name for name, k in zip(rewards, basis.rewards_told, strict=True) if k]
    phi = basis(table)
    choices = lesson.choices(row, phi, *basis.sizes[:2])
    held_out = checks.cross_validate(choices, used)
    gains = checks.gains(choices, held_out)
    final = learn(choices, held_out.plan)
    refits = ensemble(choices, held_out.plan)
    whitener, gate = whitener_and_gate(phi)
    curve, expected = checks.learning_curve(choices, held_out)
    others = zip(BLOCKS, basis.sizes[1:], strict=True)
    names = [*used, *(name for name, size in others for _ in range(size))]
    return Learned(
        tensors={
            **{"mean": basis.mean, "projection": basis.projection, "weights": refits},
            **{"whitener": whitener, "gate": np.array(gate)},
        },
        gains=gains,
        refusals=checks.refusals(choices, gains, lesson.repeats, final.freedom),
        accuracy=checks.accuracy(choices, held_out.utility),
        repeats=lesson.repeats,
        freedom=final.freedom,
        calibration=checks.calibration(choices, held_out.utility),
        curve=curve,
        expected=expected,
        leans=_leans(choices, refits.mean(0), names),
        blind=_by_group(lesson, choices, held_out.utility),
        temperature=held_out.plan.temperature,
    )


def _leans(choices: Choices, weights: Floats, names: Sequence[str]) -> dict[str, float]:
    columns = {name: [k for k, other in enumerate(names) if other == name] for name in names}
    return {
        name: float((choices.difference[:, own] @ weights[own]).std())
        for name, own in columns.items()
    }


def _by_group(lesson: Lesson, choices: Choices, utility: Floats) -> dict[str, Share]:
    groups: dict[str, list[int]] = {}
    for k, vote in enumerate(lesson.votes):
        for group in filter(None, (vote.comparison, vote.category)):
            groups.setdefault(group, []).append(k)
    return {
        group: checks.accuracy(choices.where(np.array(rows)), utility[rows])
        for group, rows in sorted(groups.items())
    }


def card(name: str, lesson: Lesson, learned: Learned) -> dict[str, str]:
    """The texts of card.html and card.md."""
    simulated = any(vote.source == "simulated" for vote in lesson.votes)
    marks = ["SIMULATED VOTES: this reward says nothing about people."] if simulated else []
    if learned.refusals:
        marks.append("REFUSED: there is no such reward.")
    title, blocks = f"Reward preference:{name}", _blocks(lesson, learned)
    return {
        "card.html": to_html(title, marks, blocks),
        "card.md": to_markdown(title, marks, blocks),
    }


def _blocks(lesson: Lesson, learned: Learned) -> list[Block]:
    studies = ", ".join(f"{key} (manifest {sha[:12]})" for key, sha in lesson.manifests.items())
    raters = {(vote.study, vote.rater) for vote in lesson.votes}
    prompts = {vote.text for vote in lesson.votes}
    repeats = share(learned.repeats) if learned.repeats.total else "not measured: no repeats"
    return [
        Paragraph(
            f"Learned from {quantity(len(lesson.votes), 'vote')} of "
            f"{quantity(len(raters), 'rater')} on {quantity(len(prompts), 'prompt')}; pictures of "
            f"{lesson.model}; studies: {studies}. Effective degrees of freedom: "
            f"{number(learned.freedom, 1)}. Flipped repeats decided alike: {repeats}. Left out: "
            f"{quantity(lesson.num_kept, 'vote')} on prompts of the test part."
        ),
        *(Paragraph(f"Refused: {reason}") for reason in learned.refusals),
        Heading("On left-out prompts and raters"),
        Paragraph(
            f"Decided votes predicted: {share(learned.accuracy)}. Log-loss in nats per vote; the "
            "gain is that of the learned reward, with its one-sided 95 % lower bound over prompts "
            "and raters. For 'arms', it is the gain beside the strengths of the arms. For a "
            "left-out comparison, the fit has seen the other comparisons only."
        ),
        TextTable(
            ("model", "log-loss", "gain", "lower bound"),
            [
                (gain.name, *(number(x, 4) for x in (gain.loss, gain.gain, gain.lower)))
                for gain in learned.gains
            ],
        ),
        Heading("Calibration"),
        Paragraph(
            f"The weights are multiplied by {number(learned.temperature, 2)}, which left-out votes "
            "ask for."
        ),
        TextTable(
            ("predicted share of the first picture", "observed"),
            [(number(100 * p, 1) + " %", share(seen)) for p, seen in learned.calibration],
        ),
        Heading("What it leans on"),
        TextTable(
            ("part", "deviation over the pairs, logits"),
            [(part, number(size, 2)) for part, size in learned.leans.items()],
        ),
        Heading("Learning curve"),
        TextTable(
            ("votes", "decided votes predicted"),
            [(str(num), number(100 * part, 1) + " %") for num, part in learned.curve],
        ),
        Paragraph(
            f"{checks.MORE_VOTES} more votes would give about {number(100 * learned.expected, 1)} "
            "%, by a line in 1 / votes."
        ),
        Heading("Where it is blind"),
        Paragraph(
            "Comparisons and categories of prompts in which it predicts at most half of the "
            f"decided votes, or which have fewer than {FEW_VOTES}: {_blind(learned.blind)}. It "
            "knows no prompts, raters, arms and base models but these studies'; only a new study "
            "with new raters and prompts shows what it is worth elsewhere."
        ),
    ]


def _blind(groups: Mapping[str, Share]) -> str:
    weak = [
        f"{name} ({share(seen)})"
        for name, seen in groups.items()
        if seen.total < FEW_VOTES or (seen.share or 0) <= 0.5
    ]
    return "; ".join(weak) or "none"

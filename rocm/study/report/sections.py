"""The sections of the report, from an analysis to headings, paragraphs, tables and figures."""

from rocm.storage.numbers import number, quantity, signed
from rocm.study.report.cells import (
    NONE,
    alpha,
    decimal,
    e_value,
    p_value,
    percent,
    share,
    signed_span,
    span,
)
from rocm.study.report.document import Block, Drawing, Heading, Paragraph, TextTable
from rocm.study.report.figures import beta_chart, hacking_chart, share_bars
from rocm.study.statistics.analysis import Analysis, StudyContext
from rocm.study.statistics.outcomes import HEADLINE, Outcome
from rocm.study.statistics.score_intervals import METHODS, NAIVE

INTERVAL = "95 % interval"


def blocks(info: StudyContext, analysis: Analysis) -> list[Block]:
    """The whole report of what the manifest (`info`) and the votes (`analysis`) say."""
    parts = [
        _head(info, analysis),
        _results(info, analysis),
        _both_ways(analysis),
        _intervals(analysis),
        _evidence(analysis),
        _rankings(analysis),
        _categories(analysis),
        _rewards(info, analysis),
        _betas(info, analysis),
        _reliability(analysis),
        _raters(analysis),
        _links(info),
        _methods(info, analysis),
    ]
    return [block for part in parts for block in part]


def _head(info: StudyContext, analysis: Analysis) -> list[Block]:
    raters = max((outcome.num_raters for outcome in analysis.outcomes), default=0)
    prompts = max((outcome.num_prompts for outcome in analysis.outcomes), default=0)
    return [
        Paragraph(f"Manifest sha256 {info.manifest_sha256}"),
        Paragraph(
            f"End of the chain of votes {info.votes_head}; votes that were chained later than "
            f"they were made: {info.num_chained_later}."
        ),
        Paragraph(
            f"{quantity(analysis.num_votes, 'vote')}, of which the exclusion rules exclude "
            f"{number(analysis.num_excluded, 0)}. Skipped trials: {info.num_skipped}. Raters who "
            f"withdrew: {info.num_withdrawn}; their answers are in no figure. Per comparison: up "
            f"to {quantity(raters, 'rater')} and {quantity(prompts, 'prompt')}. Prompts: "
            f"{info.prompts}. Sources of raters: {', '.join(info.sources) or 'not recorded'}."
        ),
        *(Paragraph(f"Caution: {words}") for words in analysis.cautions),
    ]


def _links(info: StudyContext) -> list[Block]:
    """From the votes that arms learned from to these votes."""
    if not info.links:
        return []
    here = [
        ("design of this study, with its pictures", info.manifest_sha256),
        ("votes of this study", info.votes_head),
    ]
    return [
        Heading("From votes to votes"),
        Paragraph(
            "Arms of this study learned from earlier votes. The links down to the adapters stand "
            "in this study's key, whose hash its design holds; python -m rocm study verify "
            "compares them with what is on the machine."
        ),
        TextTable(("link", "sha256"), [*info.links, *here]),
    ]


def _results(info: StudyContext, analysis: Analysis) -> list[Block]:
    parts: list[Block] = [Heading("Results")]
    header = ["comparison", "votes", "win", "tie", "loss", "score", INTERVAL]
    header += ["p", "Holm p", "prompts won : tied : lost", "sign test p, these raters only"]
    for question in info.questions:
        own = [outcome for outcome in analysis.outcomes if outcome.question == question]
        role = "primary" if question == info.questions[0] else "secondary"
        parts.append(Paragraph(f"Question {question!r} ({role}); a win is a win of arm a."))
        if drawn := [outcome for outcome in own if outcome.num_votes]:
            caption = f"Figure 3, question {question!r}: votes, and score with its interval."
            parts.append(Drawing(share_bars(drawn, info.marks), caption))
        parts.append(TextTable(header, [_result_row(outcome) for outcome in own]))
        parts += [Paragraph(f"{row.comparison}: {row.note}") for row in own if row.note]
    return parts


def _result_row(outcome: Outcome) -> list[str]:
    sign = outcome.sign
    return [
        outcome.comparison,
        str(outcome.num_votes),
        *(
            percent(count / outcome.num_votes if outcome.num_votes else None)
            for count in (outcome.wins, outcome.ties, outcome.losses)
        ),
        percent(outcome.score),
        span(outcome.interval),
        p_value(outcome.p_value),
        p_value(outcome.holm_p),
        f"{sign.wins} : {sign.ties} : {sign.losses}",
        p_value(sign.p_value),
    ]


def _both_ways(analysis: Analysis) -> list[Block]:
    header = ["comparison", "question", "score, rules applied", INTERVAL, "Holm p"]
    header += ["score, all votes", INTERVAL, "Holm p", "excluded votes"]
    rows = []
    for kept, every in zip(analysis.outcomes, analysis.outcomes_of_all, strict=True):
        row = [kept.comparison, kept.question]
        for outcome in (kept, every):
            row += [percent(outcome.score), span(outcome.interval), p_value(outcome.holm_p)]
        rows.append([*row, str(every.num_votes - kept.num_votes)])
    return [
        Heading("With and without the exclusion rules"),
        Paragraph(f"Excluded raters: {analysis.num_raters_excluded} of {analysis.num_raters}."),
        TextTable(header, rows),
    ]


def _intervals(analysis: Analysis) -> list[Block]:
    rows = [
        [row.comparison, row.question, *(span(row.intervals[name]) for name in METHODS)]
        for row in analysis.outcomes
    ]
    return [
        Heading("Intervals by method"),
        Paragraph(
            f"The headline method is {HEADLINE!r}. {NAIVE!r} treats votes as independent and is "
            "far too narrow; it is shown as a warning only."
        ),
        TextTable(["comparison", "question", *METHODS], rows),
    ]


def _evidence(analysis: Analysis) -> list[Block]:
    rows = [
        [
            name,
            e_value(evidence.now),
            e_value(evidence.largest),
            f"yes, after {quantity(evidence.num_votes_at_decision, 'vote')}"
            if evidence.num_votes_at_decision is not None
            else "no",
            evidence.note or NONE,
        ]
        for name, evidence in analysis.evidence.items()
    ]
    several = f"; for all {len(rows)} together, {20 * len(rows)} is needed"
    return [
        Heading("Anytime-valid evidence"),
        Paragraph(
            "E-values against a score of 50 %, valid at every look. A single comparison is decided "
            f"at 5 % if its e-value reaches 20{several if len(rows) > 1 else ''}."
        ),
        TextTable(["comparison", "E now", "largest E", "decided", "note"], rows),
    ]


def _rankings(analysis: Analysis) -> list[Block]:
    if not analysis.rankings:
        return []
    parts: list[Block] = [Heading("Ranking of the arms")]
    for question, ranking in analysis.rankings.items():
        nu = ranking.tie_parameter
        ties = "" if nu is None else f", nu = {number(nu, 2)}"
        words = f"{question}: {ranking.model}{ties}; log strength, mean 0. {ranking.note}"
        parts.append(Paragraph(words.strip()))
        rows = [
            [arm, signed(value, 2), signed_span(ranking.intervals.get(arm))]
            for arm, value in sorted(ranking.strengths.items(), key=lambda item: -item[1])
        ]
        if rows:
            parts.append(TextTable(["arm", "strength", INTERVAL], rows))
    return parts


def _categories(analysis: Analysis) -> list[Block]:
    if not analysis.categories:
        return []
    rows = [
        [category, row.comparison, str(row.num_votes), percent(row.score), span(row.interval)]
        for category, outcomes in analysis.categories.items()
        for row in outcomes
    ]
    return [
        Heading("Results by prompt category"),
        Paragraph("Exploratory: not adjusted for the number of categories."),
        TextTable(["category", "comparison", "votes", "score", INTERVAL], rows),
    ]


def _rewards(info: StudyContext, analysis: Analysis) -> list[Block]:
    if not analysis.agreement:
        return []
    rows = [
        [row.reward, str(row.agreed.total), percent(row.agreed.share), span(row.interval)]
        for row in analysis.agreement
    ]
    points = [
        [
            point.reward,
            point.comparison,
            NONE if point.beta is None else f"{point.beta:g}",
            percent(point.reward_share),
            signed(point.reward_gain, 3),
            percent(point.human_score),
            span(point.interval),
        ]
        for point in analysis.curve
    ]
    header = ["reward", "comparison", "beta of arm a", "reward prefers a", "mean gain"]
    return [
        Heading("Rewards and people"),
        Paragraph(
            "How often a reward prefers the picture that the majority of raters prefers; 'another "
            "rater' compares a single vote with the majority of the other raters."
        ),
        TextTable(["reward", "decided", "agree", INTERVAL], rows),
        Drawing(
            hacking_chart(analysis.curve, info.marks),
            "Figure 4: preference of the reward (across) and of people (up).",
        ),
        TextTable([*header, "people's score", INTERVAL], points),
    ]


def _betas(info: StudyContext, analysis: Analysis) -> list[Block]:
    if not analysis.betas:
        return []
    names = list(analysis.betas[0].agreed)
    header = ["arm", "beta", "against", "votes", "win rate", INTERVAL]
    rows = []
    for point in analysis.betas:
        row = [point.arm, f"{point.beta:g}", ", ".join(point.opponents), str(point.num_votes)]
        row += [percent(point.win_rate), span(point.interval)]
        for name in names:
            row += [percent(point.preferred.get(name)), share(point.agreed[name])]
        rows.append(row)
    for name in names:
        header += [f"{name} prefers it", f"{name} agrees"]
    return [
        Heading("Win rate by beta"),
        Paragraph(
            "Exploratory. Win rate of each arm over the same opponents, by the weight of the "
            "divergence in its training. The last columns show how often a reward prefers the "
            "arm's picture, and how often the reward and the majority prefer the same picture."
        ),
        Drawing(
            beta_chart(analysis.betas, info.marks),
            "Figure 4, by beta: the divergence is weaker toward the right.",
        ),
        TextTable(header, rows),
    ]


def _reliability(analysis: Analysis) -> list[Block]:
    header = ["question", "alpha, nominal", "alpha, ordinal", "same choice", "same repeats"]
    header += ["left picture wins", "side bias p", "seconds per vote (quartiles)"]
    rows = [
        [
            question,
            alpha(row.nominal),
            alpha(row.ordinal),
            percent(row.same_choice),
            share(row.repeats),
            share(row.left),
            p_value(row.left.p_value),
            " / ".join(number(value, 1) for value in row.seconds) if row.seconds else NONE,
        ]
        for question, row in analysis.reliability.items()
    ]
    return [
        Heading("Agreement of the raters"),
        Paragraph(
            "Krippendorff's alpha is 1 for perfect agreement and 0 for chance. Values from 0.20 to "
            "0.45 are common for preferences."
        ),
        TextTable(header, rows),
        *(
            Paragraph(f"{question}: {row.nominal.note}")
            for question, row in analysis.reliability.items()
            if row.nominal.note
        ),
    ]


def _raters(analysis: Analysis) -> list[Block]:
    header = ["rater", "votes", "excluded", "median s", "fast", "left", "longest run", "checks"]
    header += ["repeats", "with majority", "flags"]
    rows = [
        [
            str(row.rater),
            str(row.num_votes),
            str(row.num_excluded),
            decimal(row.median_s, 1),
            *(share(part) for part in (row.fast, row.left)),
            str(row.longest_run),
            *(share(part) for part in (row.checks, row.repeats, row.majority)),
            " ".join(row.flags) or NONE,
        ]
        for row in analysis.raters
    ]
    words = "Flagged raters deserve a closer look. Only the exclusion rules exclude votes."
    return [Heading("Raters"), Paragraph(words), TextTable(header, rows)]


def _methods(info: StudyContext, analysis: Analysis) -> list[Block]:
    rules = " ".join(info.exclusion_rules) or "None."
    return [
        Heading("Methods"),
        Paragraph(
            "Raters saw two pictures of one prompt and one noise at a time, side by side or, on "
            "narrow screens, one above the other, without any sign of the models behind them, and "
            f"answered {len(info.questions)} question(s): {', '.join(info.questions)}. "
            f"{info.design} The score is (wins + ties / 2) / votes over first answers; "
            "attention checks, practice and repeats do not count. Its 95 % interval is "
            "over the populations of prompts and raters: two-way cluster-robust variance "
            "(Cameron, Gelbach and Miller 2011) with Student's quantiles of Satterthwaite's "
            "degrees of freedom. The p-value is that of Student's t from the same variance and "
            f"degrees of freedom, adjusted by Holm's method over the {len(info.comparisons)} "
            "comparison(s) of the primary question; all other questions form a second family. The "
            "exact two-sided sign test on prompt majorities, without ties, is a secondary figure: "
            "it conditions on the raters who took part, and if raters differ, it finds "
            "differences that the population of raters does not have. "
            "E-values mix normal alternatives of spread 0.05 over the same variance. Rankings use "
            "Bradley-Terry, or Davidson's model above 15 % ties, with a two-way bootstrap. "
            "Krippendorff's alpha resamples prompts. Exclusion rules, fixed before opening: "
            f"{rules} They exclude {analysis.num_excluded} of "
            f"{quantity(analysis.num_votes, 'vote')}. Raters who withdrew are in no figure."
        ),
    ]

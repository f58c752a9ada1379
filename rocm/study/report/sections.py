"""The sections of the report, from an analysis to headings, paragraphs, tables and figures."""

from rocm.study.report.document import Block, Figure, Heading, Paragraph, Table
from rocm.study.report.figures import beta_chart, hacking_chart, share_bars
from rocm.study.statistics.agreement import Alpha, Share
from rocm.study.statistics.analysis import Analysis, StudyContext
from rocm.study.statistics.outcomes import HEADLINE, Outcome
from rocm.study.statistics.score_intervals import METHODS, NAIVE, ScoreInterval

NONE = "-"


def blocks(info: StudyContext, analysis: Analysis) -> list[Block]:
    """The whole report.

    Args:
        info: what the manifest says.
        analysis: what the votes say.

    Returns:
        Its blocks in order.
    """
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
        _methods(info, analysis),
    ]
    return [block for part in parts for block in part]


def _head(info: StudyContext, analysis: Analysis) -> list[Block]:
    raters = max((one.num_raters for one in analysis.outcomes), default=0)
    prompts = max((one.num_prompts for one in analysis.outcomes), default=0)
    return [
        Paragraph(f"Manifest sha256 {info.manifest_sha256}"),
        Paragraph(
            f"{analysis.num_votes} votes, {analysis.num_excluded} of them left out by the "
            f"exclusion rules; {info.num_skipped} trials skipped; {info.num_withdrawn} raters took "
            f"their answers back, which are in no figure. Up to {raters} raters and "
            f"{prompts} prompts per comparison. Prompts: {info.prompts}. Raters came by: "
            f"{', '.join(info.sources) or 'not recorded'}."
        ),
        *(Paragraph(f"Caution: {words}") for words in analysis.cautions),
    ]


def _results(info: StudyContext, analysis: Analysis) -> list[Block]:
    found: list[Block] = [Heading("Results")]
    header = ["comparison", "votes", "win", "tie", "loss", "score", "95 % interval"]
    header += ["prompts won : tied : lost", "sign test p", "Holm p"]
    for question in info.questions:
        own = [one for one in analysis.outcomes if one.question == question]
        role = "primary" if question == info.questions[0] else "secondary"
        found.append(
            Paragraph(f"Question {question!r} ({role}); win means arm a, the first named.")
        )
        if drawn := [one for one in own if one.num_votes]:
            caption = f"Figure 3 for {question!r}: votes; dot and line are score and interval."
            found.append(Figure(share_bars(drawn, info.marks), caption))
        found.append(Table(header, [_result_row(one) for one in own]))
        found += [Paragraph(f"{one.comparison}: {one.note}") for one in own if one.note]
    return found


def _result_row(one: Outcome) -> list[str]:
    shares = [
        percent(count / one.num_votes if one.num_votes else None)
        for count in (one.wins, one.ties, one.losses)
    ]
    sign = one.sign
    return [
        one.comparison,
        str(one.num_votes),
        *shares,
        percent(one.score),
        span(one.interval),
        f"{sign.wins} : {sign.ties} : {sign.losses}",
        p_value(sign.p_value),
        p_value(one.holm_p),
    ]


def _both_ways(analysis: Analysis) -> list[Block]:
    header = ["comparison", "question", "score, rules applied", "95 % interval", "Holm p"]
    header += ["score, all votes", "95 % interval", "Holm p", "votes left out"]
    rows = [
        [
            kept.comparison,
            kept.question,
            *(
                word
                for one in (kept, every)
                for word in (percent(one.score), span(one.interval), p_value(one.holm_p))
            ),
            str(every.num_votes - kept.num_votes),
        ]
        for kept, every in zip(analysis.outcomes, analysis.outcomes_of_all, strict=True)
    ]
    return [
        Heading("With and without the exclusion rules"),
        Paragraph(
            f"The rules leave out {analysis.num_raters_excluded} of {analysis.num_raters} raters."
        ),
        Table(header, rows),
    ]


def _intervals(analysis: Analysis) -> list[Block]:
    rows = [
        [one.comparison, one.question, *(span(one.intervals[name]) for name in METHODS)]
        for one in analysis.outcomes
    ]
    return [
        Heading("Intervals by method"),
        Paragraph(
            f"The headline is {HEADLINE!r}. {NAIVE!r} takes votes as independent, is far too "
            "narrow, and stands here as a warning only."
        ),
        Table(["comparison", "question", *METHODS], rows),
    ]


def _evidence(analysis: Analysis) -> list[Block]:
    rows = [
        [
            name,
            number(one.now),
            number(one.largest),
            f"yes, after {one.num_votes_at_decision} votes" if one.is_decided else "no",
            one.note or NONE,
        ]
        for name, one in analysis.evidence.items()
    ]
    return [
        Heading("Evidence at any time"),
        Paragraph(
            "E against a score of 50 %; 20 or more decides one comparison at 5 %, however often "
            f"one looks. For all {len(rows)} together it takes {20 * len(rows)}."
        ),
        Table(["comparison", "E now", "largest E", "decided", "note"], rows),
    ]


def _rankings(analysis: Analysis) -> list[Block]:
    if not analysis.rankings:
        return []
    found: list[Block] = [Heading("Ranking of the arms")]
    for question, ranking in analysis.rankings.items():
        ties = "" if ranking.tie_parameter is None else f", nu = {ranking.tie_parameter:.2f}"
        words = f"{question}: {ranking.model}{ties}; log strength, mean 0. {ranking.note}"
        found.append(Paragraph(words.strip()))
        rows = [
            [arm, f"{value:+.2f}", plain_span(ranking.intervals.get(arm))]
            for arm, value in sorted(ranking.strengths.items(), key=lambda item: -item[1])
        ]
        if rows:
            found.append(Table(["arm", "strength", "95 % interval"], rows))
    return found


def _categories(analysis: Analysis) -> list[Block]:
    if not analysis.categories:
        return []
    rows = [
        [category, one.comparison, str(one.num_votes), percent(one.score), span(one.interval)]
        for category, found in analysis.categories.items()
        for one in found
    ]
    return [
        Heading("By category of prompts"),
        Paragraph("Exploratory: not adjusted for the number of categories."),
        Table(["category", "comparison", "votes", "score", "95 % interval"], rows),
    ]


def _rewards(info: StudyContext, analysis: Analysis) -> list[Block]:
    if not analysis.agreement:
        return []
    rows = [
        [one.reward, str(one.agreed.total), percent(one.agreed.share), span(one.interval)]
        for one in analysis.agreement
    ]
    points = [
        [
            one.reward,
            one.comparison,
            NONE if one.beta is None else f"{one.beta:g}",
            percent(one.reward_share),
            f"{one.reward_gain:+.4g}",
            percent(one.human_score),
            span(one.interval),
        ]
        for one in analysis.curve
    ]
    header = ["reward", "comparison", "beta of arm a", "reward prefers a", "mean gain"]
    return [
        Heading("Rewards and people"),
        Paragraph(
            "How often a reward prefers the picture that most raters prefer; 'another rater' is "
            "one vote against the majority of the others."
        ),
        Table(["reward", "decided", "agree", "95 % interval"], rows),
        Figure(
            hacking_chart(analysis.curve, info.marks),
            "Figure 4 from votes: a point to the right pleases the reward, a high one people.",
        ),
        Table([*header, "people's score", "95 % interval"], points),
    ]


def _betas(info: StudyContext, analysis: Analysis) -> list[Block]:
    if not analysis.betas:
        return []
    names = list(analysis.betas[0].agreed)
    header = ["arm", "beta", "against", "votes", "win rate", "95 % interval"]
    header += [word for name in names for word in (f"{name} prefers it", f"{name} agrees")]
    rows = [
        [
            one.arm,
            f"{one.beta:g}",
            ", ".join(one.opponents),
            str(one.num_votes),
            percent(one.win_rate),
            span(one.interval),
            *(
                word
                for name in names
                for word in (percent(one.preferred.get(name)), share(one.agreed[name]))
            ),
        ]
        for one in analysis.betas
    ]
    return [
        Heading("People against beta"),
        Paragraph(
            "Exploratory. Win rate of each arm over the same opponents, by the weight of the "
            "divergence that it was trained with; the last columns: how often a reward prefers the "
            "arm's picture, and how often reward and most people prefer the same one."
        ),
        Figure(
            beta_chart(analysis.betas, info.marks),
            "Figure 4 from votes: the weaker the divergence, the further to the right.",
        ),
        Table(header, rows),
    ]


def _reliability(analysis: Analysis) -> list[Block]:
    header = ["question", "alpha, nominal", "alpha, ordinal", "same choice", "repeats same"]
    header += ["left picture wins", "p of no side bias", "seconds per vote (quartiles)"]
    rows = [
        [
            question,
            alpha(one.nominal),
            alpha(one.ordinal),
            percent(one.same_choice),
            share(one.repeats),
            share(one.left),
            p_value(one.left.p_value),
            " / ".join(f"{value:.1f}" for value in one.seconds) if one.seconds else NONE,
        ]
        for question, one in analysis.reliability.items()
    ]
    notes = [
        f"{name}: {one.nominal.note}"
        for name, one in analysis.reliability.items()
        if one.nominal.note
    ]
    return [
        Heading("Agreement of the raters"),
        Paragraph(
            "Krippendorff's alpha is 1 for perfect agreement and 0 for chance; values of .2 to .45 "
            "are common for preferences and do not make a study bad."
        ),
        Table(header, rows),
        *(Paragraph(note) for note in notes),
    ]


def _raters(analysis: Analysis) -> list[Block]:
    header = ["rater", "votes", "left out", "median s", "fast", "left", "longest run", "checks"]
    header += ["repeats", "with majority", "flags"]
    rows = [
        [
            str(one.rater),
            str(one.num_votes),
            str(one.num_excluded),
            number(one.median_s),
            *(share(part) for part in (one.fast, one.left)),
            str(one.longest_run),
            *(share(part) for part in (one.checks, one.repeats, one.majority)),
            " ".join(one.flags) or NONE,
        ]
        for one in analysis.raters
    ]
    words = "A flag asks for a look at a rater; it excludes nobody."
    return [Heading("Raters"), Paragraph(words), Table(header, rows)]


def _methods(info: StudyContext, analysis: Analysis) -> list[Block]:
    rules = " ".join(info.exclusion_rules) or "None."
    size = len(info.comparisons)
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
            "degrees of freedom. The test is the exact two-sided sign test on prompt majorities, "
            f"ties dropped, adjusted by Holm's method over the {size} comparison(s) of the "
            "primary question; all other questions form a second family. E-values mix normal "
            "alternatives of spread 0.05 over the same variance. Rankings use Bradley-Terry, or "
            "Davidson's model above 15 % ties, with a two-way bootstrap. Krippendorff's alpha "
            f"resamples prompts. Exclusion rules, fixed before opening: {rules} They left out "
            f"{analysis.num_excluded} of {analysis.num_votes} votes. Raters who withdrew are in no "
            "figure."
        ),
    ]


def percent(value: float | None) -> str:
    """61.2 %, or a dash."""
    return NONE if value is None else f"{100 * value:.1f} %"


def span(interval: ScoreInterval | None) -> str:
    """58.1 - 64.3 %, or a dash."""
    return NONE if interval is None else f"{100 * interval.low:.1f} - {100 * interval.high:.1f} %"


def plain_span(interval: tuple[float, float] | None) -> str:
    """-0.21 to +0.40, or a dash."""
    return NONE if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def p_value(value: float | None) -> str:
    """Three digits, small ones as < 0.001."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return NONE if value is None else f"{value:.3g}"


def share(value: Share) -> str:
    """61.2 % of 49, or a dash."""
    return NONE if value.share is None else f"{100 * value.share:.1f} % of {value.total}"


def alpha(value: Alpha) -> str:
    """0.31 (0.27 to 0.35)."""
    if value.value is None:
        return NONE
    if value.low is None or value.high is None:
        return f"{value.value:.2f}"
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"

"""The report of a study: HTML, Markdown and JSON from one analysis."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rocm.study.report import sections
from rocm.study.report.document import Block, to_html, to_markdown
from rocm.study.statistics.analysis import Analysis, StudyContext, analyze, plain
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.votes import Votes


@dataclass(frozen=True)
class Report:
    """Results of a study, to be written in three ways.

    Attributes:
        info: what the manifest says.
        analysis: what the votes say.
    """

    info: StudyContext
    analysis: Analysis

    def blocks(self) -> Sequence[Block]:
        """The content of the document."""
        return sections.blocks(self.info, self.analysis)

    def to_html(self) -> str:
        """One page that loads nothing."""
        return to_html(self.info.title, self.info.marks, self.blocks())

    def to_markdown(self) -> str:
        """The same without drawings."""
        return to_markdown(self.info.title, self.info.marks, self.blocks())

    def to_json(self) -> str:
        """All figures, null where there is none; never NaN."""
        content = {
            "marks": list(self.info.marks),
            "study": plain(self.info),
            "results": plain(self.analysis),
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def report(votes: Votes, info: StudyContext, rewards: Rewards | None = None) -> Report:
    """The report of a study.

    Args:
        votes: all of the study, of every kind, exclusions among them, in the order of storage.
        info: what the manifest says.
        rewards: of the pairs' pictures, if they are known.

    Returns:
        The report; the same votes give the same text.

    Raises:
        StudyError: results are hidden until the study is closed, or votes and manifest disagree.
    """
    return Report(info, analyze(votes, info, rewards))

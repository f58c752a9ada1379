"""The report of a study: HTML, Markdown and JSON from one analysis."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rocm.storage.files import make_folder, write_atomic
from rocm.study.report import sections
from rocm.study.report.document import to_fragment, to_html, to_markdown
from rocm.study.statistics.analysis import Analysis, StudyContext, analyze, plain
from rocm.study.statistics.reward_agreement import Rewards
from rocm.study.statistics.votes import Votes


@dataclass(frozen=True)
class Report:
    """Results of a study: what the manifest says, and what the votes say."""

    info: StudyContext
    analysis: Analysis

    def to_html(self) -> str:
        """One page that loads nothing."""
        return to_html(self.info.title, self.info.marks, self._blocks)

    def to_fragment(self) -> str:
        """The content of the page, as HTML to be put into another page."""
        return to_fragment(self.info.title, self.info.marks, self._blocks)

    def to_markdown(self) -> str:
        """The same without drawings."""
        return to_markdown(self.info.title, self.info.marks, self._blocks)

    def to_json(self) -> str:
        """All figures, null where there is none; never NaN."""
        return json.dumps(self.content(), indent=1, allow_nan=False) + "\n"

    def content(self) -> dict[str, Any]:
        """All figures as plain data: `marks`, `study`, `results`."""
        return {
            "marks": list(self.info.marks),
            "study": plain(self.info),
            "results": plain(self.analysis),
        }

    def write(self, folder: Path) -> None:
        """Write report.html, report.md and report.json."""
        make_folder(folder)
        write_atomic(folder / "report.html", self.to_html())
        write_atomic(folder / "report.md", self.to_markdown())
        write_atomic(folder / "report.json", self.to_json())

    @property
    def _blocks(self) -> list[sections.Block]:
        return sections.blocks(self.info, self.analysis)


def report(votes: Votes, info: StudyContext, rewards: Rewards | None = None) -> Report:
    """The report of all votes of a study in order of storage; the same votes give the same text."""
    return Report(info, analyze(votes, info, rewards))

"""Every command that the docs name is one that the program takes: parsed, not run."""

import re
import shlex

import pytest

from rocm.cli.main import parse
from rocm.cli.runs import settings
from rocm.config import RunConfig
from rocm.config.presets import preset_names
from rocm.storage.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STANDS_FOR = {"FORMAT": "peft", "N": "3"}
WITHOUT_ARGUMENTS = "the following arguments are required"


def commands(text: str) -> list[str]:
    """What stands behind `python -m rocm` in a text, without the comment after it."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = re.findall(r"-m rocm ([^\n`]+)", joined)
    lines = [re.split(r"  +#| [|>&] |;", line)[0].strip() for line in found]
    return [line for line in lines if line != "..."]


def fault(line: str, capsys) -> str:
    """What the program says to a command; empty if it takes it."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(line)]
    try:
        options, rest = parse(words)
    except SystemExit:
        return capsys.readouterr().err.splitlines()[-1]
    if not options.takes_settings:
        return " ".join(rest)
    return " ".join(sorted(set(settings(rest)) - set(RunConfig.model_fields)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_understood_and_its_presets_exist(page, capsys):
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S))
    shown = commands(blocks)
    faults = {line: fault(line, capsys) for line in shown}
    # A command that is only spoken of may lack its arguments.
    mentioned = [line.replace(" ...", "") for line in commands(text) if line not in shown]
    faults |= {line: fault(line, capsys) for line in mentioned}
    told = {line: words for line, words in faults.items() if words}
    assert not [line for line in told if line in shown or WITHOUT_ARGUMENTS not in told[line]]
    named = {word for line in faults for word in line.split() if re.match(r"(tiny|paper)-", word)}
    assert {name for name in named if "$" not in name} <= set(preset_names())

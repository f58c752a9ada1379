"""docs/study.md names the study's tables, settings and commands."""

import argparse
import re
from pathlib import Path

from rocm.cli import study as cli_study
from rocm.study.design.recipe import PARTS, Recipe
from rocm.study.store.columns import metadata

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "study.md").read_text(encoding="utf-8")


def test_every_table_and_column_is_described():
    sections = re.split(
        r"^#### `(\w+)`$", TEXT.split("### Tables")[1].split("\n### ")[0], flags=re.M
    )
    described = {
        name: re.findall(r"^\| `(\w+)` \| \S", body, re.M)
        for name, body in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert described == {
        name: [column.name for column in table.columns] for name, table in metadata.tables.items()
    }


def test_every_setting_of_a_recipe_is_described():
    table = TEXT.split("| setting | meaning |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M))
    assert set(rows) == set(Recipe.model_fields)
    for name, model in PARTS.items():
        assert set(re.findall(r"`(\w+)`", rows[name])) == set(model.model_fields), name


def test_every_action_is_named():
    parser = argparse.ArgumentParser()
    cli_study.add_study_arguments(parser)
    actions = next(action.choices for action in parser._actions if isinstance(action.choices, dict))
    section = TEXT.split("## Protocol")[0]
    assert all(re.search(rf"(study |`){name}\b", section) for name in actions)


def test_the_demonstration_is_a_recipe():
    recipe = Recipe.load(Path(__file__).resolve().parents[2] / "assets" / "demo-study.yaml")
    assert recipe.is_demo

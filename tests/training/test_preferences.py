"""Tables of preferences: both forms give the same rows, and what is wrong is said with its line."""

import json
from pathlib import Path

import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile
from rocm.runs.adapters import SHIPPED, WEIGHTS
from rocm.runs.run_dir import RunDir
from rocm.training.preferences import Preference, load_preferences

HEADER = "prompt,seed,winner,loser\n"
ROW = {"prompt": "a", "seed": 1, "winner": "mine", "loser": "base"}


@pytest.fixture
def folder(tmp_path):
    for name in ("mine", "other one"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS).write_bytes(b"")
    return tmp_path


def load(folder, text, name="table.csv", held_out=()):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_preferences(str(folder / name), held_out)


def test_csv_and_json_lines_give_the_same_rows_and_other_columns_are_passed_over(folder):
    mine, other = (str((folder / name).resolve()) for name in ("mine", "other one"))
    expected = (
        Preference("a red apple, ripe", 3, mine, "base", 3),
        Preference("a whale", 2**63 - 1, "base", other, 2**63 - 1),
    )
    table = (
        "rater,prompt,seed,winner,loser\n"
        '7,"a red apple, ripe",3,mine,base\n'
        f"8,a whale,{2**63 - 1},base,{other}\n"
    )
    assert load(folder, table) == expected
    assert load(folder, "\ufeff" + table.replace("\n", "\r\n")) == expected
    rows = [
        {"prompt": "a red apple, ripe", "seed": 3, "winner": "mine", "loser": "base", "rater": 7},
        {"prompt": "a whale", "seed": 2**63 - 1, "winner": "base", "loser": "other one"},
    ]
    lines = "\n\n".join(json.dumps(row) for row in rows)
    assert load(folder, lines, "table.jsonl") == expected


def test_a_loser_of_another_seed_may_be_of_the_winners_model(folder):
    rows = load(folder, json.dumps(ROW | {"loser": "mine", "loser_seed": 2}), "table.jsonl")
    assert (rows[0].seed, rows[0].loser_seed) == (1, 2)
    assert rows[0].winner == rows[0].loser
    with pytest.raises(ConfigError, match="Leave ties out"):
        load(folder, json.dumps(ROW | {"loser": "mine", "loser_seed": 1}), "table.jsonl")
    with pytest.raises(ConfigError, match="whole number"):
        load(folder, json.dumps(ROW | {"loser_seed": -2}), "table.jsonl")


def test_runs_checkpoints_and_shipped_adapters_have_the_names_of_other_places(folder):
    run = RunDir.create(folder / "runs" / "first", RunConfig())
    for place in (run.path / "adapter", run.checkpoint_dir(40)):
        place.mkdir(parents=True, exist_ok=True)
        (place / WEIGHTS).write_bytes(b"")
    table = folder / "table.csv"
    table.write_text(f"{HEADER}a,0,run:first,run:first@40\nb,1,first,tiny-rlcm\n")
    rows = load_preferences(str(table), (), folder / "runs")
    shipped = SHIPPED / "tiny-rlcm"
    expected = [(run.path / "adapter", run.checkpoint_dir(40)), (run.path / "adapter", shipped)]
    assert [(Path(row.winner), Path(row.loser)) for row in rows] == expected
    table.write_text(f"{HEADER}a,0,run:second,base\n")
    with pytest.raises(ConfigError, match=r"Line 2 of .*Run 'second' has no adapter"):
        load_preferences(str(table), (), folder / "runs")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (" ,0,mine,base", "Line 2 of .*The prompt is empty"),
        ("apple,-1,mine,base", "seed='-1' is not a whole number from 0 to"),
        ("apple,1.5,mine,base", "seed='1.5' is not a whole number"),
        (f"apple,{2**63},mine,base", "is not a whole number from 0 to 9223372036854775807"),
        ("apple,0,mine,mine", "winner and loser are both .*Leave ties out"),
        ("apple,0,mine,theirs", "no run and no folder 'theirs'"),
        ("apple,0,,mine", "winner or loser is empty"),
        ("apple,0,mine", "loser=None is not text"),
        ("held out,0,mine,base", "'held out' is also evaluated on"),
    ],
)
def test_a_bad_row_is_named_with_its_line(folder, row, words):
    with pytest.raises(ConfigError, match=words):
        load(folder, HEADER + row + "\n", held_out=("held out",))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("table.txt", HEADER, "is neither a .csv nor a .jsonl file"),
        ("table.csv", "prompt,seed,chosen,rejected\n", "lacks the column 'winner'"),
        ("table.csv", HEADER, "has no rows. Give at least one preference"),
        ("table.jsonl", '{"prompt": "a"}\n[1]\n', "Line 1 .*winner=None is not text"),
        ("table.jsonl", "[1]\n", "Line 1 of .* is not a JSON object. Write lines like"),
        ("table.jsonl", ROW | {"seed": True}, "seed=True is not a whole number"),
        ("table.jsonl", ROW | {"prompt": 5}, "prompt=5 is not text"),
        ("table.csv", HEADER.encode() + b"\xe9t\xe9,0,mine,base\n", "is not in UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_said(folder, name, text, words):
    with pytest.raises(ConfigError, match=words):
        load(folder, json.dumps(text) if isinstance(text, dict) else text, name)
    with pytest.raises(MissingFile, match=r"none\.csv does not exist"):
        load_preferences(str(folder / "none.csv"), ())

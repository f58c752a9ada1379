import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import constants

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile
from rocm.prompts.files import read_prompts
from rocm.prompts.split import load_prompts, noise_seed, prompts_of, training_item
from rocm.storage.paths import ROOT
from tests.hub_server import COMMIT, serving


@pytest.fixture
def listed(tmp_path: Path) -> str:
    path = tmp_path / "list.txt"
    path.write_text(
        "\n".join([*(f"prompt {n}" for n in range(50)), "", "prompt 1", "  prompt 2  "])
    )
    return str(path)


def test_evaluation_prompts_are_never_trained_on(listed):
    for source in (listed, "embedded"):
        prompts = load_prompts(source, 16, seed=0)
        assert len(prompts.evaluation) == 16
        assert not set(prompts.train) & set(prompts.evaluation)


def test_a_list_loses_duplicates_and_empty_lines_and_nothing_else(listed):
    prompts = load_prompts(listed, 10, seed=0)
    assert sorted([*prompts.train, *prompts.evaluation]) == sorted(f"prompt {n}" for n in range(50))


def test_the_split_depends_on_the_seed_alone(listed):
    assert load_prompts(listed, 10, seed=3) == load_prompts(listed, 10, seed=3)
    assert load_prompts(listed, 10, seed=3) != load_prompts(listed, 10, seed=4)


def test_every_epoch_draws_every_prompt_once_in_its_own_order():
    prompts = [f"prompt {n}" for n in range(20)]
    drawn = [training_item(prompts, seed=0, index=index) for index in range(40)]
    assert set(Counter(drawn).values()) == {2}
    assert drawn[:20] != drawn[20:]
    assert drawn[:20] != prompts


def test_noise_seeds_differ_between_pictures_and_runs():
    seeds = {noise_seed(seed, index) for seed in range(10) for index in range(-100, 100)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("source", ["a" * 5000, "~nobody-here/x", "a\0b", "README.md/x"])
def test_a_list_that_can_be_no_path_is_a_missing_file(source):
    with pytest.raises(MissingFile):
        load_prompts(source, 2, seed=0)


WRITTEN = {
    "list.csv": 'id,caption\n1,"a cat, asleep"\n2,"a ""dog"""\n',
    "list.tsv": 'id\tcaption\n1\ta cat, asleep\n2\t"a ""dog"""\n',
    "list.json": '[{"caption": "a cat, asleep"}, {"caption": "a \\"dog\\""}]',
    "list.jsonl": '{"caption": "a cat, asleep"}\n{"caption": "a \\"dog\\""}\n',
    "texts.json": '["a cat, asleep", "a \\"dog\\""]',
    "list.txt": 'a cat, asleep\n\n a "dog" \n',
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_gives_the_same_prompts(tmp_path, name):
    (tmp_path / name).write_text(WRITTEN[name])
    assert read_prompts(tmp_path / name) == ["a cat, asleep", 'a "dog"']


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "id,words\n1,cat\n", "Set prompt_column to one of: id, words"),
        ("a.json", "{", "it is not a .json file"),
        ("a.json", '[{"caption": "a"}, {"caption": 1}]', "row 2 has no text under 'caption'"),
        ("a.csv", "id,prompt\n1,a cat\n2,a cat, asleep\n", "row 2 has more cells than the header"),
        ("a.csv", "id,prompt\n1\n", "row 1 has no text under 'prompt'"),
        ("a.json", "[" * 100_000, "it is not a .json file (maximum recursion depth"),
        ("a.txt", "\n" + "x" * 1001, "Line 2 of"),
        ("a.json", '["a", ""]', "Prompt 2 of"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_prompts(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_ends_where_editors_end_it_and_not_within_a_text(tmp_path):
    within = "a cat\u2028asleep\x85"
    (tmp_path / "a.txt").write_bytes(f"\ufeffa dog\r\n{within}\rx".encode())
    assert read_prompts(tmp_path / "a.txt") == ["a dog", within.strip(), "x"]
    row = json.dumps({"prompt": within}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(f"{row}\n{row}\n")
    assert read_prompts(tmp_path / "a.jsonl") == [within.strip()] * 2


def test_prompts_that_differ_in_capitals_only_never_stand_on_both_sides(tmp_path):
    words = [f"{verb} {n}" for n in range(40) for verb in ("Draw a  cat", "draw a cat")]
    (tmp_path / "a.txt").write_text("\n".join(words))
    prompts = load_prompts(str(tmp_path / "a.txt"), 10, seed=0)
    folded = [" ".join(p.casefold().split()) for p in (*prompts.train, *prompts.evaluation)]
    assert len(folded) == len(set(folded)) == 40


def test_a_sample_is_by_the_seed_and_leaves_the_evaluation_as_it_is(listed):
    whole, sample = load_prompts(listed, 10, 3), load_prompts(listed, 10, 3, num_prompts=7)
    assert sample.train == whole.train[:7]
    assert sample.evaluation == whole.evaluation
    assert sample.sha256 != whole.sha256
    with pytest.raises(ConfigError, match="num_prompts=41"):
        load_prompts(listed, 10, 3, num_prompts=41)


@pytest.fixture
def data_sets(tmp_path: Path):
    """A data set with pictures in Parquet, and one in JSON lines; and where prompts are kept."""
    with_pictures, lines = tmp_path / "pick", tmp_path / "lines"
    (with_pictures / "data").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        captions = [f"{split} {n}" for n in range(300)] + ["", "x" * 1001, "train  1"]
        pictures = [os.urandom(20_000) for _ in captions]
        table = pyarrow.table({"jpg_0": pictures, "caption": captions, "jpg_1": pictures})
        path = with_pictures / "data" / f"{split}-0000{number}-of-00002.parquet"
        pyarrow.parquet.write_table(table, path, row_group_size=100)
    lines.mkdir()
    (lines / "all.jsonl").write_text("\n".join(json.dumps({"text": f"a {n}"}) for n in range(9)))
    with serving() as hub:
        hub.folders = {"datasets/some/pick": with_pictures, "datasets/some/lines": lines}
        yield hub, tmp_path / "home"


def download(hub, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rocm", "download", *words]
    env = {**os.environ, **hub.environment, "HF_HOME": str(home)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_of_a_data_set_the_captions_travel_and_the_pictures_do_not(data_sets, monkeypatch):
    hub, home = data_sets
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    config = {"prompts": "hub:some/pick", "num_prompts": 100, "num_eval_prompts": 20}
    with pytest.raises(MissingFile, match="python -m rocm download hub:some/pick"):
        prompts_of(RunConfig.load(config))
    done = download(hub, home, "hub:some/pick")
    assert done.returncode == 0, done.stderr
    assert "300 prompts, 2 left out" in done.stdout
    sizes = sum(path.stat().st_size for path in hub.folders["datasets/some/pick"].rglob("*.p*"))
    assert hub.sent < sizes / 4
    prompts = prompts_of(RunConfig.load(config))
    assert len(prompts.train) == 100
    assert all(prompt.startswith("train ") for prompt in (*prompts.train, *prompts.evaluation))
    assert prompts.revision == COMMIT


def test_a_data_set_by_revision_pattern_and_column(data_sets, monkeypatch):
    hub, home = data_sets
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    source = f"hub:some/pick@{COMMIT}:data/test-*.parquet"
    assert download(hub, home, source, "--column", "caption").returncode == 0
    prompts = load_prompts(source, 20, 0, column="caption")
    assert all(p.startswith(("test ", "train 1")) for p in (*prompts.train, *prompts.evaluation))
    assert download(hub, home, "hub:some/lines").returncode == 0
    assert len(load_prompts("hub:some/lines", 2, 0).train) == 7


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("hub:some/nothing", "is not on the hub, or is private"),
        ("hub:some/lines:data/*.csv", "no file of the data set fits. It has all.jsonl"),
        ("hub:some/pick --column captions", "no column 'captions'"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_one_sentence(data_sets, words, sentence):
    failed = download(*data_sets, *words.split())
    assert failed.returncode == 2
    assert sentence in failed.stderr.splitlines()[-1]

"""Where published rewards' files are looked for, what is said where they are not, downloads."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from rocm.cli.main import main
from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile
from rocm.rewards import files as reward_files
from rocm.rewards.files import PUBLISHED, download, find_weights, is_usable
from rocm.rewards.names import EMBEDDED, tracked
from rocm.storage.hub import PINNED
from rocm.training.estimate import Estimate
from rocm.training.preflight import problems
from rocm.training.setup import set_up


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty weights folder; the hub's cache is empty too."""
    monkeypatch.setenv("ROCM_REWARDS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "weights"


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_all(folder, name):
    files = PUBLISHED[name].files
    return [put(folder / file.repository.rpartition("/")[2] / file.name) for file in files]


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_are_found_in_the_weights_folder_and_asked_for_where_they_are_missing(folder, name):
    assert not is_usable(name)
    with pytest.raises(MissingFile) as caught:
        find_weights(name)
    sentence = str(caught.value)
    assert all(file.name in sentence for file in PUBLISHED[name].files)
    assert str(PUBLISHED[name].files[0].folder) in sentence
    assert f"python -m rocm rewards --download {name}" in sentence
    assert "size not stated" in sentence if name == "blipscore" else "B), " in sentence
    paths = put_all(folder, name)
    assert is_usable(name)
    assert find_weights(name) == paths


def test_files_in_the_hubs_cache_are_found(tmp_path):
    repository = tmp_path / "cache" / "models--xswu--HPSv2"
    put(repository / "refs" / "main", b"abc")
    put(repository / "snapshots" / "abc" / "HPS_v2_compressed.pt")
    assert not is_usable("hpsv2")  # of a commit that nobody has looked at
    path = put(repository / "snapshots" / PINNED["xswu/HPSv2"] / "HPS_v2_compressed.pt")
    assert find_weights("hpsv2") == [path]
    assert not is_usable("hpsv2.1")


@pytest.mark.parametrize("content", [b"vocabulary", b"other"])
def test_a_file_of_the_hub_is_asked_for_at_its_commit_and_checked(tmp_path, monkeypatch, content):
    sha256 = hashlib.sha256(b"vocabulary").hexdigest()
    file = replace(PUBLISHED["blipscore"].files[1], sha256=sha256)
    published = replace(PUBLISHED["blipscore"], files=(file,))
    monkeypatch.setitem(reward_files.PUBLISHED, "blipscore", published)

    def answer(repository, name, revision):
        folder = f"models--{repository.replace('/', '--')}"
        return str(put(tmp_path / "cache" / folder / "snapshots" / revision / name, content))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", answer)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: None)
    if content == b"vocabulary":
        assert [one.name for one in download("blipscore", str)] == ["vocab.txt"]
        assert is_usable("blipscore")
        return
    words = r"vocab\.txt of .* could not be downloaded: it arrived with sha"
    with pytest.raises(MissingFile, match=words):
        list(download("blipscore", str))
    assert not is_usable("blipscore")


def test_hpsv2s_full_checkpoint_is_answered_with_the_compressed_ones_name(folder):
    put(folder / "HPSv2" / "HPS_v2.pt")
    with pytest.raises(MissingFile, match=r"HPS_v2\.pt holds the optimizer") as caught:
        find_weights("hpsv2")
    assert "Use HPS_v2_compressed.pt of xswu/HPSv2 (1.97 GB)" in str(caught.value)


def test_a_run_with_missing_weights_is_refused_before_it_starts():
    config = RunConfig(reward="0.5*hpsv2+tiny-clip", track="")
    words = "reward=hpsv2 needs HPS_v2_compressed.pt (1.97 GB)"
    assert words in "".join(problems(config, Estimate(None, None, "")))


def test_the_command_lists_what_is_here_and_what_is_missing(folder, capsys):
    put_all(folder, "aesthetic")
    assert main(["rewards"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "present" in lines["aesthetic"]
    assert "present" in lines["clipscore"]
    assert "missing, 1.97 GB" in lines["hpsv2.1"]
    assert str(folder) in lines["Own"]


def test_a_download_that_cannot_be_is_one_sentence(capsys):
    sentences = {
        "hpsv3": "No published reward 'hpsv3'. Published: hpsv2",
        "hpsv2": "HPS_v2_compressed.pt of xswu/HPSv2 cannot be reached: HF_HUB_OFFLINE",
    }
    for name, sentence in sentences.items():
        assert main(["rewards", "--download", name]) == 2  # HF_HUB_OFFLINE=1
        printed = capsys.readouterr()
        assert sentence in printed.err
        assert len(printed.err.splitlines()) == 1
    assert "downloading HPS_v2_compressed.pt" in printed.out
    assert "(1.97 GB)" in printed.out


@pytest.fixture
def served(tmp_path, monkeypatch) -> Path:
    """A file outside the hub that a reward needs, and its address."""
    source = put(tmp_path / "head.pth", b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    first = replace(PUBLISHED["aesthetic"].files[0], url=source.as_uri(), sha256=sha256)
    one_file = replace(PUBLISHED["aesthetic"], files=(first,))
    monkeypatch.setitem(reward_files.PUBLISHED, "aesthetic", one_file)
    return source


def test_a_file_outside_the_hub_is_downloaded_once(served, capsys):
    assert main(["rewards", "--download", "aesthetic"]) == 0
    assert "downloading sac+logos+ava1-l14-linearMSE.pth" in capsys.readouterr().out
    assert find_weights("aesthetic")[0].read_bytes() == b"weights"
    served.unlink()
    assert main(["rewards", "--download", "aesthetic"]) == 0
    assert "aesthetic: present" in capsys.readouterr().out


def test_a_file_with_another_content_is_not_kept(served, capsys):
    served.write_bytes(b"other")
    assert main(["rewards", "--download", "aesthetic"]) == 2
    assert "could not be downloaded: invalid hash value" in capsys.readouterr().err
    assert not is_usable("aesthetic")


def test_what_is_usable_is_held_out_by_default(folder):
    def names(track, reward, **others):
        return tracked(RunConfig(track=track, reward=reward, **others))

    assert names("auto", "hpsv2") == [*EMBEDDED, "taste"]
    put_all(folder, "pickscore")
    put_all(folder, "clipscore")
    expected = [*EMBEDDED, "pickscore", "clipscore"]
    assert names("auto", "hpsv2") == [*expected, "taste"]
    assert names("auto", "0.5*pickscore+saturation") == [*expected, "taste"]
    assert names("auto", "colorfulness", model="some/lcm") == expected
    assert names("auto", "colorfulness") == [*EMBEDDED, "taste"]
    assert names("auto", "colorfulness", prompts="mine.txt") == list(EMBEDDED)
    assert names(" saturation, hpsv2 ", "hpsv2", model="some/lcm") == ["saturation", "hpsv2"]
    assert names("", "hpsv2", model="some/lcm") == []


@pytest.mark.parametrize("settings", [{"reward": "tiny-clip+taste"}, {"judge": "taste"}])
def test_nothing_is_trained_or_chosen_by_the_gold_reward(settings):
    said = problems(RunConfig(**settings), Estimate(None, None, ""))
    assert any("gold reward" in sentence for sentence in said)
    with pytest.raises(ConfigError, match="gold reward"):
        set_up(RunConfig(**settings))

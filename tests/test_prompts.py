from collections import Counter
from pathlib import Path

import pytest

from rocm.errors import ConfigError, MissingFile
from rocm.prompts import check_prompt, load_prompts, noise_seed, training_item


@pytest.fixture
def listed(tmp_path: Path) -> str:
    path = tmp_path / "list.txt"
    path.write_text(
        "\n".join([*(f"prompt {n}" for n in range(50)), "", "prompt 1", "  prompt 2  "])
    )
    return str(path)


def test_evaluation_prompts_are_never_trained_on(listed: str) -> None:
    for source in (listed, "embedded"):
        prompts = load_prompts(source, 16, seed=0)
        assert len(prompts.evaluation) == 16
        assert not set(prompts.train) & set(prompts.evaluation)


def test_a_list_loses_duplicates_and_empty_lines_and_nothing_else(listed: str) -> None:
    prompts = load_prompts(listed, 10, seed=0)
    assert sorted([*prompts.train, *prompts.evaluation]) == sorted(f"prompt {n}" for n in range(50))


def test_the_split_depends_on_the_seed_alone(listed: str) -> None:
    assert load_prompts(listed, 10, seed=3) == load_prompts(listed, 10, seed=3)
    assert load_prompts(listed, 10, seed=3) != load_prompts(listed, 10, seed=4)


def test_every_epoch_draws_every_prompt_once_in_its_own_order() -> None:
    prompts = [f"prompt {n}" for n in range(20)]
    drawn = [training_item(prompts, seed=0, index=index) for index in range(40)]
    assert set(Counter(drawn).values()) == {2}
    assert drawn[:20] != drawn[20:]
    assert drawn[:20] != prompts


def test_noise_seeds_differ_between_pictures_and_runs() -> None:
    seeds = {noise_seed(seed, index) for seed in range(10) for index in range(-100, 100)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_prompt_is_trimmed_or_refused() -> None:
    assert check_prompt("  a cat \n") == "a cat"
    assert len(check_prompt("x" * 1000)) == 1000
    for bad in ("", " \n", "x" * 1001):
        with pytest.raises(ConfigError):
            check_prompt(bad)


@pytest.mark.parametrize("source", ["a" * 5000, "~nobody-here/x", "a\0b", "README.md/x"])
def test_a_list_that_can_be_no_path_is_a_missing_file(source: str) -> None:
    with pytest.raises(MissingFile):
        load_prompts(source, 2, seed=0)


@pytest.mark.parametrize("source", ["/dev/zero", "assets"])
def test_what_is_no_file_is_not_read(source: str) -> None:
    with pytest.raises(ConfigError, match="is not a UTF-8 text file"):
        load_prompts(source, 2, seed=0)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ConfigError, match="no character"):
        check_prompt("an apple \udcff")

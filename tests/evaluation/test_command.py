"""`python -m rocm evaluate` for real: the embedded model, an adapter that ships, the table."""

import csv
import io

import pytest

from rocm.cli.main import main
from rocm.evaluation.request import JUDGE


@pytest.mark.slow
def test_the_table_is_printed_and_the_same_command_draws_nothing_again(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ROCM_HOME", str(tmp_path))
    words = ["evaluate", "assets/adapters/tiny-rocm-beta0", "--num-prompts", "4", "--seeds", "2"]
    words += ["--format", "csv", "--out", str(tmp_path / "table.tex")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    lines = {(one["arm"], one["measure"]): one for one in csv.DictReader(io.StringIO(printed))}
    gain, loss = (lines["tiny-rocm-beta0", name] for name in ("colorfulness", JUDGE))
    # The hacked adapter: its reward is up, the held-out judge down, all pictures alike.
    assert float(gain["difference_low"]) > 0 > float(loss["difference_high"])
    assert (gain["is_trained"], loss["is_held_out"]) == ("1", "1")
    assert float(lines["tiny-rocm-beta0", "kl_nats"]["low"]) > 0
    assert float(lines["tiny-rocm-beta0", "diversity"]["difference_high"]) < 0
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text()
    before = [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*.png"))]
    assert len(before) == 16
    assert main(words) == 0
    assert capsys.readouterr().out == printed
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*.png"))] == before

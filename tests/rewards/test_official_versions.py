"""An official score carries its package's version and its checkpoint's hash, wherever it goes."""

import csv
import hashlib
import io
import json
import sys
from dataclasses import replace

import pytest

from rocm.errors import MissingDependency
from rocm.evaluation.formats import to_csv, to_latex, to_markdown
from rocm.evaluation.plan import PLAN, make_plan
from rocm.evaluation.request import Request
from rocm.evaluation.sheet import manifest
from rocm.evaluation.table import make_table
from rocm.rewards import official_versions
from rocm.ui.compare.view import table_html

OFFICIAL = "official:hpsv2"
ASKED = Request(("base",), ("a fox",), rewards=(OFFICIAL, "saturation"))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Of an environment that has packages of made-up versions."""
    python, file = tmp_path / "python", tmp_path / "hps.pt"
    python.write_text("""#!/bin/sh
echo '{"hpsv2": "1.9", "image-reward": "1.8", "torch": "2.7"}'
""")
    python.chmod(0o755)
    file.write_bytes(b"weights")
    monkeypatch.setenv("ROCM_REFERENCE_PYTHON", str(python))
    monkeypatch.setattr(official_versions, "find_weights", lambda name: [file])
    return file


def test_version_and_hash_stand_in_plan_table_and_manifest(checkpoint, tmp_path):
    made = make_plan(ASKED, tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    words = f"hpsv2 1.9, torch 2.7, hps.pt with SHA-256 {digest}"
    assert made.official == {OFFICIAL: words}
    assert PLAN.validate_python(json.loads(json.dumps(manifest(made, [])))) == made
    table = make_table(made, [])
    lines = {one["measure"]: one["version"] for one in csv.DictReader(io.StringIO(to_csv(table)))}
    assert (lines[OFFICIAL], lines["saturation"]) == (words, "")
    for text in (to_markdown(table), to_latex(table), table_html(table)):
        assert f"{OFFICIAL} by {words}." in text


def test_another_checkpoint_is_another_comparison_and_old_ones_keep_their_name(
    checkpoint, tmp_path, monkeypatch
):
    first = make_plan(ASKED, tmp_path)
    checkpoint.write_bytes(b"other weights")
    assert make_plan(ASKED, tmp_path).key != first.key
    plain = make_plan(replace(ASKED, rewards=("saturation",)), tmp_path)
    assert plain.official == {}
    record = manifest(plain, [])
    del record["official"]
    assert PLAN.validate_python(record).key == plain.key == "7b158dc56fe49402"
    monkeypatch.setenv("ROCM_REFERENCE_PYTHON", sys.executable)
    with pytest.raises(MissingDependency, match="is not an environment of the official packages"):
        make_plan(ASKED, tmp_path)

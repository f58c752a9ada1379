"""What is drawn is kept, whatever happens, and drawn once; what is taken away is whole."""

import csv
import io
import json
import zipfile
from threading import Event

import pytest
from PIL import Image

from rocm.errors import DrawingError, MissingFile, RunError
from rocm.evaluation import store
from rocm.evaluation.plan import PLAN, Column, ComparisonPlan
from rocm.evaluation.request import Request
from rocm.evaluation.sheet import sheet
from rocm.evaluation.store import Comparisons
from rocm.evaluation.table import make_table
from rocm.generation.picture import Picture, picture_file
from tests.generation.conftest import wait_until

SHAPE = Picture("")
ASKED = Request(("base",), ("x",))


class FakeQueue:
    """Pictures of one color, scores by seed.

    A prompt `slow` stops after five pictures until it is cancelled, `bad` fails after three.
    """

    def __init__(self):
        self.requests, self.cancelled = [], Event()

    def submit(self, pictures, folder, rewards):
        folder.mkdir(exist_ok=True)
        self.requests.append((pictures, folder, rewards))
        return len(self.requests) - 1

    def results(self, number):
        pictures, folder, rewards = self.requests[number]
        for index, picture in enumerate(pictures):
            if (picture.prompt, index) == ("bad", 3):
                raise DrawingError("The model is no model. Choose another.")
            if (picture.prompt, index) == ("slow", 5):
                assert self.cancelled.wait(60)
                raise DrawingError("The request was cancelled.")
            color = (picture.seed * 40 % 256, len(picture.prompt) * 20 % 256, 90)
            Image.new("RGB", (32, 32), color).save(picture_file(folder, index))
            scores = {name: picture.seed + 0.5 for name in rewards}
            yield index, picture_file(folder, index), scores

    def cancel(self, number):
        self.cancelled.set()

    def status(self, number):
        return None


@pytest.fixture
def kept(tmp_path):
    return Comparisons(tmp_path, FakeQueue())


def planned(*prompts, num_seeds=4):
    columns = (Column("base", "", SHAPE, is_base=True), Column("arm", "", SHAPE, ("saturation",)))
    return ComparisonPlan(
        columns, prompts, tuple(range(num_seeds)), "", ("saturation", "tiny-judge"), ""
    )


def drawn(kept, plan):
    return kept.wait(kept.draw(plan, ASKED), 120)


def test_everything_is_drawn_and_measured_across_chunks(kept, monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 5)
    plan = planned("one", "two")
    status = drawn(kept, plan)
    assert (status.state, status.num_drawn, status.num_pictures) == ("finished", 16, 16)
    for one in kept.results(plan.key):
        assert one.scores["tiny-judge"] == plan.picture(one.index).seed + 0.5
        with Image.open(one.file) as picture:
            assert picture.getpixel((0, 0))[0] == plan.picture(one.index).seed * 40
    assert kept.plan(plan.key) == plan
    assert kept.pace().num_bytes > 0
    assert kept.keys() == [plan.key]


def test_the_same_again_draws_nothing_and_a_missing_picture_alone(kept):
    plan = planned("one")
    drawn(kept, plan)
    assert drawn(kept, plan).state == "finished"
    assert len(kept._queue.requests) == 1
    lost, other = (one.file for one in kept.results(plan.key)[2:4])
    before = other.stat().st_mtime_ns
    lost.unlink()
    assert drawn(kept, plan).state == "finished"
    assert lost.is_file()
    assert other.stat().st_mtime_ns == before
    assert kept.status(plan.key).num_drawn == plan.num_pictures


def test_cancel_and_failure_keep_what_is_drawn(kept):
    status = drawn(kept, planned("bad"))
    assert (status.state, status.num_drawn) == ("failed", 3)
    assert status.error == "The model is no model. Choose another."
    key = kept.draw(planned("slow"), ASKED)
    wait_until(lambda: kept.status(key).num_drawn == 5)
    assert kept.status(key).state == "drawing"
    kept.cancel(key)
    status = kept.wait(key, 60)
    assert (status.state, status.num_drawn, status.error) == ("cancelled", 5, "")
    assert all(one.file.is_file() for one in kept.results(key))


def test_after_a_crash_of_the_app_it_reads_as_unfinished_and_goes_on(kept):
    plan = planned("one")
    drawn(kept, plan)
    folder = kept.path / plan.key
    (folder / "end.json").unlink()
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text("".join(lines[:3]) + lines[3][:10])
    status = kept.status(plan.key)
    assert (status.state, status.num_drawn) == ("unfinished", 3)
    assert drawn(kept, plan).state == "finished"
    assert {one.index for one in kept.results(plan.key)} == set(range(plan.num_pictures))


def test_a_name_that_is_none_and_a_damaged_plan_are_sentences(kept):
    for key in ("0123456789abcdef", "../../etc/passwd", ""):
        with pytest.raises(MissingFile, match="There is no comparison"):
            kept.status(key)
    plan = planned("one")
    drawn(kept, plan)
    (kept.path / plan.key / "comparison.json").write_text('{"columns": []}')
    with pytest.raises(RunError, match="is damaged"):
        kept.plan(plan.key)


def test_where_others_can_reach_the_page_old_comparisons_go(kept, monkeypatch):
    monkeypatch.setattr(store, "MAX_PUBLIC_KEPT", 1)
    drawn(kept, planned("one"))
    second = kept.draw(planned("two"), ASKED, is_public=True)
    kept.wait(second, 60)
    assert kept.keys() == [second]


def test_the_zip_holds_every_picture_its_figures_and_what_drew_it(kept):
    plan = planned("one", 'two, "three"', "four")
    assert drawn(kept, plan).state == "finished"
    with zipfile.ZipFile(kept.bundle(plan.key)) as file:
        lines = list(csv.DictReader(io.StringIO(file.read("results.csv").decode())))
        manifest = json.loads(file.read("manifest.json"))
        names = set(file.namelist())
    assert {f"pictures/{line['file']}" for line in lines} <= names
    assert len(lines) == plan.num_pictures
    assert {line["prompt"] for line in lines} == set(plan.prompts)
    assert PLAN.validate_python(manifest) == plan
    assert manifest["versions"]["torch"]
    assert {"table.csv", "table.json", "table.md", "table.tex", "sheet.png"} < names


def test_a_damaged_picture_is_named(kept):
    plan = planned("one", "two", "three", num_seeds=2)
    drawn(kept, plan)
    results = kept.results(plan.key)
    results[0].file.write_bytes(results[0].file.read_bytes()[:60])
    for take in (sheet, make_table):
        with pytest.raises(RunError, match=r"\.png is damaged. Delete it, and compare again"):
            take(plan, results)

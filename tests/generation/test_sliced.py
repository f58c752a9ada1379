"""Pictures drawn only in the request of whoever lends a GPU."""

from pathlib import Path

import pytest
from PIL import Image

from rocm.errors import DrawingError
from rocm.evaluation.plan import make_plan
from rocm.evaluation.request import Request
from rocm.evaluation.store import Comparisons
from rocm.generation import sliced
from rocm.generation.orders import Order, Orders
from rocm.generation.picture import Picture, picture_file, png_bytes
from rocm.generation.sliced import PAUSED, SlicedQueue
from rocm.runs.adapters import BASE

PICTURE = Picture("a red apple", 7)


def draw(order):
    """A GPU that paints every picture red."""
    for index in map(int, order["pictures"]):
        content = png_bytes(Image.new("RGB", (8, 8), "red"), PICTURE)
        picture_file(Path(order["folder"]), index).write_bytes(content)
        yield {"index": index, "scores": dict.fromkeys(order["rewards"], 0.5)}
    yield {"end": "finished"}


def in_parts(order):
    """A GPU that is lent for one picture at a time."""
    first = dict([*order["pictures"].items()][:1])
    yield from [*draw({**order, "pictures": first})][:1]
    yield {"end": PAUSED}


def broken(order):
    yield from list(draw({**order, "pictures": {"0": {}}}))[:1]
    raise OSError("GPU task aborted")


@pytest.fixture
def order():
    return Order(prompt="a red apple", num_pictures=2)


def orders(tmp_path, gpu=draw):
    return Orders(tmp_path, SlicedQueue(tmp_path / "generated" / "log", gpu))


def test_an_order_waits_until_the_gpu_is_lent(tmp_path, order):
    made = orders(tmp_path)
    entry_id = made.draw(order)
    assert made.entry(entry_id)[1].state == "waiting"
    made.lend(entry_id)
    entry, status = made.entry(entry_id)
    assert (len(entry.files), entry.state, status) == (2, "finished", None)


def test_pictures_that_one_slice_leaves_are_drawn_in_the_next(tmp_path, order):
    made = orders(tmp_path, in_parts)
    entry_id = made.draw(order)
    made.lend(entry_id)
    entry, _ = made.entry(entry_id)
    assert (len(entry.files), entry.state) == (2, "finished")


def test_a_gpu_that_is_taken_away_ends_the_order_with_what_is_drawn(tmp_path, order):
    made = orders(tmp_path, broken)
    entry_id = made.draw(order)
    with pytest.raises(OSError, match="aborted"):
        made.lend(entry_id)
    entry, status = made.entry(entry_id)
    assert (len(entry.files), entry.state, status) == (1, "failed", None)


def test_an_order_whose_visitor_left_is_given_up(tmp_path, order, monkeypatch):
    monkeypatch.setattr(sliced, "ABANDONED_S", 0.0)
    queue = orders(tmp_path).queue
    number = queue.submit([PICTURE], tmp_path)
    with pytest.raises(DrawingError, match="lent"):
        list(queue.results(number))
    assert not queue.lend(number)


def test_a_comparison_is_drawn_to_its_end_by_whoever_lends(tmp_path):
    queue = SlicedQueue(tmp_path / "log", draw)
    comparisons = Comparisons(tmp_path, queue)
    prompts = tuple(f"apple {number}" for number in range(70))  # more than one request
    request = Request((BASE,), prompts, rewards=("tiny-clip",))
    key = comparisons.draw(make_plan(request, tmp_path / "runs"), request)
    comparisons.lend(key)
    assert comparisons.wait(key, 30).state == "finished"
    assert len(comparisons.results(key)) == 70

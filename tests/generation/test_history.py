"""The history on disk, and the orders' rules in front of it; no picture is drawn here."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from urllib.parse import parse_qs

import pytest

from rocm.config import RunConfig
from rocm.errors import ConfigError, DrawingError, MissingFile
from rocm.generation.history import History
from rocm.generation.orders import MAX_ORDERED, MAX_ORDERED_PUBLIC, Order, Orders
from rocm.generation.picture import Picture
from rocm.generation.queue import DrawingQueue
from rocm.runs.run_dir import RunDir
from rocm.ui.generate.view import query

APPLE = Order(prompt="a red apple")
VISITOR, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def orders(tmp_path):
    """Orders whose drawing process sleeps instead of answering."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    orders = Orders(tmp_path, DrawingQueue(tmp_path / "log.txt", command=command))
    yield orders
    orders.queue.close()


@pytest.fixture
def run_id(tmp_path):
    config = RunConfig(grid="rlcm", model="assets/tiny-lcm")
    run = RunDir.create(tmp_path / "runs" / "mine", config)
    (run.path / "adapter").mkdir()
    (run.path / "adapter" / "pytorch_lora_weights.safetensors").write_bytes(b"")
    return "mine"


def test_entries_come_newest_first_and_a_deleted_one_can_come_back(tmp_path):
    history = History(tmp_path)
    ids = [history.create({}, [Picture(str(number))], [False])[0] for number in range(3)]
    assert history.ids() == ids[::-1]
    history.delete(ids[1])
    assert history.ids() == [ids[2], ids[0]]
    with pytest.raises(MissingFile, match="There is no drawing"):
        history.entry(ids[1])
    history.restore(ids[1])
    assert history.ids() == ids[::-1]
    history.finish(ids[0], "cancelled", "", 1.5)
    assert (history.entry(ids[0]).state, history.entry(ids[0]).seconds) == ("cancelled", 1.5)


@pytest.mark.parametrize("name", ["", "..", "../runs/mine", "bin", "/etc", "x" * 200])
def test_a_name_that_is_no_entry_reaches_no_file(tmp_path, name):
    history = History(tmp_path / "generated")
    (tmp_path / "runs").mkdir()
    for ask in (history.entry, history.delete, history.restore):
        with pytest.raises(MissingFile, match="There is no drawing"):
            ask(name)
    assert (tmp_path / "runs").is_dir()


def test_a_damaged_entry_hides_no_other_and_stays_on_disk(tmp_path, orders):
    history = History(tmp_path / "generated")
    whole, _ = history.create(asdict(APPLE), [Picture("x")], [False])
    record = json.loads((history.root / whole / "entry.json").read_text())
    changes = ({"pictures": []}, {"seconds": "long"}, {"is_base": []}, {"state": None})
    wrong = [json.dumps({**record, **change}) for change in changes]
    seed = json.dumps({**record, "pictures": [{"prompt": "x", "seed": "y"}]})
    for text in (*wrong, seed, '{"order": {}}', "no json"):
        _, folder = history.create({}, [Picture("x")], [False])
        (folder / "entry.json").write_text(text)
    assert [entry.entry_id for entry in orders.history()] == [whole]
    assert (folder / "entry.json").read_text() == "no json"


def test_a_run_brings_its_model_and_grid_and_base_pictures_share_the_noise(orders, run_id):
    order = replace(APPLE, adapter=f"run:{run_id}", num_pictures=2, with_base=True, seed=5)
    checked, pictures, is_base = orders.check(order)
    assert checked == order
    assert [picture.seed for picture in pictures] == [5, 6, 5, 6]
    assert is_base == [False, False, True, True]
    assert [bool(picture.adapter) for picture in pictures] == [True, True, False, False]
    assert {picture.grid for picture in pictures} == {"rlcm"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"num_pictures": 1000}, f"=1000 is not allowed: give a whole number 1 to {MAX_ORDERED}"),
        ({"adapter": "run:../../etc"}, "has no adapter"),
    ],
)
def test_an_order_that_cannot_be_drawn_is_refused_before_anything_starts(orders, change, words):
    with pytest.raises((ConfigError, MissingFile), match=r".") as caught:
        orders.draw(replace(APPLE, **change))
    assert words in str(caught.value)
    assert orders.history() == []
    assert orders.queue.process_id() is None


def test_in_public_an_order_is_bounded_and_histories_are_apart(orders, tmp_path):
    assert MAX_ORDERED > MAX_ORDERED_PUBLIC
    for change in ({"adapter": str(tmp_path)}, {"model": "assets/tiny-lcm"}):
        with pytest.raises(ConfigError, match="public page"):
            orders.check(replace(APPLE, **change), VISITOR)
    with pytest.raises(ConfigError, match=f"a whole number 1 to {MAX_ORDERED_PUBLIC}"):
        orders.check(replace(APPLE, num_pictures=MAX_ORDERED_PUBLIC + 1), VISITOR)
    entry_id = orders.draw(APPLE, VISITOR)
    with pytest.raises(DrawingError, match="Your last pictures are still being drawn"):
        orders.draw(APPLE, VISITOR)
    assert [entry.entry_id for entry in orders.history(VISITOR)] == [entry_id]
    assert orders.history(OTHER) == orders.history() == []
    for ask in (orders.entry, orders.cancel, orders.delete):
        with pytest.raises(MissingFile, match="There is no drawing"):
            ask(entry_id, OTHER)
    for name in ("..", "x", "A" * 32):
        with pytest.raises(MissingFile, match="Reload"):
            orders.history(name)


def test_the_address_holds_the_order_and_a_strange_one_is_refused(orders, run_id):
    order = Order("a & b=c?", 7, 3, 2, 4.5, f"run:{run_id}", 0.5, True)
    read = {name: values[0] for name, values in parse_qs(query(order)).items()}
    assert read.pop("tab") == "generate"
    assert orders.check(Order.of(read))[0] == order
    with pytest.raises(ConfigError, match="seed='x' is not allowed"):
        orders.check(Order.of({"prompt": "x", "seed": "x", "else": "1"}))


def test_of_two_orders_of_a_visitor_at_once_one_is_taken(orders, monkeypatch):
    submit = orders.queue.submit

    def slowly(*args, **options):
        time.sleep(0.2)
        return submit(*args, **options)

    monkeypatch.setattr(orders.queue, "submit", slowly)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(orders.draw, APPLE, VISITOR) for _ in range(2)]
    assert sorted(bool(one.exception()) for one in asked) == [False, True]
    assert len(orders.history(VISITOR)) == 1

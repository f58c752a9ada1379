"""New rows for a reader who has the older ones."""

from rocm.runs.feed import Bookmark, read_page
from rocm.storage.files import append_json_line

ROWS = [{"time": 100.5 + step, "step": step, "reward": step / 3} for step in range(40)]


def write(path, rows):
    path.unlink(missing_ok=True)
    for row in rows:
        append_json_line(path, row)


def read_all(path, bookmark, max_bytes):
    """Steps of all pages from a bookmark on, how many pages were fresh, and the last bookmark."""
    steps, fresh, has_more = [], 0, True
    while has_more:
        page = read_page(path, bookmark, max_bytes)
        if page.is_fresh:
            steps, fresh = [], fresh + 1
        steps += page.columns.get("step", [])
        bookmark, has_more = page.bookmark, page.has_more
    return steps, fresh, bookmark


def test_pages_of_any_size_hold_every_row_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, ROWS)
    for max_bytes in (160, 333, 1000, 100_000):
        steps, fresh, _ = read_all(path, Bookmark(), max_bytes)
        assert (steps, fresh) == (list(range(40)), 1)


def test_only_new_rows_are_sent(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, ROWS[:10])
    _, _, bookmark = read_all(path, Bookmark(), 1000)
    assert read_all(path, bookmark, 1000)[:2] == ([], 0)
    append_json_line(path, ROWS[10])
    with open(path, "ab") as file:
        file.write(b'{"time": 111.5, "st')  # being written
    assert read_all(path, bookmark, 1000)[:2] == ([10], 0)


def test_rows_dropped_by_a_resumed_run_are_sent_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, ROWS[:20])
    _, _, bookmark = read_all(path, Bookmark(), 1000)
    as_long = [{**row, "time": row["time"] + 50} for row in ROWS[10:30]]
    longer = [{**row, "loss": 1.0} for row in as_long]
    for kept in (ROWS[:10], ROWS[:10] + as_long, ROWS[:10] + longer, []):
        write(path, kept)
        steps, fresh, _ = read_all(path, bookmark, 100_000)
        assert (steps, fresh) == ([row["step"] for row in kept], 1)


def test_a_damaged_line_is_left_out_wherever_it_stands(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, ROWS[:10])
    for _ in range(2):
        with open(path, "ab") as file:
            file.write(b'{"time": 1\n')
        _, _, bookmark = read_all(path, Bookmark(), 1000)
        append_json_line(path, ROWS[10])
        assert read_all(path, bookmark, 1000)[:2] == ([10], 0)
    assert read_all(path, Bookmark(), 100_000)[0] == [*range(11), 10]


def test_a_missing_measurement_is_none_in_its_column(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, [ROWS[0], {**ROWS[1], "eval/reward": 0.123456789}])
    assert read_page(path, Bookmark()).columns["eval/reward"] == [None, 0.12346]

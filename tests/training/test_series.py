"""Rows of metrics become lines."""

from rocm.training.series import Line, lines, running_mean, seconds_per_step, thinned


def test_a_measurement_may_be_absent_or_null_in_any_row():
    rows = [
        {"step": 0, "eval/reward": 0.5},
        {"step": 1, "reward": 1.0},
        {"step": 2, "reward": None},
        {"step": 3, "reward": 3, "eval/reward": 0.7},
    ]
    found = lines(rows, 500)
    assert (found["reward"].steps, found["reward"].values) == ([1, 3], [1.0, 3.0])
    assert (found["eval/reward"].steps, found["eval/reward"].values) == ([0, 3], [0.5, 0.7])


def test_time_at_work_leaves_out_the_pause_before_going_on():
    rows = [{"step": step, "time": time, "reward": 0.0} for step, time in enumerate([10, 12, 60])]
    assert lines(rows, 500, resumed=[55.0])["reward"].seconds == [0.0, 2.0, 7.0]
    assert lines(rows, 500)["reward"].seconds == [0.0, 2.0, 50.0]


def test_the_running_mean_is_that_of_the_last_five_at_least():
    line = Line(list(range(1, 8)), [float(value) for value in range(1, 8)])
    assert running_mean(line).values == [1, 1.5, 2, 2.5, 3, 4, 5]


def test_a_long_line_keeps_its_first_and_last_point():
    line = thinned(Line(list(range(10_001)), [0.0] * 10_001), 500)
    assert len(line.steps) == 500
    assert (line.steps[0], line.steps[-1]) == (0, 10_000)
    assert line.steps == sorted(set(line.steps))


def test_the_pace_is_not_upset_by_a_pause():
    rows = [{"step": step, "time": 2.0 * step + (1000 if step > 5 else 0)} for step in range(1, 11)]
    assert seconds_per_step(rows) == 2.0
    assert seconds_per_step(rows[:1]) is None

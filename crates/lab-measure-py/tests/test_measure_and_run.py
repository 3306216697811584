"""Measuring the call of a function."""

import json
import time

import pytest

from lab_measure import Measure, OptionError, RowsError, RowsNotToldError, measure_and_run


def everything(*args, **kwargs):
    return args, kwargs


def test_the_result_and_the_summary_are_returned():
    result, summary = measure_and_run(sorted, Measure("call", rows=len), [3, 1, 2], reverse=True)
    assert result == [3, 2, 1] and summary["rows_used"] == 3
    with open("outputs/model_runs/call.json", encoding="ascii") as file:
        assert json.load(file) == summary


def test_every_keyword_belongs_to_the_function():
    options = dict.fromkeys(Measure.__dataclass_fields__, "theirs")
    keywords = {**options, "func": 1, "measure": 2, "self": 3, "args": 4, "kwargs": 5}
    (args, kwargs), summary = measure_and_run(everything, Measure(rows=7, write=False), "a", **keywords)
    assert args == ("a",) and kwargs == keywords and summary["rows_used"] == 7


def test_rows_that_were_never_told_are_refused_before_the_work():
    for measure in ([], [None], [Measure()]):
        with pytest.raises(RowsNotToldError, match=r"Measure\(rows=n\)"):
            measure_and_run(lambda *_: pytest.fail("the function was called"), *measure)


def test_an_argument_in_the_place_of_the_options_is_refused():
    with pytest.raises(OptionError, match=r"not a `list`: measure_and_run\(func, Measure"):
        measure_and_run(sorted, [3, 1, 2])


def test_counting_rows_is_no_part_of_the_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def pass_time(seconds):
        now[0] += seconds
        return 4

    _, summary = measure_and_run(pass_time, Measure(rows=lambda _: pass_time(50), write=False), 1.2346)
    assert summary["elapsed_sec"] == 1.235 and summary["rows_used"] == 4


def test_a_call_that_takes_no_time_shows_more_than_none(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: 100.0)
    _, summary = measure_and_run(everything, Measure(rows=1, write=False))
    assert summary["elapsed_sec"] == 0.001


def test_a_count_that_is_no_number_of_rows_is_refused_after_a_record_was_left():
    with pytest.raises(RowsError, match="not `1.5`"):
        measure_and_run(sorted, Measure("odd", rows=lambda result: len(result) / 2), [3, 1, 2])
    with open("outputs/model_runs/odd.json", encoding="ascii") as file:
        assert json.load(file)["rows_used"] is None


def test_the_exception_of_the_function_passes_through():
    with pytest.raises(ZeroDivisionError):
        measure_and_run(divmod, Measure("failed", rows=2), 1, 0)
    with open("outputs/model_runs/failed.json", encoding="ascii") as file:
        assert json.load(file)["rows_used"] == 2


def test_switched_off_the_function_is_called_and_nothing_else():
    measure = Measure(rows=lambda _: pytest.fail("rows were counted"), enabled=False)
    assert measure_and_run(sorted, measure, [2, 1]) == ([1, 2], None)


async def awaited():
    return 1


def yielding():
    yield 1


@pytest.mark.parametrize("func", [awaited, yielding])
def test_a_function_that_only_promises_its_work_is_refused(func):
    with pytest.raises(OptionError, match=f"`{func.__name__}`.*measure_run_context"):
        measure_and_run(func, Measure(rows=1))

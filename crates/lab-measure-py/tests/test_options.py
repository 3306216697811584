"""The switch, the id of a run, and options that cannot be."""

import json
import re
import threading
import uuid
from pathlib import Path

import pytest

from lab_measure import MeasureError, OptionError, RowsError, RunIdError, SwitchError, measure_run_context


@pytest.mark.parametrize(
    ("word", "ci", "is_on"),
    [
        ("on", None, True),
        ("off", "true", False),
        ("auto", "true", True),
        ("auto", "1", True),
        ("auto", "", False),
        ("auto", "0", False),
        ("auto", "False", False),
        ("auto", None, False),
        (None, "woodpecker", True),
        (None, None, False),
        ("", "true", True),
    ],
)
def test_the_switch_follows_its_word_and_ci(monkeypatch, word, ci, is_on):
    for name, value in (("LAB_MEASURE", word), ("CI", ci)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with measure_run_context(rows=1, write=False) as run:
        pass
    assert run.enabled is is_on and (run.summary is not None) is is_on


def test_the_code_wins_over_the_environment(monkeypatch):
    for word, enabled in (("off", True), ("on", False), ("sometimes", False)):
        monkeypatch.setenv("LAB_MEASURE", word)
        with measure_run_context(rows=1, write=False, enabled=enabled) as run:
            pass
        assert (run.summary is not None) is enabled


@pytest.mark.parametrize("word", ["ON", "true", "1", "of"])
def test_another_word_is_refused_with_the_three_that_are_known(monkeypatch, word):
    monkeypatch.setenv("LAB_MEASURE", word)
    with pytest.raises(SwitchError, match=f"`{word}`.*`on`, `off` or `auto`"):
        measure_run_context(rows=1)


def test_switched_off_nothing_happens_at_all(tmp_path, capsys):
    with measure_run_context(enabled=False, format="json") as run:
        assert not [thread for thread in threading.enumerate() if thread.name == "lab-measure"]
    assert run.summary is None and run.artifact_path is None
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""


# Where the package lies in a checkout of lab.
SCHEMA = Path(__file__).parents[3] / "schemas" / "smoke.v1.json"


def schema_takes(run_id):
    pattern = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]["run_id"]["pattern"]
    # In a JSON Schema `$` is the very end, in Python also the place before a last line break.
    return isinstance(run_id, str) and re.fullmatch(pattern, run_id) is not None


@pytest.mark.parametrize("run_id", ["a", "2026-02-17T00.00.00Z_petr4", "-", "x" * 64, uuid.UUID(int=7), str(uuid.uuid4())])
def test_an_id_that_can_name_a_file_is_taken_as_it_is(run_id, tmp_path):
    with measure_run_context(run_id, rows=1, output_dir="runs") as run:
        pass
    assert run.summary["run_id"] == str(run_id) and schema_takes(str(run_id))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"{run_id}.json"]


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", ".hidden", "../up", "a/b", "a\\b", "a b", "a\n", "é", "a:b", "x" * 65, 7, b"a"]
)
@pytest.mark.parametrize("enabled", [True, False])
def test_an_id_that_cannot_name_a_file_is_refused_before_it_touches_one(run_id, enabled, tmp_path):
    with pytest.raises(RunIdError, match="1 to 64 letters"):
        measure_run_context(run_id, rows=1, enabled=enabled)
    assert list(tmp_path.iterdir()) == [] and not schema_takes(run_id)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("interval_sec", 0),
        ("interval_sec", -1),
        ("interval_sec", 0.0001),
        ("interval_sec", float("nan")),
        ("interval_sec", float("inf")),
        ("interval_sec", "0.1"),
        ("interval_sec", True),
        ("format", "yaml"),
        ("format", "JSON"),
        ("enabled", "off"),
        ("enabled", 0),
        ("write", "no"),
        ("output_dir", ""),
        ("output_dir", None),
        ("stream", "stdout"),
    ],
)
def test_an_option_that_cannot_be_is_named(option, value):
    with pytest.raises(OptionError, match=f"`{option}`") as caught:
        measure_run_context(rows=1, **{option: value})
    assert isinstance(caught.value, MeasureError) and isinstance(caught.value, ValueError)


def test_rows_as_a_function_are_refused_where_there_is_no_result():
    with pytest.raises(RowsError, match="run.rows_used"):
        measure_run_context(rows=len)

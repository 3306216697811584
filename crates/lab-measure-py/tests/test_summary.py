"""What a run leaves: the summary, the record, what is printed, and the exceptions of the measured code."""

import errno
import io
import json
import os
import re
import stat
import threading
import uuid

import pytest

from lab_measure import ArtifactError, OptionError, RowsError, RowsNotToldError, artifact, measure_run_context

FIXTURE = [{"ticker": "PETR4", "close": 36.1 + day} for day in range(100)]


def record(run_id, folder="outputs/model_runs"):
    with open(f"{folder}/{run_id}.json", encoding="ascii") as file:
        return json.load(file)


def test_the_summary_has_four_keys_in_order_and_their_formats():
    with measure_run_context() as run:
        run.rows_used = len(FIXTURE)
        sum(row["close"] for row in FIXTURE)
    assert list(run.summary) == ["run_id", "elapsed_sec", "rows_used", "peak_memory_mb"]
    identity, elapsed, rows, peak = run.summary.values()
    assert uuid.UUID(identity).version == 4 and identity == str(uuid.UUID(identity)) == run.run_id
    assert type(elapsed) is float and elapsed > 0 and elapsed == round(elapsed, 3)
    assert type(rows) is int and rows == len(FIXTURE)
    # A Python process is larger than 1 MB and smaller than 100 GB.
    assert type(peak) is float and 1 < peak < 1e5 and peak == round(peak, 1)


def test_the_record_is_what_is_printed_and_the_summary(capsys):
    with measure_run_context(rows=3, format="json") as run:
        pass
    printed = capsys.readouterr().out
    with open(run.artifact_path, encoding="ascii") as file:
        assert file.read() == printed
    assert json.loads(printed) == run.summary == record(run.run_id)
    # The layout that `lab measure` writes, too.
    figures = r'  "elapsed_sec": \d+\.\d{1,3},\n  "rows_used": 3,\n  "peak_memory_mb": \d+\.\d\n'
    assert re.fullmatch(rf'{{\n  "run_id": "[0-9a-f-]{{36}}",\n{figures}}}\n', printed)


def test_nothing_is_printed_unless_asked_and_a_stream_may_be_named(capsys):
    stream = io.StringIO()
    with measure_run_context(rows=3):
        pass
    with measure_run_context(rows=4, format="json", stream=stream):
        pass
    assert capsys.readouterr().out == ""
    assert json.loads(stream.getvalue())["rows_used"] == 4


def test_nothing_is_written_where_nothing_is_to_be(tmp_path):
    with measure_run_context(rows=3, write=False) as run:
        pass
    assert run.summary["rows_used"] == 3 and run.artifact_path is None
    assert list(tmp_path.iterdir()) == []


def test_rows_told_in_the_block_win_over_those_told_before():
    with measure_run_context(rows=3, write=False) as run:
        run.rows_used = 5
    assert run.summary["rows_used"] == 5


def test_zero_rows_may_be_told_but_are_never_assumed():
    with measure_run_context("told") as run:
        run.rows_used = 0
    assert record("told")["rows_used"] == 0
    with pytest.raises(RowsNotToldError, match=r"run\.rows_used = n.*rows=n.*untold\.json") as caught:
        with measure_run_context("untold") as run:
            pass
    assert isinstance(caught.value, ValueError)
    assert record("untold") == run.summary and run.summary["rows_used"] is None


@pytest.mark.parametrize("rows", [-1, 2.5, 100.0, "100", True, FIXTURE])
def test_rows_that_are_no_number_of_rows_are_refused_at_once(rows):
    with pytest.raises(RowsError, match="whole number of 0 or more"):
        measure_run_context(rows=rows)
    with measure_run_context(rows=1, write=False) as run:
        with pytest.raises(RowsError):
            run.rows_used = rows
    assert run.summary["rows_used"] == 1


def test_rows_told_after_the_end_are_refused():
    with measure_run_context(rows=1, write=False) as run:
        pass
    with pytest.raises(RowsError, match="has ended"):
        run.rows_used = 2


def test_a_run_is_used_once():
    with measure_run_context(rows=1, write=False) as run:
        with pytest.raises(OptionError, match="begun before"):
            run.__enter__()
    assert run.summary["rows_used"] == 1


@pytest.mark.parametrize("error", [KeyError("model"), KeyboardInterrupt(), SystemExit(3)])
def test_a_failure_leaves_a_record_and_passes_through_unchanged(error, capsys):
    with pytest.raises(type(error)) as caught:
        with measure_run_context("failed", format="json") as run:
            raise error
    assert caught.value is error and error.__context__ is None and error.__cause__ is None
    assert record("failed") == run.summary == json.loads(capsys.readouterr().out)
    assert run.summary["rows_used"] is None and run.summary["elapsed_sec"] > 0


def test_a_folder_that_takes_no_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "outputs").write_text("a file where a folder should be")
    with pytest.raises(ArtifactError, match="output_dir") as caught:
        with measure_run_context(rows=1):
            pytest.fail("the block was entered")
    assert caught.value.errno == errno.ENOTDIR


def replace_on_a_full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_and_leaves_no_partial_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(artifact.os, "replace", replace_on_a_full_disk)
    with pytest.raises(ArtifactError, match="No space left.*make room") as caught:
        with measure_run_context("full", rows=1, output_dir="runs", format="json") as run:
            pass
    assert caught.value.errno == errno.ENOSPC and run.artifact_path is None
    assert list((tmp_path / "runs").iterdir()) == []
    assert json.loads(capsys.readouterr().out) == run.summary


def test_a_full_disk_does_not_hide_the_exception_of_the_block(monkeypatch, caplog):
    error = KeyError("model")
    monkeypatch.setattr(artifact.os, "replace", replace_on_a_full_disk)
    with pytest.raises(KeyError) as caught:
        with measure_run_context("full"):
            raise error
    assert caught.value is error and error.__context__ is None
    assert "No space left" in caplog.text and "`full`" in caplog.text


def test_a_closed_stream_does_not_hide_the_exception_of_the_block(caplog):
    stream = io.StringIO()
    with pytest.raises(KeyError):
        with measure_run_context("closed", format="json", stream=stream):
            stream.close()
            raise KeyError("model")
    assert "closed file" in caplog.text and record("closed")["rows_used"] is None


def test_the_record_has_default_permissions_and_replaces_the_one_before(tmp_path):
    for rows in (1, 2):
        with measure_run_context("again", rows=rows, output_dir=tmp_path / "a" / "b"):
            pass
    (tmp_path / "ordinary").touch()
    mode = stat.S_IMODE((tmp_path / "a" / "b" / "again.json").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["again.json"]
    assert record("again", "a/b")["rows_used"] == 2


def test_the_record_stays_where_the_run_began(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    with measure_run_context("moved", rows=1):
        os.chdir(tmp_path / "elsewhere")
    assert record("moved", tmp_path / "outputs" / "model_runs")["rows_used"] == 1


def test_nested_runs_have_summaries_of_their_own():
    with measure_run_context("outer", rows=10) as outer:
        with measure_run_context("inner", rows=1) as inner:
            pass
    assert record("outer") == outer.summary and record("inner") == inner.summary
    assert inner.summary["elapsed_sec"] <= outer.summary["elapsed_sec"]


def test_runs_in_many_threads_do_not_mix():
    runs = []

    def carry_out(n):
        with measure_run_context(f"thread-{n}") as run:
            run.rows_used = n
        runs.append(run)

    threads = [threading.Thread(target=carry_out, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.summary["rows_used"] for run in runs) == list(range(8))
    assert all(record(run.run_id) == run.summary for run in runs)
    assert not [thread for thread in threading.enumerate() if thread.name == "lab-measure"]

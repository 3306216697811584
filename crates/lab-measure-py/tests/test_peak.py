"""What the peak sees: this process, its descendants, and what the kernel remembers of both."""

import json
import subprocess
import sys
import threading

import pytest

from lab_measure import PlatformError, measure_run_context, peak
from lab_measure.processes import Processes

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
MB = 1_000_000
# Says that it has its memory, and keeps it until its input ends.
CHILD = "block = b'x' * 80_000_000; print('ready', flush=True); input()"


@linux
def test_the_memory_of_a_living_child_counts():
    with measure_run_context(rows=1, write=False) as alone:
        pass
    with measure_run_context(rows=1, write=False) as run:
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
    child.communicate(b"\n", timeout=10)
    assert run.summary["peak_memory_mb"] > alone.summary["peak_memory_mb"] + 75


def summaries(printed):
    """Reads the documents of several runs, one behind the other."""
    return json.loads(f"[{printed.strip()}]".replace("}\n{", "},\n{"))


@linux
def test_a_child_that_came_and_went_between_two_looks_counts(fresh_process):
    printed = fresh_process(
        "import subprocess, sys\n"
        "from lab_measure import measure_run_context\n"
        "with measure_run_context(rows=1, write=False, interval_sec=3600, format='json'):\n"
        "    subprocess.run([sys.executable, '-c', 'b\"x\" * 80_000_000'], check=True)\n"
        "with measure_run_context(rows=1, write=False, interval_sec=3600, format='json'):\n"
        "    pass\n"
    )
    first, second = (run["peak_memory_mb"] for run in summaries(printed))
    assert 80 < first < 160
    assert second < 75, "the child of the run before was counted again"


@linux
def test_a_block_that_came_and_went_between_two_looks_counts_in_its_run_alone(fresh_process):
    printed = fresh_process(
        "from lab_measure import measure_run_context\n"
        "with measure_run_context(rows=1, write=False, interval_sec=3600, format='json'):\n"
        "    block = b'x' * 80_000_000\n"
        "    with measure_run_context(rows=1, write=False, interval_sec=3600, format='json'):\n"
        "        del block\n"
        "    with measure_run_context(rows=1, write=False, interval_sec=3600, format='json'):\n"
        "        pass\n"
    )
    at_first, later, outer = (run["peak_memory_mb"] for run in summaries(printed))
    assert at_first > 80 and outer >= at_first, "an inner run made the outer one forget"
    # Where the kernel does not let itself be reset, its peak does not rise and is not used either.
    assert later < 75


@linux
def test_a_forked_process_that_leaves_the_block_delivers_nothing(fresh_process):
    printed = fresh_process(
        "import os\n"
        "from lab_measure import Measure, measure_and_run, measure_run_context\n"
        "with measure_run_context(rows=1, write=False, format='json') as run:\n"
        "    pid = os.fork()\n"
        "if pid == 0:\n"
        "    with measure_run_context(rows=2, write=False) as own:\n"
        "        pass\n"
        "    os._exit(0 if run.summary is None and own.summary['rows_used'] == 2 else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "pid, _ = measure_and_run(os.fork, Measure(rows=lambda _: 3, write=False, format='json'))\n"
        "os._exit(0) if pid == 0 else os.waitpid(pid, 0)\n"
    )
    assert [run["rows_used"] for run in summaries(printed)] == [1, 3]


class Scripted:
    """Processes with figures from a script."""

    def __init__(self, resident, own_peaks, largest_peak=0):
        self._resident = iter(resident)
        self._own_peaks = iter(own_peaks)
        self._largest_peak = largest_peak
        self.looked_thrice = threading.Event()
        self._looks = 0

    def resident(self):
        self._looks += 1
        if self._looks == 3:
            self.looked_thrice.set()
        return next(self._resident, 0)

    def own_peak(self):
        return next(self._own_peaks)

    def largest_peak(self):
        return self._largest_peak

    def forget_peak(self):
        pass


@pytest.mark.parametrize(
    ("own_peaks", "children", "largest_peak", "expected"),
    [
        ((90, 90), (70, 70), 0, 40),  # neither peak rose: both are older than the run
        ((90, 91), (70, 70), 0, 91),  # the own one rose
        ((90, 90), (70, 95), 90, 95),  # that of children rose
        ((90, 90), (0, 90), 90, 40),  # a child inherited the peak of its parent
        ((10, 10), (0, 80), 80, 40),  # a child that was there before took its old peak with it
    ],
)
def test_a_peak_of_the_kernel_counts_only_if_it_rose(monkeypatch, own_peaks, children, largest_peak, expected):
    answers = iter(children)
    monkeypatch.setattr(peak, "_children_peak", lambda: next(answers))
    watch = peak.ProcWatch(Scripted([30, 40], own_peaks, largest_peak), 3600)
    watch.start()
    assert watch.stop() == expected


def test_the_tree_is_looked_at_again_and_again():
    processes = Scripted([1, 2, 50, 3], [0, 0])
    watch = peak.ProcWatch(processes, 0.001)
    watch.start()
    assert processes.looked_thrice.wait(timeout=10)
    assert watch.stop() >= 50


def test_without_proc_the_peak_since_the_start_of_the_process_is_taken(monkeypatch):
    def no_proc():
        raise FileNotFoundError("/proc/self")

    monkeypatch.setattr(peak, "Processes", no_proc)
    with measure_run_context(rows=1, write=False) as run:
        assert not [thread for thread in threading.enumerate() if thread.name == "lab-measure"]
    assert run.summary["peak_memory_mb"] > 1
    monkeypatch.setattr(peak, "resource", None)
    with pytest.raises(PlatformError, match="LAB_MEASURE=off"):
        with measure_run_context(rows=1, write=False):
            pytest.fail("the block was entered")


def made_tree(folder, processes, lists_children):
    """Makes a /proc: id -> (parent, resident kB or None, flags)."""
    for pid, (parent, resident, flags) in processes.items():
        (folder / pid / "task" / pid).mkdir(parents=True, exist_ok=True)
        (folder / pid / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1 0 -1 {flags} 0 0\n")
        size = f"VmHWM:\t{resident + 1} kB\nVmRSS:\t{resident} kB\n" if resident is not None else ""
        (folder / pid / "status").write_text(f"Name:\tpython\n{size}Threads:\t1\n")
        if lists_children:
            children = [child for child, (its, _, _) in processes.items() if its == pid]
            (folder / pid / "task" / pid / "children").write_text("".join(f"{child} " for child in children))
    if not (folder / "self").is_symlink():
        (folder / "self").symlink_to("100")
    return Processes(str(folder))


@pytest.mark.parametrize("lists_children", [True, False])
def test_descendants_count_and_others_do_not(tmp_path, lists_children):
    processes = made_tree(
        tmp_path / "proc",
        {
            "1": ("0", 5_000, 0),
            "100": ("1", 10, 0),
            "101": ("100", 200, 0),
            "102": ("101", 3_000, 0),
            "103": ("100", None, 0),  # a zombie
            "104": ("1", 70_000, 0),
        },
        lists_children,
    )
    assert sorted(processes.tree()) == ["100", "101", "102", "103"]
    assert processes.resident() == 3_210 * 1024
    assert processes.largest_peak() == 3_001 * 1024
    assert processes.own_peak() == 11 * 1024


def test_a_child_between_fork_and_exec_counts_from_the_second_look_on(tmp_path):
    processes = made_tree(tmp_path / "proc", {"100": ("1", 10, 0x40), "101": ("100", 10, 0x400040)}, True)
    assert processes.resident() == 10 * 1024
    assert processes.resident() == 20 * 1024, "a worker that never executes a program is a process like any other"


def test_a_kernel_without_a_resettable_peak_is_put_up_with(tmp_path):
    processes = made_tree(tmp_path / "proc", {"100": ("1", 10, 0)}, True)
    processes.forget_peak()
    assert not (tmp_path / "proc" / "100" / "clear_refs").exists()
    (tmp_path / "proc" / "100" / "clear_refs").touch()
    processes.forget_peak()
    assert (tmp_path / "proc" / "100" / "clear_refs").read_text() == "5"

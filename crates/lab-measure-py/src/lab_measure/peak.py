"""The peak memory of a process tree during one run, in bytes.

Where there is a ``/proc``, three observations are joined, and the largest one is the peak:

1. looks at the whole tree: one when the run begins, one every interval, one when it ends;
2. the kernel's own peak of this process (``VmHWM``), which misses nothing between two looks;
3. the largest peak among the children that ended and were waited for (``ru_maxrss`` of ``RUSAGE_CHILDREN``).

The kernel's peaks are older than the run. The first is made to forget where that is permitted; either counts only if it
rose above all that was there when the run began.
"""

from __future__ import annotations

import os
import sys
import threading

from .errors import PlatformError
from .processes import Processes

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# getrusage(2): kibibytes on Linux and the BSDs; macOS counts bytes.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024

# The watches of this process that are under way. They share one VmHWM: whoever makes it forget lets the others look first.
_under_way: list[ProcWatch] = []
_lock = threading.Lock()


def watch(interval_sec: float) -> ProcWatch | RusageWatch:
    """Returns what can watch the memory of this process on this system, not yet started.

    Raises ``PlatformError`` where there is neither a ``/proc`` nor ``getrusage``.
    """
    try:
        processes = Processes()
    except OSError:
        processes = None
    if processes is not None and processes.own_resident() is not None:
        return ProcWatch(processes, interval_sec)
    if resource is not None:
        return RusageWatch()
    raise PlatformError(
        f"`peak_memory_mb` cannot be measured on `{sys.platform}`: there is neither /proc nor getrusage; "
        "switch measuring off with `LAB_MEASURE=off` or `enabled=False`"
    )


class ProcWatch:
    """Watches the tree through ``/proc``, from a thread of its own. Started once, stopped once."""

    def __init__(self, processes: Processes, interval_sec: float) -> None:
        self._processes = processes
        self._interval_sec = interval_sec
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="lab-measure", daemon=True)
        self._own_floor = 0
        self._children_floor = 0
        self._largest = 0

    def start(self) -> None:
        """Begins to watch. What is resident now counts."""
        with _lock:
            for other in _under_way:
                other._ask_kernel()
            self._processes.forget_peak()
            self._own_floor = self._processes.own_peak()
            # A child inherits its parent's peak when it is made, and one that lives already has a peak of its own.
            self._children_floor = max(_children_peak(), self._processes.largest_peak())
            _under_way.append(self)
        try:
            self._look()
            self._thread.start()
        except BaseException:
            with _lock:
                _under_way.remove(self)
            raise

    def stop(self) -> int:
        """Stops watching and returns the peak in bytes."""
        self._ended.set()
        self._thread.join()
        self._look()
        with _lock:
            self._ask_kernel()
            _under_way.remove(self)
        return self._largest

    def _look_on(self) -> None:
        while not self._ended.wait(self._interval_sec):
            self._look()

    def _look(self) -> None:
        resident = self._processes.resident()
        # A nested run may have this one's peak asked meanwhile: nothing may be written back over it.
        with _lock:
            self._largest = max(self._largest, resident)

    def _ask_kernel(self) -> None:
        own, children = self._processes.own_peak(), _children_peak()
        if own > self._own_floor:
            self._largest = max(self._largest, own)
        if children > self._children_floor:
            self._largest = max(self._largest, children)


class RusageWatch:
    """Asks ``getrusage`` alone, where there is no ``/proc`` (macOS): the peak of this process since it *started*.

    Nothing there makes it forget, so what happened before the run counts. Of children, the largest that ended counts, if it
    rose. There is no thread.
    """

    def __init__(self) -> None:
        self._children_floor = 0

    def start(self) -> None:
        """Begins to watch."""
        self._children_floor = _children_peak()

    def stop(self) -> int:
        """Stops watching and returns the peak in bytes."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
        children = _children_peak()
        return max(own, children) if children > self._children_floor else own


def _children_peak() -> int:
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT


def _forget_watches() -> None:
    # A forked child has neither the parent's threads nor its runs, and the lock may be held by a thread that it lacks.
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_watches)

"""What Linux tells of the memory of this process and its descendants, read from ``/proc``. Linux only.

Sizes are bytes. A process that ends while it is looked at counts nothing.
"""

from __future__ import annotations

import os

# Field 9 of /proc/<pid>/stat (proc_pid_stat(5)), bit PF_FORKNOEXEC of include/linux/sched.h: forked, has executed nothing.
_PF_FORKNOEXEC = 0x40


class Processes:
    """The tree of processes below this one."""

    def __init__(self, proc: str = "/proc") -> None:
        """Raises ``OSError`` where there is no such ``/proc``."""
        self._proc = proc
        # Not os.getpid(): the /proc of another PID namespace counts differently.
        self._root = os.readlink(f"{proc}/self")
        # Kernels without CONFIG_PROC_CHILDREN lack the file.
        self._lists_children = os.path.exists(f"{proc}/{self._root}/task/{self._root}/children")
        self._known: set[str] = set()

    def resident(self) -> int:
        """Returns the resident memory of all processes together (the sum of ``VmRSS``).

        A process that is new since the last look and has executed no program yet is left out until the next one: between
        fork and exec it shows its parent's memory a second time.
        """
        pids = self.tree()
        counted = [pid for pid in pids if pid in self._known or not self._has_only_forked(pid)]
        self._known = set(pids)
        return sum(self._size(pid, b"VmRSS:") or 0 for pid in counted)

    def own_resident(self) -> int | None:
        """Returns the resident memory of this process (``VmRSS``), or ``None`` where that is not told."""
        return self._size(self._root, b"VmRSS:")

    def own_peak(self) -> int:
        """Returns the kernel's peak of this process (``VmHWM``), 0 where that is not told."""
        return self._size(self._root, b"VmHWM:") or 0

    def largest_peak(self) -> int:
        """Returns the largest ``VmHWM`` among all processes of the tree."""
        return max((self._size(pid, b"VmHWM:") or 0 for pid in self.tree()), default=0)

    def forget_peak(self) -> None:
        """Asks the kernel to let ``VmHWM`` of this process start again from what is resident now; it may refuse."""
        try:
            clear_refs = os.open(f"{self._proc}/{self._root}/clear_refs", os.O_WRONLY)
        except OSError:
            return
        try:
            # 5 is the peak alone: proc_pid_clear_refs(5). The other values cost page faults.
            os.write(clear_refs, b"5")
        except OSError:
            pass
        finally:
            os.close(clear_refs)

    def tree(self) -> list[str]:
        """Returns the ids of this process and its descendants."""
        by_parent = None if self._lists_children else self._children_by_parent()
        found: dict[str, None] = {}
        waiting = [self._root]
        while waiting:
            pid = waiting.pop()
            # Ids are used again: a tree that is read while it changes may seem to have a ring.
            if pid not in found:
                found[pid] = None
                waiting += self._listed_children(pid) if by_parent is None else by_parent.get(pid, [])
        return list(found)

    def _listed_children(self, pid: str) -> list[str]:
        # Children belong to the thread that forked them.
        threads = self._names(f"{self._proc}/{pid}/task")
        lists = (self._read(f"{self._proc}/{pid}/task/{thread}/children") for thread in threads)
        return [child.decode("ascii") for children in lists for child in children.split()]

    def _children_by_parent(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for pid in self._names(self._proc):
            fields = self._stat(pid) if pid.isdigit() else []
            if len(fields) > 1:
                children.setdefault(fields[1].decode("ascii"), []).append(pid)
        return children

    def _has_only_forked(self, pid: str) -> bool:
        fields = [] if pid == self._root else self._stat(pid)
        return len(fields) > 6 and bool(int(fields[6]) & _PF_FORKNOEXEC)

    def _stat(self, pid: str) -> list[bytes]:
        """Returns the fields of ``stat`` from the third on; the second, a name, may hold spaces and brackets."""
        return self._read(f"{self._proc}/{pid}/stat").rpartition(b")")[2].split()

    def _size(self, pid: str, field: bytes) -> int | None:
        for line in self._read(f"{self._proc}/{pid}/status").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
        return None

    @staticmethod
    def _read(path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except OSError:
            return b""

    @staticmethod
    def _names(folder: str) -> list[str]:
        try:
            return os.listdir(folder)
        except OSError:
            return []

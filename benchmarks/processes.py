"""Run a command and say what it cost: wall time, processor time and peak memory of all its processes."""

from __future__ import annotations

import os
import platform
import re
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


@dataclass(frozen=True)
class Cost:
    """What a command took; `peak_mb` is the largest sum over its processes of their resident memory."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    largest_mb: float
    output: str


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, every_s: float = 0.1) -> Cost:
    """Run a command to its end; raises CalledProcessError with its output where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # where it is set, a thousand modules are compiled anew at every start
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        env=environment | dict(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = _Watch(process.pid, every_s)
    output, _ = process.communicate()
    wall = time.perf_counter() - start
    watch.stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    waited = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # workers that are copies of a process of their own are waited for by that one
    cpu = max(waited, sum(watch.cpu_s.values()))
    return Cost(wall, cpu, watch.peak / 1e6, watch.largest / 1e6, output)


class _Watch:
    """Adds up memory and processor time of a process and all below it, again and again."""

    def __init__(self, pid: int, every_s: float) -> None:
        self.peak = self.largest = 0
        self.cpu_s: dict[int, float] = {}
        self._pid, self._every = pid, every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(self._every):
            family = _family(self._pid)
            sizes = [_resident(pid) for pid in family]
            for pid in family:
                self.cpu_s[pid] = max(_cpu_s(pid), self.cpu_s.get(pid, 0.0))
            self.peak = max(self.peak, sum(sizes))
            self.largest = max(self.largest, *sizes, 0)


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        member = waiting.pop()
        found.append(member)
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    except (OSError, IndexError):
        return 0.0


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def machine() -> dict[str, Any]:
    """Describe the machine without naming it."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text())
        model = match.group(1).strip() if match else model
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(pages / 1e9),
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }

"""Engines: every task once, results whatever the engine, one task's death is no other's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from endface.engines import ProcessEngine, SerialEngine, WorkerLost, available_cores, make_engine
from engine_tasks import double_or_die, wait_for

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@pytest.fixture
def two_workers() -> Iterator[ProcessEngine]:
    engine = ProcessEngine(jobs=2)
    yield engine
    engine.close()


def test_results_do_not_depend_on_the_engine(two_workers: ProcessEngine) -> None:
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    expected = {-k: k for k in range(20)}
    assert dict(SerialEngine().map(abs, expected)) == expected
    assert dict(two_workers.map(abs, expected)) == expected
    assert dict(two_workers.map(abs, [])) == {}
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before


def test_tasks_are_fetched_as_they_are_needed(two_workers: ProcessEngine) -> None:
    fetched = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            fetched.append(number)
            yield number

    next(iter(two_workers.map(abs, tasks())))
    assert len(fetched) <= 8


@posix
def test_a_task_that_kills_its_process_is_the_only_one_lost(two_workers: ProcessEngine) -> None:
    results = dict(two_workers.map(double_or_die, range(8)))
    assert isinstance(results.pop(3), WorkerLost)
    assert results == {number: 2 * number for number in range(8) if number != 3}


def test_closing_at_once_does_not_wait_for_tasks(two_workers: ProcessEngine, tmp_path: Path) -> None:
    results = two_workers.map(wait_for, [str(tmp_path / "one"), ""])
    start = time.monotonic()
    with pytest.raises(OSError, match="directory"):
        next(results)  # the second task fails at once, the first one takes a minute
    two_workers.close(at_once=True)
    assert time.monotonic() - start < 30


@posix
def test_workers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    marks = [tmp_path / "one", tmp_path / "two"]
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "if __name__ == '__main__':\n"
        " from endface.engines import ProcessEngine; from engine_tasks import wait_for\n"
        f" list(ProcessEngine(jobs=2).map(wait_for, {[str(mark) for mark in marks]}))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)])
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    workers = [int(mark.read_text()) for mark in marks]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(pid) for pid in workers))


def wait_until(condition: object, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    # one that has ended and waits to be collected does not count
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_number_of_jobs_chooses_the_engine() -> None:
    assert isinstance(make_engine(1), SerialEngine)
    assert isinstance(make_engine(3), ProcessEngine)
    assert available_cores() >= 1

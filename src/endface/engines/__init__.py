"""Where work runs: in this process, in local processes, or on a cluster (`on_dask`).

An engine applies one function to many small tasks (paths, never pixels), handing back results as they finish.
It knows nothing of images. Results must not depend on the engine: every worker computes with one thread.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_connections
from typing import Literal, Protocol, TypeVar

from endface.errors import EndfaceError, SettingsError

Task = TypeVar("Task")
Result = TypeVar("Result")

EngineName = Literal["local", "dask"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


# copies of a process of its own, which has neither threads nor the memory of this one
_START: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Stands for the result of a task whose process died, e.g. out of memory or in a faulty codec."""


class EngineLost(EndfaceError):
    """The workers are gone and did not come back; the same run again goes on where it stopped."""

    stopped = True


class Engine(Protocol):
    """What every engine is: a place that applies a function to tasks."""

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerLost]]:
        """Yield (task, result) in any order, as results arrive."""

    def close(self, *, at_once: bool = False) -> None:
        """Let go of workers, `at_once` in the middle of their tasks; used again, it starts new ones."""


class SerialEngine:
    """Runs everything in this process, one task after the other."""

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerLost]]:
        """Yield (task, result) in the order of the tasks."""
        with _one_thread_here():
            for task in tasks:
                yield task, function(task)

    def close(self, *, at_once: bool = False) -> None:
        """Do nothing: there are no workers."""


class ProcessEngine:
    """Runs tasks in local processes; survives the death of one of them.

    Parameters
    ----------
    jobs : int
        Number of processes. At most twice as many tasks are under way, so memory is bounded by it.
    """

    def __init__(self, *, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._leash: tuple[Connection, Connection] | None = None

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerLost]]:
        """Yield (task, result) as results arrive."""
        queue = iter(tasks)
        suspects: list[Task] = []
        with _one_thread_in_children():
            yield from self._until_broken(function, queue, suspects)
            while suspects:
                # a worker died and took the pool along: what was under way again, each task alone
                self.close()
                alone = ProcessEngine(jobs=1)
                for suspect in suspects:
                    culprits: list[Task] = []
                    yield from alone._until_broken(function, iter([suspect]), culprits)
                    if culprits:
                        alone.close()
                        yield suspect, WorkerLost()
                alone.close()
                suspects = []
                yield from self._until_broken(function, queue, suspects)

    def close(self, *, at_once: bool = False) -> None:
        """End the processes once they have finished what they are at, or at once."""
        if self._pool is None or self._leash is None:
            return
        held, holding = self._leash
        if at_once:
            holding.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        holding.close()
        held.close()
        self._pool = self._leash = None

    def _until_broken(
        self, function: Callable[[Task], Result], queue: Iterator[Task], suspects: list[Task]
    ) -> Iterator[tuple[Task, Result | WorkerLost]]:
        """Work on the queue until it is empty or the pool breaks; `suspects` then holds what was left."""
        if self._pool is None:
            start_early(function.__module__)
            context = multiprocessing.get_context(_START)
            self._leash = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self.jobs, mp_context=context, initializer=_start_worker, initargs=self._leash[:1]
            )
        under_way: dict[Future[Result], Task] = {}
        while True:
            while len(under_way) < 2 * self.jobs and not suspects:
                task = next(queue, None)
                if task is None:
                    break
                try:
                    under_way[self._pool.submit(function, task)] = task
                except BrokenProcessPool:
                    suspects.append(task)
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                task = under_way.pop(future)
                try:
                    yield task, future.result()
                except BrokenProcessPool:
                    suspects.append(task)


def make_engine(
    jobs: int, *, name: EngineName = "local", scheduler: str | None = None, alike: Callable[[], str] = str
) -> Engine:
    """Return the engine for a number of workers.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler; without it `dask` starts `jobs` workers on this machine.
    alike : callable
        What must give the same text on every worker of a cluster.

    Raises
    ------
    SettingsError
        If the engine is unknown or what it needs is not installed.
    """
    if name == "dask":
        try:
            from endface.engines.on_dask import DaskEngine
        except ImportError as error:
            raise SettingsError(
                f"--engine dask: {error}", hint="pip install 'endface[cluster]' on all machines."
            ) from None
        return DaskEngine(scheduler=scheduler, jobs=jobs, alike=alike)
    if name != "local" or scheduler is not None:
        raise SettingsError(
            f"--engine: expected local, or dask for a --scheduler; found {name}",
            hint="Add --engine dask, or leave --scheduler out.",
        )
    return SerialEngine() if jobs <= 1 else ProcessEngine(jobs=jobs)


def start_early(module: str) -> None:
    """Let worker processes import a module while this one is still busy with something else.

    Where processes can be copied, it is imported once by a process that all workers are copies of.
    """
    if _START == "forkserver":
        from multiprocessing import forkserver

        with _one_thread_in_children():
            multiprocessing.get_context(_START).set_forkserver_preload([module])
            forkserver.ensure_running()


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_worker(leash: Connection) -> None:
    """Set a worker process up: one thread, Ctrl-C left to the parent, gone when the parent lets go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave_when_let_go() -> None:
        # the other end closes when the parent says so and when it dies, however it dies
        wait_for_connections([leash])
        os._exit(1)

    threading.Thread(target=leave_when_let_go, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)


@contextmanager
def _one_thread_in_children() -> Iterator[None]:
    """Let libraries in processes started meanwhile use one thread; they read this when imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _one_thread_here() -> Iterator[None]:
    """Let OpenCV and BLAS use one thread in this process: sums in another order differ in the last digit."""
    import cv2
    from threadpoolctl import threadpool_limits

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)

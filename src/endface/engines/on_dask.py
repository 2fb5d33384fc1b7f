"""Where work runs when one machine is not enough: the workers of a dask.distributed cluster.

Tasks travel in small bundles through a sliding window: the scheduler never holds more than two bundles per
worker, however many tasks there are. A task may be done twice and must then give the same files; so it is
harmless that a worker, the scheduler or the connection is lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic

import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from endface.engines import THREAD_VARIABLES, EngineLost, Result, Task, WorkerLost
from endface.errors import SettingsError

PATIENCE_S = 300.0
"""How long to wait for a scheduler that does not answer, and for a first worker."""

BUNDLE_S = 10.0
MAX_BUNDLE = 256
# a bundle is at most this share of what its worker has done already, or workers would end far apart
_SHARE = 1 / 8
_DEATHS = 3
_LOOK_S = 1.0
_GONE = (CommClosedError, FutureCancelledError, OSError, TimeoutError)

# one image at a time in each worker process, whatever number of threads it was given
_one_at_a_time = threading.Lock()


class _SchedulerGoneError(Exception):
    """The connection to the scheduler broke; what was under way has to be given out again."""


@dataclass
class _Flow(Generic[Task, Result]):
    """What one pass over a queue of tasks has under way."""

    function: Callable[[Task], Result]
    queue: Iterator[Task]
    alone: bool
    """Each task by itself, so that it alone is to blame for the death of its worker."""
    again: deque[list[Task]] = field(default_factory=deque)
    under_way: dict[Future[Any], list[Task]] = field(default_factory=dict)
    ended: SimpleQueue[Future[Any]] = field(default_factory=SimpleQueue)
    suspects: list[Task] = field(default_factory=list)
    size: int = 1
    n_done: int = 0

    def bundles(self, room: int) -> list[list[Task]]:
        """Take up to `room` bundles, those to be done again first."""
        taken: list[list[Task]] = []
        while len(taken) < room and (
            bundle := self.again.popleft() if self.again else list(islice(self.queue, self.size))
        ):
            taken.append(bundle)
        return taken

    def take_back(self) -> None:
        """Forget what is under way; it is to be done again."""
        self.again.extend(self.under_way.values())
        self.under_way.clear()
        self.ended = SimpleQueue()

    def learn(self, seconds: float, n_tasks: int, *, workers: int) -> None:
        """Fit the size of bundles to the time that tasks take and to what was done so far."""
        self.n_done += n_tasks
        if not self.alone:
            fitting = int(BUNDLE_S * n_tasks / max(seconds, 1e-6))
            fair = int(_SHARE * self.n_done / max(workers, 1))
            self.size = max(1, min(fitting, fair, MAX_BUNDLE))


class DaskEngine:
    """Runs tasks on a dask.distributed cluster; survives the loss of workers and of the scheduler.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, e.g. 'tcp://10.0.0.1:8786'; a cluster of `jobs` processes on this
        machine where not given.
    jobs : int
        Processes of that cluster.
    alike : callable
        What gives the same text on every worker and here, or results could differ: SettingsError if not.
    patience_s : float
        How long to wait for a scheduler or for workers before giving up.

    Notes
    -----
    A task that was under way when its worker died is tried again. After `allowed-failures` more deaths the
    scheduler has had enough (after the third in a cluster of our own), and the task is suspected. Suspects
    come last, each alone on its worker; what kills workers then as well, again and again, is given up.
    """

    def __init__(
        self,
        *,
        scheduler: str | None,
        jobs: int,
        alike: Callable[[], str] = str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._address, self._jobs, self._patience_s = scheduler, jobs, patience_s
        self._alike = alike
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._n_threads, self._counted_s = 0, 0.0

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | WorkerLost]]:
        """Yield (task, result) as results arrive."""
        together: _Flow[Task, Result] = _Flow(function, iter(tasks), alone=False)
        yield from self._carry_out(together)
        apart: _Flow[Task, Result] = _Flow(function, iter(together.suspects), alone=True)
        yield from self._carry_out(apart)
        for culprit in apart.suspects:
            yield culprit, WorkerLost()

    def close(self, *, at_once: bool = False) -> None:
        """Leave the cluster; tasks under way there are dropped, and a cluster of our own is ended."""
        self._disconnect()
        if self._cluster is not None:
            self._cluster.close(timeout=1 if at_once else 30)
            self._cluster = None

    def _carry_out(self, flow: _Flow[Task, Result]) -> Iterator[tuple[Task, Result]]:
        """Work on a queue until it is empty, however often the scheduler is lost meanwhile."""
        first = True
        while True:
            try:
                self._connect(first=first)
                first = False
                yield from self._until_gone(flow)
                return
            except _SchedulerGoneError:
                flow.take_back()
                self._disconnect()

    def _until_gone(self, flow: _Flow[Task, Result]) -> Iterator[tuple[Task, Result]]:
        idle_since = time.monotonic()
        while True:
            self._give_out(flow)
            if not flow.under_way:
                return
            done = self._ended(flow)
            if done or self._n_threads:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > self._patience_s:
                raise EngineLost(
                    f"{self._address}: no worker for {self._patience_s:g} s",
                    hint="Start workers; the same command then goes on where it stopped.",
                )
            yield from self._collect(flow, done)

    def _give_out(self, flow: _Flow[Task, Result]) -> None:
        """Fill the window: two bundles per worker, or one task per two workers where each is to be alone."""
        room = (self._threads() // 2 if flow.alone else 2 * self._threads()) or 1
        bundles = flow.bundles(room - len(flow.under_way))
        if not bundles:
            return
        flow.again.extendleft(reversed(bundles))
        with _noticing_loss():
            futures = self._connected().map(
                _work, bundles, function=flow.function, alike=self._alike, expected=self._alike(), pure=False
            )
        for bundle, future in zip(bundles, futures, strict=True):
            flow.again.popleft()
            flow.under_way[future] = bundle
            future.add_done_callback(flow.ended.put)

    def _ended(self, flow: _Flow[Task, Result]) -> list[Future[Any]]:
        """Return the bundles that ended since; waits a moment for a first one."""
        done: list[Future[Any]] = []
        with suppress(Empty):
            done.append(flow.ended.get(timeout=_LOOK_S))
            while True:
                done.append(flow.ended.get_nowait())
        if self._connected().status != "running" or any(
            future.cancelled() for future in done or flow.under_way
        ):
            raise _SchedulerGoneError
        return done

    def _collect(self, flow: _Flow[Task, Result], done: list[Future[Any]]) -> Iterator[tuple[Task, Result]]:
        """Yield the results of bundles that ended; what died with its worker becomes suspect."""
        finished = [future for future in done if future.status == "finished"]
        answers = self._answers(finished)
        for future in set(done) - answers.keys():
            with _noticing_loss():
                error = future.exception()
            if error is None:
                # its answer died with the worker that held it and was made again meanwhile
                flow.ended.put(future)
                continue
            if not isinstance(error, KilledWorker):
                raise _foreign(error)
            flow.suspects.extend(flow.under_way.pop(future))
        for future, (results, seconds) in answers.items():
            bundle = flow.under_way.pop(future)
            flow.learn(seconds, len(bundle), workers=self._n_threads)
            yield from zip(bundle, results, strict=True)

    def _answers(self, finished: list[Future[Any]]) -> dict[Future[Any], Any]:
        """Fetch what bundles gave in one go; a lost answer is made again, which can kill a worker."""
        with _noticing_loss():
            try:
                return dict(zip(finished, self._connected().gather(finished), strict=True))
            except KilledWorker:
                if len(finished) == 1:
                    return {}
        return {future: answer for one in finished for future, answer in self._answers([one]).items()}

    def _connect(self, *, first: bool) -> None:
        """Reach the scheduler, waiting for one that is being restarted."""
        if self._client is not None:
            return
        end = time.monotonic() + (min(10.0, self._patience_s) if first else self._patience_s)
        while self._client is None:
            try:
                self._client = Client(
                    self._address or self._own(), set_as_default=False, timeout=min(5.0, self._patience_s)
                )
            except (OSError, TimeoutError, ValueError) as error:
                if isinstance(error, ValueError) or (first and time.monotonic() > end):
                    raise SettingsError(
                        f"--scheduler {self._address}: no Dask scheduler answers there",
                        hint="Start one by `dask scheduler`, or leave --scheduler out to use this machine.",
                    ) from None
                if time.monotonic() > end:
                    raise EngineLost(
                        f"{self._address}: the scheduler has not answered for {self._patience_s:g} s",
                        hint="Once it runs, the same command goes on where it stopped.",
                    ) from None
                time.sleep(0.5)

    def _own(self) -> LocalCluster:
        if self._cluster is None:
            with dask.config.set({"distributed.scheduler.allowed-failures": _DEATHS - 1}):
                self._cluster = LocalCluster(
                    n_workers=self._jobs, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
                )
        return self._cluster

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close(timeout=1)
            self._client = None
            self._counted_s = 0.0

    def _connected(self) -> Client:
        assert self._client is not None
        return self._client

    def _threads(self) -> int:
        """Return how many worker processes there are, asked anew from time to time."""
        if not self._n_threads or time.monotonic() - self._counted_s > 5 * _LOOK_S:
            with _noticing_loss():
                self._n_threads = len(self._connected().nthreads())
            self._counted_s = time.monotonic()
        return self._n_threads


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Turn what a lost connection raises into one error."""
    try:
        yield
    except _GONE as error:
        raise _SchedulerGoneError from error


def _work(
    bundle: list[Task], *, function: Callable[[Task], Result], alike: Callable[[], str], expected: str
) -> tuple[list[Result], float]:
    """Carry out a bundle on a worker; returns the results and the seconds it took."""
    with _one_at_a_time:
        _use_one_thread()
        if alike() != expected:
            raise SettingsError(
                "a worker runs another version of endface or of its libraries than this command",
                hint="Install the same on all machines; results would differ otherwise.",
            )
        start = time.perf_counter()
        return [function(task) for task in bundle], time.perf_counter() - start


@cache
def _use_one_thread() -> None:
    """Let OpenCV and BLAS use one thread in this worker, from now on."""
    import cv2
    from threadpoolctl import threadpool_limits

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _foreign(error: BaseException) -> BaseException:
    """Return what to raise for an error that came from a worker."""
    if isinstance(error, ImportError):
        return SettingsError(
            f"a worker cannot import what it needs ({error})",
            hint="Install the same endface, with its extra `cluster`, on all machines.",
        )
    return error

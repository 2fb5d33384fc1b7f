"""Has the tasks of a run carried out by an engine, keeps the time and tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from endface.batch.optics import OpticsTask
from endface.batch.residuals import ResidualTask
from endface.batch.settle import SettleTask
from endface.drawing import DrawTask
from endface.engines import Engine, EngineName, WorkerLost, available_cores, make_engine
from endface.stages import AnalyseTask, Failure, Outcome, RezoneTask

Progress = Callable[[str, int, int], None]
_Task = TypeVar("_Task", AnalyseTask, DrawTask, RezoneTask, OpticsTask, ResidualTask, SettleTask)


class Foreman:
    """Has tasks carried out by an engine and keeps the time."""

    def __init__(self, engine: Engine, *, jobs: int, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self.engine, self._jobs = engine, jobs
        self._progress = progress or (lambda *_: None)
        self._started = datetime.now(UTC)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)

    def carry_out(
        self,
        stage: str,
        function: Callable[[_Task], Outcome],
        tasks: Mapping[str, _Task] | Iterable[tuple[str, _Task]],
        *,
        n: int | None = None,
    ) -> dict[str, Outcome]:
        """Apply a function to all tasks, by name; an iterator makes them when their turn comes.

        `n` is the number of tasks where it cannot be told.
        """
        pairs = tasks.items() if isinstance(tasks, Mapping) else tasks
        total = len(tasks) if isinstance(tasks, Mapping) else n or 0
        outcomes: dict[str, Outcome] = {}
        names: dict[int, str] = {}  # of the tasks under way

        def noted() -> Iterator[_Task]:
            for name, task in pairs:
                names[id(task)] = name
                yield task

        with self.timed(stage):
            self._progress(stage, 0, total)
            for task, result in self.engine.map(function, noted()):
                outcome = _lost(task, stage) if isinstance(result, WorkerLost) else result
                outcomes[names.pop(id(task))] = outcome
                self._progress(stage, len(outcomes), total)
        return outcomes

    def timings(self) -> dict[str, Any]:
        """Return what may differ between two equal runs."""
        started = self._started.isoformat(timespec="seconds")
        return {"started": started, "jobs": self._jobs, "seconds": self.seconds}


@contextmanager
def hire(
    jobs: int | None,
    n_images: int,
    progress: Progress | None,
    *,
    engine_name: EngineName = "local",
    scheduler: str | None = None,
    alike: Callable[[], str] = str,
) -> Iterator[Foreman]:
    """Start an engine with no more workers than there are images, and end it in any case."""
    workers = min(jobs or available_cores(), n_images)
    engine = make_engine(workers, name=engine_name, scheduler=scheduler, alike=alike)
    try:
        yield Foreman(engine, jobs=workers, progress=progress)
    except BaseException:
        # files are written whole or not at all, so nobody needs to wait for workers
        engine.close(at_once=True)
        raise
    engine.close()


def _lost(task: _Task, stage: str) -> Outcome:
    image = task.source.image if isinstance(task, AnalyseTask) else task.image
    return Outcome(
        failure=Failure(
            image,
            stage,
            "working on this image killed the worker, each time it was tried",
            "Perhaps memory ran out: use fewer --jobs, or lower max_megapixels.",
        )
    )

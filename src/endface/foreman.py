"""Has the tasks of a run carried out by an engine, keeps the time and tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from endface.engines import Engine, WorkerLost, available_cores, make_engine
from endface.stages import AnalyseTask, DrawTask, Failure, Outcome, RezoneTask

Progress = Callable[[str, int, int], None]
_Task = TypeVar("_Task", AnalyseTask, DrawTask, RezoneTask)


class Foreman:
    """Has tasks carried out by an engine and keeps the time."""

    def __init__(self, engine: Engine, *, jobs: int, progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._engine, self._jobs = engine, jobs
        self._progress = progress or (lambda *_: None)
        self._started = datetime.now(UTC)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)

    def carry_out(
        self, stage: str, function: Callable[[_Task], Outcome], tasks: dict[str, _Task]
    ) -> dict[str, Outcome]:
        """Apply a function to all tasks; returns outcomes by image_id."""
        outcomes: dict[str, Outcome] = {}
        ids = {id(task): image_id for image_id, task in tasks.items()}
        with self.timed(stage):
            self._progress(stage, 0, len(tasks))
            for task, result in self._engine.map(function, tasks.values()):
                outcomes[ids[id(task)]] = _lost(task, stage) if isinstance(result, WorkerLost) else result
                self._progress(stage, len(outcomes), len(tasks))
        return outcomes

    def timings(self) -> dict[str, Any]:
        """Return what may differ between two equal runs."""
        started = self._started.isoformat(timespec="seconds")
        return {"started": started, "jobs": self._jobs, "seconds": self.seconds}


@contextmanager
def hire(jobs: int | None, n_images: int, progress: Progress | None) -> Iterator[Foreman]:
    """Start an engine with no more workers than there are images, and end it in any case."""
    workers = min(jobs or available_cores(), n_images)
    engine = make_engine(workers)
    try:
        yield Foreman(engine, jobs=workers, progress=progress)
    except BaseException:
        # files are written whole or not at all, so nobody needs to wait for workers
        engine.close(at_once=True)
        raise
    engine.close()


def _lost(task: AnalyseTask | DrawTask | RezoneTask, stage: str) -> Outcome:
    image = task.source.image if isinstance(task, AnalyseTask) else task.image
    return Outcome(
        failure=Failure(
            image,
            stage,
            "the process that worked on this image died",
            "Perhaps memory ran out: use fewer --jobs, or lower max_megapixels.",
        )
    )

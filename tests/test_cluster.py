"""A cluster of separate processes and an S3 server, with faults: nothing is lost, nothing is there twice."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_tools import Cluster, FaultyS3
from endface import pipeline
from endface.engines import EngineLost, WorkerLost, make_engine
from endface.errors import SettingsError
from endface.foreman import Foreman
from endface.places import place, walk
from endface.stages import AnalyseTask
from engine_tasks import double_or_die, double_slowly, process_id, threads_of_opencv
from test_run import end_face, write

pytest.importorskip("distributed", reason="needs the extra `cluster`")
from endface.engines.on_dask import MAX_BUNDLE, DaskEngine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), workers=2)
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    if shared_cluster.scheduler.poll() is not None:
        shared_cluster.restart()
    return shared_cluster


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[DaskEngine]:
    engine = DaskEngine(scheduler=cluster.address, jobs=0, patience_s=60)
    yield engine
    engine.close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    pytest.importorskip("moto", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs the extra `cluster`")
    server = FaultyS3(every=19, forbidden="forbidden.png")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield server
    s3fs.S3FileSystem.clear_instance_cache()
    server.close()


def exactly_once(results: list[tuple[int, int]], n: int) -> bool:
    return Counter(results) == Counter((number, 2 * number) for number in range(n))


# ── the engine ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_task_once_through_a_window_with_one_thread_each(engine: DaskEngine) -> None:
    fetched: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(3000):
            fetched.append(number)
            yield number

    results = engine.map(abs, tasks())
    first = next(results)
    assert len(fetched) <= 4 * 2
    seen = [first]
    for result in results:
        seen.append(result)
        assert len(fetched) - len(seen) <= 2 * 4 * MAX_BUNDLE
    assert sorted(seen) == [(number, number) for number in range(3000)]
    assert {threads for _, threads in engine.map(threads_of_opencv, range(4))} == {1}


def test_what_kills_its_worker_again_and_again_is_the_only_task_lost(engine: DaskEngine) -> None:
    results = list(engine.map(double_or_die, range(8)))
    assert [number for number, result in results if isinstance(result, WorkerLost)] == [3]
    expected = {number: 2 * number for number in range(8) if number != 3}
    assert {number: result for number, result in results if number != 3} == expected
    assert len(results) == 8


def test_a_killed_worker_loses_nothing(engine: DaskEngine) -> None:
    victims = {int(pid) for _, pid in engine.map(process_id, range(4))}
    results = []
    for result in engine.map(double_slowly, range(60)):
        results.append(result)
        if len(results) == 5:
            os.kill(victims.pop(), signal.SIGKILL)
    assert exactly_once(results, 60)


def test_a_restarted_scheduler_loses_nothing(engine: DaskEngine, cluster: Cluster) -> None:
    results = []
    restart = threading.Thread(target=cluster.restart)
    for result in engine.map(double_slowly, range(80)):
        results.append(result)
        if len(results) == 5:
            restart.start()
    restart.join()
    assert exactly_once(results, 80)


def test_workers_with_other_software_are_refused(cluster: Cluster) -> None:
    engine = DaskEngine(scheduler=cluster.address, jobs=0, alike=process_id)
    try:
        with pytest.raises(SettingsError, match="another version"):
            list(engine.map(abs, [1]))
    finally:
        engine.close(at_once=True)


def test_a_scheduler_that_stays_away_ends_in_words(cluster: Cluster) -> None:
    with pytest.raises(SettingsError, match="no Dask scheduler answers"):
        list(DaskEngine(scheduler="tcp://127.0.0.1:9", jobs=0, patience_s=0.5).map(abs, [1]))
    engine = DaskEngine(scheduler=cluster.address, jobs=0, patience_s=20)
    try:
        results = engine.map(double_slowly, range(1000))
        next(results)
        engine._patience_s = 1.0
        cluster.kill_scheduler()
        with pytest.raises(EngineLost, match="not answered") as caught:
            list(results)
        assert "same command" in caught.value.hint
    finally:
        engine.close(at_once=True)


def test_engines_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="--engine"):
        make_engine(2, scheduler="tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "endface.engines.on_dask", None)
    with pytest.raises(SettingsError) as caught:
        make_engine(2, name="dask")
    assert "endface[cluster]" in caught.value.hint


# ── whole runs ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_on_a_failing_cluster_and_store_is_the_run_of_one_machine(
    cluster: Cluster, s3: FaultyS3, tmp_path: Path
) -> None:
    faces, bucket = tmp_path / "faces", place("s3://bucket")
    for number in range(5):
        write(faces / f"sub {number % 2}" / f"face {number}.png", end_face(number, defects=number != 3))
    pipeline.run(faces, tmp_path / "out", jobs=1)

    import boto3

    boto3.client("s3").create_bucket(Bucket="bucket")
    for name in walk(faces):
        (bucket / "faces" / name).write_bytes((faces / name).read_bytes())
    (bucket / "faces" / "forbidden.png").write_bytes(b"x")
    # workers of this run have the address of the store in their environment
    cluster.restart()
    workers = DaskEngine(scheduler=cluster.address, jobs=0, patience_s=60)
    victims = {int(pid) for _, pid in workers.map(process_id, range(4))}
    workers.close()

    def kill_one(stage: str, done: int, total: int) -> None:
        if done == 2 and len(victims) == 2:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victims.pop(), signal.SIGKILL)

    options = {"engine": "dask", "scheduler": cluster.address}
    summary = pipeline.run("s3://bucket/faces", "s3://bucket/out", progress=kill_one, **options)
    assert (summary.n_images, summary.n_failed) == (6, 1)
    failures = (summary.folder / "failures.csv").read_text()
    (row,) = csv.DictReader(io.StringIO(failures))
    assert (row["image"], row["stage"]) == ("forbidden.png", "read")

    (bucket / "faces" / "forbidden.png").unlink()
    again = pipeline.run("s3://bucket/faces", "s3://bucket/out", **options)
    assert (again.n_images, again.n_failed, again.n_reused) == (5, 0, 5)
    assert contents(bucket / "out") == contents(tmp_path / "out")
    assert s3.n_faults > 10


def test_what_killed_workers_is_a_row_of_failures() -> None:
    class Killed:
        def map(self, function: object, tasks: list[AnalyseTask]) -> Iterator[tuple[AnalyseTask, WorkerLost]]:
            yield from ((task, WorkerLost()) for task in tasks)

    folder = pipeline.RunFolder(Path("out"))
    source = pipeline.InputImage(Path("poison.png"), "poison.png", "poison")
    task = AnalyseTask(source, folder, pipeline.Settings(), "")
    outcome = Foreman(Killed(), jobs=1, progress=None).carry_out("analyse", len, {"poison": task})["poison"]
    assert outcome.failure is not None
    assert (outcome.failure.image, outcome.failure.stage) == ("poison.png", "analyse")
    assert "killed the worker" in outcome.failure.error


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run, without what may differ between two equal ones."""
    files = {name: (folder / name).read_bytes() for name in walk(folder)}
    manifest = json.loads(files["run.json"])
    del manifest["timings"]
    return files | {"run.json": json.dumps(manifest).encode()}

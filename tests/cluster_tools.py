"""A Dask cluster of separate processes and an S3 server on loopback, and faults to put into them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SRC = Path(__file__).resolve().parents[1] / "src"


class Cluster:
    """`dask scheduler` and `dask worker` as somebody would start them by hand."""

    def __init__(self, scratch: Path, *, workers: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._scratch, self._n_workers = scratch, workers
        self.scheduler, self.nanny = self._start_scheduler(), self._start_workers()

    def restart(self) -> None:
        """Kill the scheduler; start another one there, and workers in place of those that left."""
        self.kill_scheduler()
        end(self.nanny)
        self.scheduler, self.nanny = self._start_scheduler(), self._start_workers()

    def kill_scheduler(self) -> None:
        end(self.scheduler)

    def close(self) -> None:
        end(self.nanny)
        end(self.scheduler)

    def _start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")

    def _start_workers(self) -> subprocess.Popen[bytes]:
        options = ["--nworkers", str(self._n_workers), "--nthreads", "1", "--no-dashboard"]
        return self._start(
            "worker", self.address, *options, "--host", "127.0.0.1", "--local-directory", str(self._scratch)
        )

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        paths = (str(SRC), str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # the second death of a worker makes its task suspect
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        with (self._scratch / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this test started, and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class FaultyS3:
    """The S3 API of moto, which fails now and then; one key is never handed out."""

    def __init__(self, *, every: int, forbidden: str) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                """Say nothing."""

        self.n_faults = 0
        self._every, self._forbidden, self._n = every, forbidden, 0
        self._lock = threading.Lock()
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self._n += 1
            faulty = self._n % self._every == 0
            self.n_faults += faulty
        if faulty:
            return _refuse(start, "500 Internal Server Error", "InternalError")
        if environ["PATH_INFO"].endswith(self._forbidden) and environ["REQUEST_METHOD"] == "GET":
            return _refuse(start, "403 Forbidden", "AccessDenied")
        return self._app(environ, start)


def _refuse(start: Callable[..., Any], status: str, code: str) -> list[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Connection", "close")])
    return [f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()]

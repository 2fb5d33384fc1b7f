"""Tasks for worker processes; a module of its own so that workers need not import a whole test."""

from __future__ import annotations

import os
import signal


def double_or_die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def double_slowly(number: int) -> int:
    import time

    time.sleep(0.05)
    return 2 * number


def threads_of_opencv(_: object) -> int:
    import cv2

    return cv2.getNumThreads()


def process_id(_: object = None) -> str:
    return str(os.getpid())


def wait_for(path: str) -> str:
    """Say who works, then go on until the process is ended from outside."""
    import time
    from pathlib import Path

    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
    return path

"""Where files lie: on this machine, or at an address such as s3://bucket/folder; whole files in and out.

The one place that touches a store: names, reading, writing whole files, listing, and patience with faults
that pass. Addresses go through fsspec, imported only where one is used. Does not know what files mean.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from pathlib import Path, PosixPath
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from endface.errors import SettingsError

Item = TypeVar("Item")
Result = TypeVar("Result")

PAUSES_S = (0.1, 0.3, 1.0, 3.0, 10.0)
"""How long to wait before each new attempt, shortened at random so that workers do not come back together."""

# these write an object whole or not at all, as a local rename does
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"})

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+")
_CONNECTIONS = 16
_waiting: ContextVar[list[tuple[Address, bytes]] | None] = ContextVar("waiting", default=None)
_PASSING = frozenset({
    errno.EIO, errno.ESTALE, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ETIMEDOUT, errno.ECONNRESET,
})  # fmt: skip
_LASTING = frozenset({
    errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.ENAMETOOLONG,
})  # fmt: skip
_LASTING_TYPES = (
    FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError,
    ImportError, NotImplementedError, LookupError, TypeError, ValueError, AttributeError,
)  # fmt: skip


class Address(PosixPath):
    """A path in a store that fsspec knows: named, joined, read and written like any other `Path`.

    What would quietly use a file of this machine instead raises TypeError.

    Examples
    --------
    >>> picture = Address("s3://bucket/faces") / "a.png"
    >>> str(picture), picture.name, str(picture.with_suffix(".txt").parent)
    ('s3://bucket/faces/a.png', 'a.png', 's3://bucket/faces')
    """

    __slots__ = ()

    @property
    def scheme(self) -> str:
        """Which kind of store, e.g. s3."""
        return self.parts[0].rstrip(":")

    def __str__(self) -> str:
        return _SCHEME.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is an address, not a file of this machine")

    def absolute(self) -> Address:
        """Return the address itself."""
        return self

    def resolve(self, strict: bool = False) -> Address:  # noqa: ARG002
        """Return the address itself: stores have no links."""
        return self

    def read_bytes(self) -> bytes:
        """Return the content; OSError if it cannot be read."""
        content = _patiently(lambda: _store(self).cat_file(_key(self)))
        return bytes(content)

    def read_text(self, encoding: str | None = "utf-8", errors: str | None = "strict") -> str:
        """Return the content as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:
        """Write the object whole."""
        _patiently(lambda: _store(self).pipe_file(_key(self), bytes(data)))
        return len(data)

    def write_text(self, data: str, encoding: str | None = "utf-8", *_: Any, **__: Any) -> int:
        """Write text as an object."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def exists(self, **_: Any) -> bool:
        """Return whether there is an object, or any object below."""
        return bool(_patiently(lambda: _store(self).exists(_key(self))))

    def is_file(self, **_: Any) -> bool:
        """Return whether there is such an object."""
        return self._kind() == "file"

    def is_dir(self, **_: Any) -> bool:
        """Return whether there are objects below."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Return False: stores have no links."""
        return False

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; many stores do not say whether it was there."""
        with contextlib.suppress(*((FileNotFoundError,) if missing_ok else ())):
            _patiently(lambda: _store(self).rm_file(_key(self)))

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Do nothing: an object needs no folder."""

    def stat(self, **_: Any) -> NoReturn:
        """Raise TypeError."""
        self.__fspath__()
        raise AssertionError

    open = iterdir = glob = rglob = rename = replace = touch = rmdir = stat  # type: ignore[assignment]

    def _kind(self) -> str:
        try:
            return str(_patiently(lambda: _store(self).info(_key(self)))["type"])
        except FileNotFoundError:
            return ""


def place(given: str | Path) -> Path:
    """Return what a user's text means: a path of this machine, or an `Address`.

    Raises
    ------
    SettingsError
        If fsspec or its driver for this kind of address is missing, or does not like it.

    Examples
    --------
    >>> place("memory://faces/a.png")
    Address('memory://faces/a.png')
    >>> place("file:///data/a.png").as_posix(), place("a.png").as_posix()
    ('/data/a.png', 'a.png')
    """
    text = str(given)
    if isinstance(given, Path) or not re.match(r"[a-z][a-z0-9+.-]+://", text):
        return Path(given) if isinstance(given, str) else given
    if text.startswith(("file:", "local:")):
        return Path(unquote(urlsplit(text).path))
    address = Address(text)
    try:
        _store(address)
    except ImportError as error:
        raise SettingsError(f"{text}: {error}", hint="pip install 'endface[cluster]'.") from None
    except Exception as error:  # whatever its driver raises on an address it does not like
        raise SettingsError(f"{text}: {error}", hint="Check the address.") from None
    return address


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: what is read meanwhile is the old one or the new one."""
    if isinstance(path, Address):
        waiting = _waiting.get()
        if waiting is None:
            path.write_bytes(data)
        else:
            waiting.append((path, data))
        return
    # a short name of its own: the final one may already be as long as the file system allows
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")

    def put() -> None:
        try:
            temporary.write_bytes(data)
        except FileNotFoundError:  # the folder is there already for all files of it but the first
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
        temporary.replace(path)

    try:
        _patiently(put, near=True)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def together() -> Iterator[None]:
    """Let what is written to addresses meanwhile go there at the end, all at once; nothing after an error."""
    waiting: list[tuple[Address, bytes]] = []
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
    if waiting:
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(lambda item: item[0].write_bytes(item[1]), waiting))


def are_files(paths: Sequence[Path]) -> bool:
    """Return whether all of these are files."""
    return not paths or all(read_all(lambda path: path.is_file(), paths, root=paths[0]))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; OSError if it cannot be read."""
    return path.read_bytes() if isinstance(path, Address) else _patiently(path.read_bytes, near=True)


def walk(root: Path, *, enter: Callable[[Path], bool] = lambda _: True) -> Iterator[str]:
    """Yield the files below a folder, '/' between names, sorted folder by folder, alike in every store.

    Memory is that of the largest single folder.

    Parameters
    ----------
    enter : callable
        Says of a folder whether it is walked.

    Notes
    -----
    Where there is no such folder, nothing is yielded.
    """
    try:
        entries = sorted(_entries(root))
    except FileNotFoundError:
        return
    except PermissionError:
        if isinstance(root, Address):
            raise
        return
    for name, is_folder in entries:
        if not is_folder:
            yield name
        elif enter(root / name):
            yield from (f"{name}/{file}" for file in walk(root / name, enter=enter))


def match(root: Path, pattern: str) -> list[str]:
    """Return the files below a folder that fit a glob pattern, sorted as `walk` does."""
    if not isinstance(root, Address):
        found = [file.relative_to(root).as_posix() for file in root.glob(pattern) if file.is_file()]
    else:
        base = _key(root).rstrip("/") + "/"
        keys = _patiently(lambda: _store(root).glob(base + pattern, detail=True))
        found = [key.removeprefix(base) for key, info in keys.items() if info["type"] == "file"]
    return sorted(found, key=lambda name: name.split("/"))


def remove_tree(root: Path) -> None:
    """Delete a folder and all below; nothing happens where there is none."""
    if not isinstance(root, Address):
        shutil.rmtree(root, ignore_errors=True)
    elif root.is_dir():
        _patiently(lambda: _store(root).rm(_key(root), recursive=True))


def copy_tree(source: Path, target: Path) -> None:
    """Copy all files below a folder, each whole."""
    if not isinstance(source, Address) and not isinstance(target, Address):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    far = source if isinstance(source, Address) else target
    for _ in read_all(
        lambda name: write_bytes(target / name, read_bytes(source / name)), walk(source), root=far
    ):
        pass


def is_empty(root: Path) -> bool:
    """Return whether nothing lies in a folder, or there is none."""
    try:
        return next(_entries(root), None) is None
    except FileNotFoundError:
        return True


def remove_empty_folders(root: Path) -> None:
    """Delete folders that hold nothing, from the bottom up; stores of objects have none."""
    if not isinstance(root, Address):
        for here, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):
                Path(here).rmdir()


def read_all(read: Callable[[Item], Result], items: Iterable[Item], *, root: Path) -> Iterator[Result]:
    """Apply a reading function to many items, in order; many at a time where each answer takes its way.

    Parameters
    ----------
    root : Path
        Where the items are read from.
    """
    if not isinstance(root, Address):
        yield from map(read, items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        while chunk := list(islice(rest, 16 * _CONNECTIONS)):
            yield from pool.map(read, chunk)


def _entries(root: Path) -> Iterator[tuple[str, bool]]:
    """Yield (name, whether it is a folder) of what lies in a folder; linked folders are not entered."""
    if not isinstance(root, Address):
        with os.scandir(root) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder or not entry.is_dir():
                    yield entry.name, is_folder
        return
    for info in _patiently(lambda: _store(root).ls(_key(root), detail=True)):
        name = info["name"].rstrip("/").rpartition("/")[2]
        # some stores keep an empty object that stands for the folder itself
        if name and info["name"].strip("/") != _key(root).strip("/"):
            yield name, info["type"] == "directory"


def _store(address: Address) -> Any:
    """Return the file system of fsspec for an address; it never answers from memory what was there before."""
    import fsspec

    return fsspec.core.url_to_fs(str(address), use_listings_cache=False)[0]


def _key(address: Address) -> str:
    """Return the name of an address within its store."""
    return str(_store(address)._strip_protocol(str(address)))


def _patiently(action: Callable[[], Result], *, near: bool = False) -> Result:
    """Do it, again and again after a fault that passes; what is left is always an OSError."""
    for pause_s in PAUSES_S:
        try:
            return action()
        except Exception as error:
            if not _passes(error, near=near):
                raise _as_os_error(error) from error
        time.sleep(pause_s * random.uniform(0.5, 1.0))
    try:
        return action()
    except Exception as error:
        raise _as_os_error(error) from error


def _passes(error: Exception, *, near: bool) -> bool:
    """Return whether a fault may soon be gone: near if known to be so, far unless known to last."""
    if isinstance(error, _LASTING_TYPES) or "Credentials" in type(error).__name__:
        return False
    number = getattr(error, "errno", None)
    return number in _PASSING if near else number not in _LASTING


def _as_os_error(error: Exception) -> Exception:
    if isinstance(error, OSError):
        return error
    return OSError(errno.EIO, f"{type(error).__name__}: {error}")

"""Which images are meant by the paths a user gave, and the one name each keeps in all outputs."""

from __future__ import annotations

import glob
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from endface.errors import InputError
from endface.places import match, place, walk

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm", ".pnm", ".webp"}
)
_MAX_ID_BYTES = 180


@dataclass(frozen=True, slots=True)
class InputImage:
    """One image file of a run.

    Attributes
    ----------
    path : Path
        Where it is, absolute.
    image : str
        Path relative to the INPUT it was found under, with '/' on every system.
    image_id : str
        Unique name without extension used for all outputs, also on file systems that ignore case.
    """

    path: Path
    image: str
    image_id: str


def find_images(
    inputs: str | Path | Sequence[str | Path], *, exclude: str | Path | None = None
) -> tuple[InputImage, ...]:
    """Find the images meant by files, folders (walked recursively) and globs, in a stable order.

    Hidden files and other file types are skipped inside folders; a file named by itself is always taken. A
    file that is reached twice counts once.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        As the user gave them: paths, or addresses such as s3://bucket/folder.
    exclude : str or Path, optional
        Folder that is never walked: the output folder.

    Returns
    -------
    tuple of InputImage
        In the order of the inputs, sorted by path within each.

    Raises
    ------
    InputError
        If an input does not exist, or nothing at all is found.
    """
    given_inputs = [inputs] if isinstance(inputs, str | Path) else inputs
    skipped = place(exclude).resolve() if exclude is not None else None
    found: dict[str, tuple[Path, str]] = {}
    for given in given_inputs:
        for root, name, real in _expand(given, skipped):
            found.setdefault(real, (root, name))
    if not found:
        raise InputError(
            f"no images found in {', '.join(map(str, given_inputs)) or 'nothing'}",
            hint=f"Looked for files ending in {' '.join(sorted(SUFFIXES))}.",
        )
    files = list(found.values())
    del found
    images = _relative_names(files)
    return tuple(
        InputImage(root / name, image, image_id)
        for (root, name), image, image_id in zip(files, images, image_ids(images), strict=True)
    )


def image_ids(images: Sequence[str]) -> tuple[str, ...]:
    """Give every relative path an id: no extension, '/' becomes '__'; where two collide the extension stays.

    Examples
    --------
    >>> image_ids(["a.png", "a.jpg", "sub/b.png"])
    ('a_png', 'a_jpg', 'sub__b')
    """
    plain = [_short("__".join(PurePosixPath(image).with_suffix("").parts)) for image in images]
    counts = Counter(map(_fold, plain))
    taken = {_fold(name) for name in plain if counts[_fold(name)] == 1}
    ids = []
    for image, name in zip(images, plain, strict=True):
        chosen = name
        if counts[_fold(name)] > 1:
            extension = PurePosixPath(image).suffix.lstrip(".")
            base = chosen = f"{name}_{extension}" if extension else name
            number = 1
            while _fold(chosen) in taken:
                number += 1
                chosen = f"{base}_{number}"
            taken.add(_fold(chosen))
        ids.append(chosen)
    return tuple(ids)


def _fold(name: str) -> str:
    """Return what file systems that ignore case and unicode form would compare."""
    return unicodedata.normalize("NFC", name).casefold()


def _short(name: str) -> str:
    """Replace control characters; cut names that would not fit a file system, keeping them unique."""
    clean = "".join("_" if ord(letter) < 32 else letter for letter in name)
    encoded = clean.encode("utf-8", "surrogateescape")
    if len(encoded) <= _MAX_ID_BYTES:
        return clean
    mark = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: _MAX_ID_BYTES - 9].decode("utf-8", "ignore") + "-" + mark


def _relative_names(found: list[tuple[Path, str]]) -> list[str]:
    """Return paths relative to the input; shared ones get the input folder's name in front."""
    counts = Counter(name for _, name in found)
    return [name if counts[name] == 1 else f"{root.resolve().name or 'root'}/{name}" for root, name in found]


def _expand(given: str | Path, skipped: Path | None) -> Iterator[tuple[Path, str, str]]:
    """Yield (root, name below it, the one address of the file) of the images an input means."""
    path = place(given).absolute()
    try:
        if path.is_dir():
            yield from _walk(path, skipped)
        elif path.is_file() or path.is_symlink():
            yield path.parent, path.name, str(path.resolve())
        elif glob.has_magic(str(given)):
            yield from _match(path, skipped)
        else:
            raise InputError(
                f"{given}: no such file or folder", hint="Check the path; quote it if it holds spaces."
            )
    except OSError as error:
        raise InputError(
            f"{given}: cannot be listed ({error.strerror or error})", hint="Check the rights and the address."
        ) from None


def _walk(root: Path, skipped: Path | None) -> Iterator[tuple[Path, str, str]]:
    real = root.resolve()

    def enter(folder: Path) -> bool:
        return not folder.name.startswith(".") and (skipped is None or folder.resolve() != skipped)

    for name in walk(root, enter=enter):
        if _is_image(name):
            file = root / name
            # no linked folder is walked, so only the file itself can be a link
            yield root, name, str(file.resolve() if file.is_symlink() else f"{real}/{name}")


def _is_image(name: str) -> bool:
    file = name.rpartition("/")[2]
    return not file.startswith(".") and PurePosixPath(file).suffix.lower() in SUFFIXES


def _match(pattern: Path, skipped: Path | None) -> Iterator[tuple[Path, str, str]]:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = type(pattern)(*parts[:fixed])
    for name in match(root, "/".join(parts[fixed:])):
        real = (root / name).resolve()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if _is_image(name) and not hidden and not (skipped and real.is_relative_to(skipped)):
            yield root, name, str(real)

"""Which images are meant by the paths a user gave, and the one name each keeps in all outputs."""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from endface.errors import InputError

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
        Where it is.
    image : str
        Path relative to the INPUT it was found under, with '/' on every system.
    image_id : str
        Unique name without extension used for all outputs, also on file systems that ignore case.
    """

    path: Path
    image: str
    image_id: str


def find_images(
    inputs: str | Path | Sequence[str | Path], *, exclude: Path | None = None
) -> tuple[InputImage, ...]:
    """Find the images meant by files, folders (walked recursively) and globs, in a stable order.

    Hidden files and other file types are skipped inside folders; a file named by itself is always taken. A
    file that is reached twice counts once.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        As the user gave them.
    exclude : Path, optional
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
    skipped = exclude.resolve() if exclude is not None else None
    found: dict[Path, tuple[Path, PurePosixPath]] = {}
    for given in given_inputs:
        for root, relative in _expand(given, skipped):
            found.setdefault((root / relative).resolve(), (root, relative))
    if not found:
        raise InputError(
            f"no images found in {', '.join(map(str, given_inputs)) or 'nothing'}",
            hint=f"Looked for files ending in {' '.join(sorted(SUFFIXES))}.",
        )
    images = _relative_names(list(found.values()))
    ids = image_ids(images)
    return tuple(
        InputImage(root / relative, image, image_id)
        for (root, relative), image, image_id in zip(found.values(), images, ids, strict=True)
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


def _relative_names(found: list[tuple[Path, PurePosixPath]]) -> list[str]:
    """Return paths relative to the input; shared ones get the input folder's name in front."""
    counts = Counter(str(relative) for _, relative in found)
    return [
        str(relative) if counts[str(relative)] == 1 else f"{root.resolve().name or 'root'}/{relative}"
        for root, relative in found
    ]


def _expand(given: str | Path, skipped: Path | None) -> Iterator[tuple[Path, PurePosixPath]]:
    path = Path(given)
    if path.is_dir():
        yield from _walk(path, skipped)
    elif path.exists() or path.is_symlink():
        yield path.parent, PurePosixPath(path.name)
    elif glob.has_magic(str(given)):
        yield from _glob(str(given), skipped)
    else:
        raise InputError(
            f"{given}: no such file or folder", hint="Check the path; quote it if it holds spaces."
        )


def _walk(root: Path, skipped: Path | None) -> Iterator[tuple[Path, PurePosixPath]]:
    files: list[PurePosixPath] = []
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [
            name for name in subfolders if not name.startswith(".") and (here / name).resolve() != skipped
        ]
        relative = PurePosixPath(here.relative_to(root).as_posix())
        files.extend(relative / name for name in _image_names(names))
    yield from ((root, file) for file in sorted(files, key=lambda file: file.parts))


def _image_names(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES)


def _glob(pattern: str, skipped: Path | None) -> Iterator[tuple[Path, PurePosixPath]]:
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    matches = sorted(root.glob(str(Path(*parts[fixed:]))), key=lambda match: match.parts)
    for match in matches:
        hidden = any(part.startswith(".") for part in match.relative_to(root).parts)
        inside = skipped is not None and match.resolve().is_relative_to(skipped)
        if match.is_file() and match.suffix.lower() in SUFFIXES and not hidden and not inside:
            yield root, PurePosixPath(match.relative_to(root).as_posix())

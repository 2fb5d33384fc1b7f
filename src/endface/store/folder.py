"""Where every file of a run lies; opening a run folder, and clearing it of what is no longer wanted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from endface.errors import SettingsError
from endface.places import (
    OBJECT_STORES,
    Address,
    is_empty,
    place,
    remove_empty_folders,
    remove_tree,
    walk,
    write_bytes,
)

MANIFEST = "run.json"
_BEGUN = ".begun"
_TOP_FILES = (MANIFEST, "failures.csv", "report.html", "same_face.csv")
_FOLDERS = (
    "journal",
    "optics",
    "pixel_level",
    "region_level",
    "image_level",
    "defect_library",
    "segmentation_masks",
    "clusters",
    "exports",
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run folder; CONTRACT of the outputs."""

    root: Path

    def image(self, image_id: str) -> Path:
        """Return the path of the analysed image."""
        return self.root / f"pixel_level/images/{image_id}.png"

    def mask(self, image_id: str, kind: str) -> Path:
        """Return the path of a mask; `kind` is mask, zones, iec or instances."""
        return self.root / f"pixel_level/masks/{image_id}_{kind}.png"

    def maps(self, image_id: str) -> Path:
        """Return the path of the optional pixel maps."""
        return self.root / f"pixel_level/maps/{image_id}.npz"

    def overlay(self, image_id: str) -> Path:
        """Return the path of the picture with zones and defects drawn in."""
        return self.root / f"segmentation_masks/{image_id}_overlay.png"

    def patch(self, defect_id: str, type_name: str, level: str) -> Path:
        """Return the path of a defect's patch."""
        return self.root / f"defect_library/{type_name}/{level}/{defect_id}.png"

    def record(self, image_id: str) -> Path:
        """Return the path of an image's record in the journal."""
        return self.root / f"journal/{image_id}.json"

    def drawn(self, image_id: str) -> Path:
        """Return the path of the note that an image's pictures are up to date."""
        return self.root / f"journal/{image_id}.drawn"

    @property
    def batch(self) -> RunFolder:
        """Folder, laid out like a run, of what the batch changed: settled records, masks as first found."""
        return RunFolder(self.root / "journal/batch")

    def chart(self, image_id: str) -> Path:
        """Return the path of the face as a chart of radius and angle."""
        return self.root / f"journal/faces/{image_id}.png"

    def optics(self, scope: str) -> Path:
        """Return the path of what is known of the optics of one scope."""
        return self.root / f"journal/optics/{scope}.json"

    @property
    def optics_marks(self) -> Path:
        """Table of marks of the optics."""
        return self.root / "optics" / "optics_marks.csv"

    @property
    def optics_finds(self) -> Path:
        """Table of finds that are marks of the optics and no defects."""
        return self.root / "optics" / "optics_finds.csv"

    @property
    def same_face(self) -> Path:
        """Table of images that show the same face."""
        return self.root / "same_face.csv"

    @property
    def image_labels(self) -> Path:
        """Table of images, without suffix."""
        return self.root / "image_level" / "image_labels"

    @property
    def defect_index(self) -> Path:
        """Table of defects, without suffix."""
        return self.root / "defect_library" / "defect_library_index"

    @property
    def zone_features(self) -> Path:
        """Table of zones, without suffix."""
        return self.root / "region_level" / "zone_defect_features"

    @property
    def clusters(self) -> Path:
        """Table of clusters."""
        return self.root / "clusters" / "clusters.csv"

    @property
    def exports(self) -> Path:
        """Folder of the optional exports."""
        return self.root / "exports"

    @property
    def failures(self) -> Path:
        """Table of what could not be done."""
        return self.root / "failures.csv"

    @property
    def manifest(self) -> Path:
        """Manifest of the run."""
        return self.root / MANIFEST


def open_run_folder(out: str | Path, *, fresh: bool = False) -> RunFolder:
    """Make or re-open a run folder; what is not a run folder is never written into.

    Raises
    ------
    SettingsError
        If `out` is a file, or a folder that holds something but no run.
    """
    root = place(out)
    if isinstance(root, Address) and root.scheme not in OBJECT_STORES:
        raise SettingsError(
            f"{out}: expected a store that writes whole objects ({', '.join(sorted(OBJECT_STORES))})",
            hint="Mount it and give the path, or choose another -o.",
        )
    if root.is_file():
        raise SettingsError(
            f"{out}: expected a folder for the output, found a file", hint="Choose another -o."
        )
    if not is_empty(root) and not is_run_folder(root):
        raise SettingsError(
            f"{out}: the folder holds files that are not those of a run",
            hint="Choose a new or empty folder for -o; nothing was written.",
        )
    if fresh:
        for name in _FOLDERS:
            remove_tree(root / name)
        for name in _TOP_FILES:
            (root / name).unlink(missing_ok=True)
    try:
        (root / "journal").mkdir(parents=True, exist_ok=True)
        if isinstance(root, Address):
            # an object says that a run began here; folders exist only by what is in them
            write_bytes(root / "journal" / _BEGUN, b"")
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{out}: cannot be made ({reason})", hint="Choose another -o.") from None
    return RunFolder(root)


def is_run_folder(root: Path) -> bool:
    """Return whether a folder is that of a run, finished or not."""
    return (root / "journal").is_dir() or (root / MANIFEST).is_file()


def sweep(folder: RunFolder, keep: Iterable[Path]) -> int:
    """Delete files of earlier runs and leftovers of a killed one; return how many were deleted."""
    # by eight bytes each: a run has ten files per image
    kept = np.fromiter((hash(str(path)) for path in keep), np.int64)
    kept.sort()
    removed = 0
    for name in set(_FOLDERS) - {"exports"}:
        for file in walk(folder.root / name):
            path = folder.root / name / file
            mark = hash(str(path))
            place_of = bisect_left(kept, mark)
            if place_of == len(kept) or kept[place_of] != mark:
                path.unlink(missing_ok=True)
                # the sheets of clusters belong to the report, which makes them anew
                removed += name != "clusters" and file != _BEGUN
        remove_empty_folders(folder.root / name)
    for leftover in walk(folder.root, enter=lambda _: False):
        if leftover.startswith(".") and leftover.endswith(".tmp"):
            (folder.root / leftover).unlink()
    return removed

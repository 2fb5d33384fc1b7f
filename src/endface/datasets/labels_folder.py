"""Images sorted into folders by verdict: Pass/, Fail/, Marginal/, Indeterminate/.

The layout that image classifiers read. Loss: zones, defects, measures and reasons; only the verdict is kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from endface.annotation import Decision
from endface.datasets._folders import Export, read_card, run_images, whole_folder
from endface.store import RunFolder

FORMAT = "label_folders"
LOSS = "Only the verdict of each image is kept: no zones, defects, measures or reasons."

_FOLDERS: Mapping[str, str] = {decision.value: decision.value.capitalize() for decision in Decision}


def write(run_folder: Path, out: Path, *, how: Literal["link", "copy"] = "link") -> Export:
    """Sort the analysed images of a run into folders by verdict.

    Parameters
    ----------
    run_folder : Path
        Folder of a finished run.
    out : Path
        New folder, or an earlier export of this format, which is replaced. It appears whole or not at all.
    how : {'link', 'copy'}
        'link' makes hard links, which take no space; across file systems it copies. A program that changes a
        linked file in place changes the run's image too: copy for such programs.

    Returns
    -------
    Export
        Pass/ and Fail/ always exist, the others where they are needed.

    Raises
    ------
    FormatError
        If there is no finished run.
    SettingsError
        If `out` holds something else.
    """
    source = RunFolder(run_folder)
    images = run_images(run_folder)
    card = {"format": FORMAT, "version": 1, "n_images": len(images), "loss": LOSS}
    with whole_folder(out, card=card) as folder:
        for name in {"Pass", "Fail", *(_FOLDERS[image.pass_fail] for image in images)}:
            (folder / name).mkdir()
        for image in images:
            path = source.image(image.image_id)
            _place(path, folder / _FOLDERS[image.pass_fail] / path.name, how=how)
    return Export(out, len(images), LOSS)


def read(folder: Path) -> dict[str, Decision]:
    """Return the verdict of every image by its image_id, sorted.

    Raises
    ------
    FormatError
        If the folder is not an export of this format.
    """
    read_card(folder, expected=FORMAT)
    labels = {
        path.stem: decision
        for decision in Decision
        for path in (folder / _FOLDERS[decision.value]).glob("*.png")
    }
    return dict(sorted(labels.items()))


def _place(source: Path, target: Path, *, how: Literal["link", "copy"]) -> None:
    if how == "link":
        try:
            os.link(source, target)
        except OSError:
            # another file system, or one without hard links
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)

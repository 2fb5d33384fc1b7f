"""What a run depends on and what it reports about itself: hashes, versions and `run.json`."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from endface.config import Resolved, Settings, fingerprint
from endface.grading import load_profile
from endface.inputs import InputImage
from endface.judging import Judgement

_LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "numba",
    "polars",
    "pillow",
)
# what the analysis of one image depends on; the rest only matters once all are done
_ANALYSIS_SECTIONS = {"surface", "max_megapixels", "calibration", "detection", "features", "quality"}
_WITHOUT_INFLUENCE = {"cli", "report", "datasets", "evaluation", "synthesis"}


@cache
def code_fingerprint() -> str:
    """Return a hash of the package's own code: results of other code are not taken over."""
    root = Path(__file__).parent
    mark = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".yaml") and path.relative_to(root).parts[0] not in _WITHOUT_INFLUENCE:
            mark.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return mark.hexdigest()[:16]


def analysis_basis(settings: Settings) -> str:
    """Return a hash of everything besides the image that the analysis of one image depends on."""
    profile = settings.grading.profile
    content = profile if profile == "auto" else load_profile(profile).model_dump(mode="json")
    return fingerprint(
        [code_fingerprint(), settings.model_dump(mode="json", include=_ANALYSIS_SECTIONS), content]
    )


def versions() -> dict[str, str]:
    """Return the versions of the package and of the libraries that influence results."""
    found = {"endface": package_version(), "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def likeness() -> str:
    """Return a hash of all software that results depend on: workers that differ in it are of no use."""
    libraries = {name: version for name, version in versions().items() if name not in ("endface", "python")}
    return fingerprint([code_fingerprint(), libraries, platform.python_version_tuple()[:2]])


def package_version() -> str:
    """Return the version of the package, also where it runs from its sources."""
    try:
        return metadata.version("endface")
    except metadata.PackageNotFoundError:
        return "0+source"


def manifest(
    images: Sequence[InputImage],
    digests: Mapping[str, str],
    judgement: Judgement,
    resolved: Resolved,
    *,
    failed: Mapping[str, str],
    timings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of `run.json`; all that may differ between two equal runs is under 'timings'.

    Parameters
    ----------
    digests : mapping
        image_id -> SHA-256 of the input's bytes.
    failed : mapping
        image_id -> stage that failed.
    """
    settings = resolved.settings.model_dump(mode="json")
    return {
        "format": "endface run",
        "versions": versions(),
        "code": code_fingerprint(),
        "seed": resolved.settings.seed,
        "settings": settings,
        "settings_hash": fingerprint(settings),
        "settings_from": {key: origin for key, origin in resolved.origins.items() if origin != "default"},
        "counts": {
            "images": len(images),
            "done": len(images) - len(failed),
            "failed": len(failed),
            "defects": judgement.defects.height,
            "types": judgement.types,
            "verdicts": judgement.verdicts,
        },
        "inputs": [
            {
                "image": source.image,
                "image_id": source.image_id,
                "sha256": digests.get(source.image_id, ""),
                "status": f"failed: {failed[source.image_id]}" if source.image_id in failed else "done",
            }
            for source in images
        ],
        "timings": dict(timings),
    }

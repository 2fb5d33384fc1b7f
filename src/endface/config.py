"""Typed settings: one frozen tree read from YAML, validated once, with where each value came from.

Functions on arrays never see these types; the pipeline passes them plain values.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from endface.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationSettings(_Section):
    """How pixels become micrometres."""

    um_per_px: float | None = Field(None, gt=0, description="pixel pitch along x; unknown: from the cladding")
    um_per_px_y: float | None = Field(None, gt=0, description="pixel pitch along y; default: as along x")
    cladding_um: float = Field(125.0, gt=0, description="nominal cladding diameter")
    core_um: float | None = Field(
        None, gt=0, description="nominal core diameter, used where it cannot be seen"
    )


class DetectionSettings(_Section):
    """What is looked for and how sure a finding must be."""

    detector: str = Field("default", description="'default', 'mei2018' or a registered detector")
    epsilon: float = Field(0.1, gt=0, description="expected false alarms on a clean image of this size")


class FeatureSettings(_Section):
    """Which features are computed and kept."""

    save_maps: bool = Field(False, description="save pixel maps (intensity, gradient, entropy, LBP, zone)")


class ClusteringSettings(_Section):
    """How the defects of a run are grouped and named."""

    method: Literal["kmeans", "agglomerative", "dbscan", "hdbscan"] = "kmeans"
    n_clusters: int | None = Field(None, ge=2, description="None: chosen by the silhouette")
    max_clusters: int = Field(8, ge=2)
    sample: int = Field(20_000, ge=100, description="clusters are fitted on at most this many defects")
    names: dict[int, Literal["scratch", "contamination", "pit_chip", "other"]] = Field(
        default_factory=dict, description="names that override the rules, by cluster number"
    )


class SeveritySettings(_Section):
    """Weights and thresholds of the severity score (0 to 100)."""

    size_um: float = Field(10.0, gt=0, description="size that scores half of the size term")
    length_um: float = Field(50.0, gt=0, description="scratch length that scores half of the length term")
    contrast: float = Field(0.2, gt=0, description="relative contrast that scores half of the contrast term")
    class_weights: dict[str, float] = Field(
        default_factory=lambda: {"scratch": 0.9, "contamination": 0.7, "pit_chip": 1.0, "other": 0.8}
    )
    zone_weights: dict[str, float] = Field(
        default_factory=lambda: {"A": 1.0, "B": 0.75, "C": 0.4, "D": 0.5, "outside": 0.3}
    )
    medium_from: float = Field(30.0, ge=0, le=100)
    high_from: float = Field(60.0, ge=0, le=100)


class GradingSettings(_Section):
    """By which profile images are judged, and when a verdict is doubtful."""

    profile: str = Field("auto", description="'auto', the name of a profile, or the path of a YAML file")
    zone_crossing: Literal["innermost", "centroid", "every"] = Field(
        "innermost", description="zone that judges a defect touching several"
    )
    size_uncertainty_px: float = Field(0.5, ge=0, description="standard uncertainty of a size, in pixels")
    marginal_chance: float = Field(
        0.2, ge=0, le=0.5, description="MARGINAL from this chance that a limit is exceeded up to 1 minus it"
    )
    min_focus_score: float = Field(0.0, ge=0, le=1, description="below it the verdict is INDETERMINATE")


class QualitySettings(_Section):
    """When an image is flagged as unfit; flags do not change a verdict by themselves."""

    saturated_fraction: float = Field(0.02, gt=0, le=1, description="flag above this share of white pixels")
    dark_level: float = Field(0.06, ge=0, lt=1, description="flag below this mean, in units of white")
    min_focus_score: float = Field(0.25, ge=0, le=1, description="flag below it")
    max_um_per_px: float = Field(1.0, gt=0, description="flag coarser images: small defects cannot show")


class BatchSettings(_Section):
    """What the images of a run tell together."""

    optics_dirt: bool = Field(True, description="finds that stay in place over many images are no defects")
    check_pitch: bool = Field(True, description="flag a pixel pitch that disagrees with its scope's")
    correct_pitch: bool = Field(True, description="use the scope's pitch where another cladding explains it")
    same_face: bool = Field(True, description="find images that show the same face")


class OutputSettings(_Section):
    """Optional outputs besides those of the contract."""

    overlays: bool = True
    label_folders: bool = Field(False, description="Pass/ and Fail/ folders of images")
    combined_masks: bool = Field(False, description="zone-and-defect mask of eight codes")
    arrays: Literal["none", "npz", "hdf5"] = "none"
    csv_beside_parquet: bool = False


class Settings(_Section):
    """Everything that can be set."""

    surface: Literal["fiber", "plain"] = "fiber"
    seed: int = 0
    max_megapixels: float = Field(200.0, gt=0, description="larger images are refused")
    calibration: CalibrationSettings = CalibrationSettings()
    detection: DetectionSettings = DetectionSettings()
    features: FeatureSettings = FeatureSettings()
    clustering: ClusteringSettings = ClusteringSettings()
    severity: SeveritySettings = SeveritySettings()
    grading: GradingSettings = GradingSettings()
    quality: QualitySettings = QualitySettings()
    batch: BatchSettings = BatchSettings()
    output: OutputSettings = OutputSettings()


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and where each value came from.

    Attributes
    ----------
    origins : dict
        Dotted key of every value -> 'default', 'file NAME' or 'command line'.
    """

    settings: Settings
    origins: dict[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Yield (dotted key, value, origin) of every value."""
        values = flatten(self.settings.model_dump())
        for key, value in values.items():
            yield key, value, self.origins[key]


def load_settings(path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Resolved:
    """Resolve settings: defaults, then a YAML file, then overrides.

    Parameters
    ----------
    path : str or Path, optional
        YAML file with the sections of `Settings`; what it leaves out keeps its default.
    overrides : mapping, optional
        Dotted key -> value, as from the command line.

    Raises
    ------
    SettingsError
        If the file cannot be read, a key is unknown or a value does not fit.

    Examples
    --------
    >>> resolved = load_settings(overrides={"detection.epsilon": 0.01})
    >>> resolved.settings.detection.epsilon, resolved.origins["detection.epsilon"]
    (0.01, 'command line')
    """
    values = Settings().model_dump()
    origins = dict.fromkeys(flatten(values), "default")
    sources: list[tuple[str, dict[str, Any]]] = []
    if path is not None:
        sources.append((f"file {Path(path).name}", _read_yaml(Path(path))))
    if overrides:
        sources.append(("command line", _unflatten(overrides)))
    for origin, given in sources:
        _refuse_unknown(given, values, origin)
        _merge(values, given)
        for key in flatten(given):
            origins[key] = origin
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, origins) from None
    return Resolved(settings, {key: origins.get(key, "default") for key in flatten(settings.model_dump())})


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split 'key=value' of the command line; the value is read as YAML.

    Examples
    --------
    >>> parse_assignment("detection.epsilon=0.5")
    ('detection.epsilon', 0.5)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"expected KEY=VALUE, found {text!r}", hint="E.g. --set detection.epsilon=0.05")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        return key.strip(), value


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping by dotted key; an empty mapping is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def fingerprint(value: Any) -> str:
    """Return a short hash of plain values that is the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file", hint="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: cannot be read as text ({error})", hint="Expected a YAML file."
        ) from None
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise SettingsError(
            f"{path}: not valid YAML: {where}", hint="Check indentation and colons."
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path}: expected sections such as 'detection:', found {type(content).__name__}",
            hint="`endface config` prints a complete settings file.",
        )
    return content


def _unflatten(overrides: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for dotted, value in overrides.items():
        *sections, leaf = dotted.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return tree


def _refuse_unknown(
    given: Mapping[Any, Any], known: Mapping[Any, Any], origin: str, prefix: str = ""
) -> None:
    for key, value in given.items():
        dotted = f"{prefix}{key}"
        if dotted.startswith("clustering.names."):
            continue
        if key not in known:
            every = [*flatten(Settings().model_dump()), *Settings.model_fields]
            near = difflib.get_close_matches(dotted, every, n=1, cutoff=0.5)
            near = near or [name for name in every if name.split(".")[-1] == str(key).split(".")[-1]][:1]
            raise SettingsError(
                f"unknown setting {dotted!r} ({origin})",
                hint=f"Did you mean {near[0]!r}?" if near else "`endface config` lists all settings.",
            )
        expected = known[key]
        if isinstance(expected, Mapping):
            if not isinstance(value, Mapping):
                raise SettingsError(
                    f"{dotted} ({origin}): expected a section, found {value!r}",
                    hint="Indent its settings below it.",
                )
            _refuse_unknown(value, expected, origin, f"{dotted}.")


def _merge(values: dict[Any, Any], given: Mapping[Any, Any]) -> None:
    for key, value in given.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    lines = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"]))
        lines.append(f"{key} ({origins.get(key, 'settings')}): {problem['msg']}, found {problem['input']!r}")
    return SettingsError("; ".join(lines), hint="`endface config` prints all settings with their values.")

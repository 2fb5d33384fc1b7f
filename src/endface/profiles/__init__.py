"""Grading profiles: what a standard or a house rule allows, read from one YAML file per standard.

Knows the files, their inheritance and their validation. How a table of defects is judged by a profile is in
`grading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from endface.errors import SettingsError
from endface.profiles._model import AltValue, Profile, ProfileEntry, ProfileFile, Provenance, Rule, ZoneRules

__all__ = [
    "AltValue",
    "Profile",
    "Provenance",
    "Rule",
    "ZoneRules",
    "choose_profile",
    "load_profile",
    "profile_names",
]

MULTIMODE_CORE_UM = 20.0
"""Core diameter from which `choose_profile` takes the multimode table."""

_ENTRY_ONLY = ("base", "zones", "rules")
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def profile_names() -> tuple[str, ...]:
    """Return the names of the packaged profiles, sorted.

    Examples
    --------
    >>> {"mm_pc", "sm_apc", "sm_upc"} <= set(profile_names())
    True
    """
    return tuple(sorted(_packaged()))


def choose_profile(core_diameter_um: float | None) -> str:
    """Return the profile that suits a fibre: 'mm_pc' where the core is 20 um or more across, else 'sm_upc'.

    Parameters
    ----------
    core_diameter_um : float or None
        Measured core diameter in um; None where the core or the pixel pitch is unknown.

    Examples
    --------
    >>> choose_profile(50.0), choose_profile(9.0), choose_profile(None)
    ('mm_pc', 'sm_upc', 'sm_upc')
    """
    return "mm_pc" if core_diameter_um is not None and core_diameter_um >= MULTIMODE_CORE_UM else "sm_upc"


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a packaged profile by name, or a user's profile by the path of its YAML file.

    Parameters
    ----------
    name_or_path : str or Path
        'sm_upc', or 'rules.yaml' (a file of one profile), or 'rules.yaml#name' (one profile of several).
        A profile of a user's file may be based on a packaged one (`base: sm_upc`).

    Raises
    ------
    SettingsError
        If there is no such profile or file, or the file breaks the rules of the format.

    Examples
    --------
    >>> load_profile("sm_upc").zone_diameters_um["B"]
    (25.0, 115.0)
    """
    text = str(name_or_path)
    if text in _packaged():
        return _packaged()[text]
    location, _, wanted = text.partition("#")
    path = Path(location)
    if not wanted and path.suffix.lower() not in {".yaml", ".yml"} and not path.is_file():
        raise SettingsError(
            f"profile: expected one of {', '.join(profile_names())} or the path of a YAML file, "
            f"found {text!r}",
            hint="`endface profiles` lists the profiles.",
        )
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"profile file {path} cannot be read: {error}", hint="Give the path of a YAML file in UTF-8."
        ) from error
    return _pick(_user_profiles(source, str(path)), wanted, origin=str(path))


@lru_cache(maxsize=16)
def _user_profiles(source: str, origin: str) -> Mapping[str, Profile]:
    """Return the profiles of a user's file; kept by its text, since every image of a run asks."""
    return _resolve_file(source, origin=origin, known=_packaged())


def _pick(profiles: Mapping[str, Profile], wanted: str, *, origin: str) -> Profile:
    if wanted in profiles:
        return profiles[wanted]
    if not wanted and len(profiles) == 1:
        return next(iter(profiles.values()))
    names = ", ".join(profiles)
    found = f"no profile {wanted!r}" if wanted else f"{len(profiles)} profiles"
    raise SettingsError(
        f"profile file {origin}: expected one of {names}, found {found}",
        hint=f"Name one of them: {origin}#{next(iter(profiles))}",
    )


@cache
def _packaged() -> Mapping[str, Profile]:
    """Return all packaged profiles by name."""
    files = sorted(
        (f for f in resources.files("endface.profiles").iterdir() if f.name.endswith(".yaml")),
        # edition 2 first: the others are based on it
        key=lambda f: (f.name != "iec_61300_3_35_2015.yaml", f.name),
    )
    known: dict[str, Profile] = {}
    for file in files:
        known |= _resolve_file(file.read_text(encoding="utf-8"), origin=file.name, known=known)
    return known


def _resolve_file(source: str, *, origin: str, known: Mapping[str, Profile]) -> dict[str, Profile]:
    """Return the profiles of one YAML text, each based on `known` ones or on others of the same text."""
    try:
        raw = yaml.load(source, Loader=_YAML_LOADER)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise SettingsError(f"profile file {origin} is not YAML: {where}", hint="Mend that line.") from error
    try:
        content = ProfileFile.model_validate(raw)
    except ValidationError as error:
        raise _settings_error(error, where=f"profile file {origin}") from error
    done: dict[str, Profile] = {}
    for name in content.profiles:
        _resolve_entry(name, content, done, known, origin=origin, chain=())
    return {name: done[name] for name in content.profiles}


def _resolve_entry(
    name: str,
    content: ProfileFile,
    done: dict[str, Profile],
    known: Mapping[str, Profile],
    *,
    origin: str,
    chain: tuple[str, ...],
) -> Profile:
    """Return the profile `name` of a file, after the one of the same file it is based on; kept in `done`."""
    where = f"profile file {origin}, profile {name}"
    if name in chain:
        raise SettingsError(
            f"{where}: its base leads back to itself: {' -> '.join((*chain, name))}",
            hint="Let `base` name another profile.",
        )
    if name in done:
        return done[name]
    entry = content.profiles[name]
    base: Profile | None = None
    if entry.base is not None and entry.base in content.profiles:
        base = _resolve_entry(entry.base, content, done, known, origin=origin, chain=(*chain, name))
    elif entry.base is not None:
        base = known.get(entry.base)
        if base is None:
            raise SettingsError(
                f"{where}: expected `base` to be one of {', '.join(sorted({*known, *content.profiles}))}, "
                f"found {entry.base!r}",
                hint="`endface profiles` lists the packaged profiles.",
            )
    try:
        done[name] = Profile.model_validate(_merged(name, entry, base, content, where=where))
    except ValidationError as error:
        raise _settings_error(error, where=where) from error
    return done[name]


def _merged(
    name: str, entry: ProfileEntry, base: Profile | None, content: ProfileFile, *, where: str
) -> dict[str, Any]:
    """Return the fields of a profile: those of its base, then what the entry changes."""
    fields: dict[str, Any] = {key: getattr(base, key) for key in Profile.model_fields} if base else {}
    zones = _zones(entry.zones, content, where=where)
    if zones is not None:
        fields["zone_diameters_um"] = zones
    if base is not None:
        # rules of the base for zones that the new geometry lacks fall away, and so do other readings of
        # lists that are replaced; where changed numbers come from, the base cannot know
        kept = {z: r for z, r in base.rules.items() if zones is None or z in zones}
        fields["rules"] = {**kept, **entry.rules}
        fields["alt_values"] = [a for a in base.alt_values if a.zone in kept and a.zone not in entry.rules]
        fields["provenance"] = Provenance()
        if base.graded_zones is not None:
            fields["graded_zones"] = tuple(z for z in base.graded_zones if z in fields["rules"])
    else:
        fields["rules"] = entry.rules
    return {
        **fields,
        **{key: getattr(entry, key) for key in entry.model_fields_set if key not in _ENTRY_ONLY},
        "name": name,
        "standard": content.standard,
        "standard_title": content.title,
        "status": content.status,
        "sources": {**(base.sources if base else {}), **content.sources},
    }


def _zones(
    zones: str | Mapping[str, tuple[float, float]] | None, content: ProfileFile, *, where: str
) -> Mapping[str, tuple[float, float]] | None:
    """Return the diameters an entry names or gives, None where it gives none."""
    if not isinstance(zones, str):
        return zones
    if zones not in content.geometries:
        raise SettingsError(
            f"{where}: expected `zones` to be one of the geometries "
            f"{', '.join(content.geometries) or '(none given)'}, found {zones!r}",
            hint="Give diameters such as {A: [0, 25], B: [25, 115]} or a name under `geometries`.",
        )
    return content.geometries[zones]


def _settings_error(error: ValidationError, *, where: str) -> SettingsError:
    """Return a SettingsError that names every wrong key and what is wrong with it."""
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "file"
        message = item["msg"].removeprefix("Value error, ")
        lines.append("unknown key " + key if item["type"] == "extra_forbidden" else f"{key}: {message}")
    return SettingsError(
        f"{where}: " + "; ".join(lines), hint="docs/grading.md shows the format of a profile file."
    )

"""Packaged profiles hold what the sources say; user profiles are checked before they are used."""

import pytest

from endface.errors import SettingsError
from endface.profiles import Rule, choose_profile, load_profile, profile_names

ED2_SM = {"A": (0, 25), "B": (25, 115), "C": (115, 135), "D": (135, 250)}
GOOD = """
profiles:
  mine:
    zones: {A: [0, 20], B: [20, 100]}
    rules:
      A: {defects: [{gt: 0, max: 0}]}
      B: {defects: [{le: 1, max: null}, {gt: 1, le: 2, max: 9}, {gt: 2, le: 3, max: 4}, {gt: 3, max: 0}]}
"""


def from_text(tmp_path, text, name="rules.yaml", pick=""):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_profile(f"{path}{pick}")


def test_every_promised_profile_is_there():
    base = {"sm_upc", "sm_apc", "sm_pc_26", "mm_pc"}
    later = {f"{name}_2022" for name in ("sm_upc", "sm_apc", "mm_pc")}
    house = {"dscope_custom_4um", "surfiber_plc", "fibrepulse"}
    arrays = {"mpo_sm_upc", "mpo_sm_apc", "mpo_mm"}
    assert base | later | {f"{n}_2009" for n in base} | house | arrays <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_says_where_it_comes_from(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.provenance.verify != "own"
    assert 0 < profile.provenance.confidence < 1
    assert set(profile.provenance.sources) <= set(profile.sources)
    for other in profile.alt_values:
        assert set(other.sources) <= set(profile.sources)
        assert other.zone in profile.rules


def test_zone_diameters_of_the_editions():
    assert load_profile("sm_upc").zone_diameters_um == ED2_SM
    assert load_profile("mm_pc").zone_diameters_um["A"] == (0, 65)
    assert load_profile("sm_apc_2009").zone_diameters_um == {
        "A": (0, 25),
        "B": (25, 120),
        "C": (120, 130),
        "D": (130, 250),
    }
    assert load_profile("sm_upc_2022").zone_diameters_um["B"] == (25, 110)


def test_provisional_mark():
    assert load_profile("sm_upc_2022").status == "provisional"
    assert all(load_profile(n).provisional for n in profile_names() if n.endswith(("_2022", "_2009")))
    assert load_profile("sm_pc_26").provisional
    assert not load_profile("sm_upc").provisional


def test_editions_inherit_limits():
    assert load_profile("sm_upc_2022").rules["B"] == load_profile("sm_upc").rules["B"]
    assert [zone for zone, _ in load_profile("mpo_sm_upc").judged] == ["A", "B"]
    assert [zone for zone, _ in load_profile("sm_upc_2022").judged] == ["A", "B", "D"]
    assert load_profile("mm_pc_2009").rules["A"].scratches[0].le == 5


def test_choice_by_core():
    assert [choose_profile(um) for um in (None, 8.2, 19.99, 20.0, 62.5)] == ["sm_upc"] * 3 + ["mm_pc"] * 2


def test_user_profile_with_any_number_of_bins(tmp_path):
    profile = from_text(tmp_path, GOOD)
    assert profile.name == "mine"
    assert len(profile.rules["B"].defects) == 4
    assert profile.smallest_limit_um == 1
    assert profile.zone_diameters_um == {"A": (0, 20), "B": (20, 100)}


def test_user_profile_based_on_a_packaged_one(tmp_path):
    text = """
        profiles:
          strict: {base: sm_upc, rules: {D: {defects: [{ge: 10, max: 0}]}}}
          wide: {base: strict, zones: {A: [0, 30], B: [30, 110]}}
        """
    strict, wide = (from_text(tmp_path, text, pick=f"#{name}") for name in ("strict", "wide"))
    assert strict.rules["B"] == load_profile("sm_upc").rules["B"]
    assert strict.rules["D"].defects[0].ge == 10
    # numbers that a user changed are not vouched for by the sources of the base
    assert strict.provenance.verify == "own"
    assert strict.alt_values == ()
    assert set(wide.rules) == {"A", "B"}


def test_plain_profile(tmp_path):
    text = "profiles: {glass: {surface: plain, rules: {surface: {scratches: [{gt: 5, max: 0}]}}}}"
    profile = from_text(tmp_path, text)
    assert profile.zone_diameters_um == {}
    assert [zone for zone, _ in profile.judged] == ["surface"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("A: [0, 20]", "A: [0, 25]", "zones do not nest: B begins at 20 um, but A ends at 25 um"),
        ("A: [0, 20]", "A: [20, 0]", "inner < outer"),
        ("A: [0, 20]", "Q: [0, 20]", "found Q"),
        ("gt: 1, le: 2", "gt: 0.5, le: 2", "B.*defects: bins overlap"),
        ("{gt: 1, le: 2, max: 9}", "{gt: 2, le: 1, max: 9}", "holds no size"),
        ("{gt: 1, le: 2, max: 9}", "{gt: 1, ge: 1, max: 9}", "both gt and ge"),
        ("max: 9", "max: -1", "greater than or equal to 0"),
        ("max: 9", "max: many", "integer"),
        (", max: 9", "", r"defects\.1\.max: Field required"),
        ("max: 9", "maximum: 9", r"unknown key profiles\.mine\.rules\.B\.defects\.1\.maximum"),
        ("B: {defects", "C: {defects", "zone 'C' is not one of A, B"),
        ("zones: {A", "base: nowhere\n    zones: {A", "found 'nowhere'"),
        ("zones: {A: [0, 20], B: [20, 100]}", "base: mine", "leads back to itself: mine -> mine"),
        ("zones: {A: [0, 20], B: [20, 100]}", "zones: single", "found 'single'"),
        ("zones: {A: [0, 20], B: [20, 100]}", "title: none", "found none"),
        ("profiles:", "profiles: [", "is not YAML"),
        ("profiles:", "limits:", "unknown key limits"),
    ],
)
def test_wrong_files_are_refused_in_words(tmp_path, old, new, said):
    assert old in GOOD
    with pytest.raises(SettingsError, match=said) as caught:
        from_text(tmp_path, GOOD.replace(old, new))
    assert "rules.yaml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "just words", "profiles: {}", "profiles: {x: null}"])
def test_files_that_hold_no_profile(tmp_path, text):
    with pytest.raises(SettingsError):
        from_text(tmp_path, text)


def test_unknown_names_and_paths(tmp_path):
    with pytest.raises(SettingsError, match=r"expected one of .*sm_upc.*found 'sm_ucp'"):
        load_profile("sm_ucp")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_profile(tmp_path / "missing.yaml")
    two = GOOD + "  other: {base: sm_upc}\n"
    with pytest.raises(SettingsError, match="expected one of mine, other, found 2 profiles"):
        from_text(tmp_path, two)
    with pytest.raises(SettingsError, match="no profile 'third'"):
        from_text(tmp_path, two, pick="#third")
    assert from_text(tmp_path, two, pick="#other").name == "other"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(gt=0, limit=0), "of any size"),
        (Rule(limit=0), "of any size"),
        (Rule(lt=2, limit=None), "under 2 um"),
        (Rule(ge=2, le=5, limit=5), "of 2 to 5 um"),
        (Rule(gt=2, le=3, limit=3), "over 2 and up to 3 um"),
        (Rule(gt=5, limit=0), "over 5 um"),
        (Rule(ge=2.5, limit=0), "of 2.5 um or more"),
    ],
)
def test_rules_in_words(rule, words):
    assert rule.words("defects") == words

"""Verdicts follow the rules of the profile, their laws and what uncertainty leaves open."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endface.annotation import Decision
from endface.crossings import crossing_scratches
from endface.errors import FormatError
from endface.grading import grade, load_profile, score_severity
from endface.profiles import Profile, Rule
from endface.profiles._counting import Sizes, tally_bins

PASS, FAIL = Decision.PASS, Decision.FAIL
MARGINAL, INDETERMINATE = Decision.MARGINAL, Decision.INDETERMINATE
SEVERITY = {PASS: 0, MARGINAL: 1, FAIL: 2}

# boundary vectors of edition 2: profile, zone, kind, um, count, expected
VECTORS = [
    ("sm_upc", "A", "scratch", 0.5, 0, PASS),
    ("sm_upc", "A", "scratch", 0.5, 1, FAIL),
    ("sm_apc", "A", "scratch", 2.9, 4, PASS),
    ("sm_apc", "A", "scratch", 2.9, 5, FAIL),
    ("sm_apc", "B", "scratch", 9.0, 1, PASS),
    ("sm_upc", "B", "scratch", 3.0, 50, PASS),
    ("sm_upc", "B", "scratch", 3.1, 1, FAIL),
    ("sm_upc", "B", "defect", 1.9, 500, PASS),
    ("sm_upc", "B", "defect", 2.0, 5, PASS),
    ("sm_upc", "B", "defect", 2.0, 6, FAIL),
    ("sm_upc", "B", "defect", 5.1, 1, FAIL),
    ("sm_upc", "C", "defect", 40.0, 1, PASS),
    ("sm_upc", "D", "scratch", 20.0, 30, PASS),
    ("sm_upc", "D", "defect", 9.9, 99, PASS),
    ("sm_upc", "D", "defect", 10.1, 1, FAIL),
    ("mm_pc", "A", "defect", 5.0, 4, PASS),
    ("mm_pc", "A", "defect", 1.0, 5, FAIL),
    ("mm_pc", "D", "defect", 25.0, 5, PASS),
    ("mm_pc", "D", "defect", 30.1, 1, FAIL),
]


def table(*rows):
    """Return a defect table from (zone, type, um): scratches get a width, all others a diameter."""
    types = {"defect": "pit_chip"}
    return pl.DataFrame(
        [
            {
                "type": types.get(kind, kind),
                "iec_zone": zone,
                "iec_zone_centroid": zone,
                "iec_zones": zone,
                "width_um": um if kind == "scratch" else 0.01,
                "diameter_um": 1e6 if kind == "scratch" else um,
            }
            for zone, kind, um in rows
        ],
        schema={
            "type": pl.String,
            "iec_zone": pl.String,
            "iec_zone_centroid": pl.String,
            "iec_zones": pl.String,
            "width_um": pl.Float64,
            "diameter_um": pl.Float64,
        },
    )


def judge(rows, profile="sm_upc", **changes):
    keywords = {"found": True, "um_per_px": (0.4, 0.4), "size_uncertainty_px": 0.0} | changes
    given_profile = profile if isinstance(profile, Profile) else load_profile(profile)
    return grade(rows if isinstance(rows, pl.DataFrame) else table(*rows), given_profile, **keywords)


@pytest.mark.parametrize(("profile", "zone", "kind", "um", "n", "expected"), VECTORS)
def test_boundary_vectors(profile, zone, kind, um, n, expected):
    assert judge([(zone, kind, um)] * n, profile).decision == expected


@pytest.mark.parametrize("name", ["sm_upc"])
def test_other_readings_differ_only_where_they_say(name):
    profile = load_profile(name)
    (other,) = profile.alt_values
    for um in (9.9, 10.0, 10.1):
        sizes, sure = Sizes(np.array([um]), np.zeros(1), np.zeros(1)), np.ones(1)
        taken, read = (
            tally_bins(rules, sizes, sure, sure > 0)[0].chance
            for rules in (profile.rules["D"].defects, other.rules)
        )
        assert (taken == read) == (um != 10.0)


@given(um=st.floats(0.5, 200), relative=st.floats(0.01, 0.4), ratio=st.floats(0.2, 5))
def test_an_error_that_is_a_share_of_the_size_is_alike_either_way(um, relative, ratio):
    def below(size, at):
        bins = (Rule(lt=at, limit=0), Rule(ge=at, limit=None))
        one = np.ones(1)
        return tally_bins(bins, Sizes(size * one, 0 * one, relative * one), one, one > 0)[0].chance

    assert below(um, ratio * um) + below(um, um / ratio) == pytest.approx(1)
    assert below(um, ratio * um) == pytest.approx(below(2 * um, 2 * ratio * um))


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_reasons_name_zone_counts_and_limits():
    verdict = judge([("B", "defect", 3.0)] * 6)
    assert verdict.reason == "zone B: 6 defects of 2 to 5 um, 5 allowed"
    verdict = judge([("A", "scratch", 1.2), ("B", "defect", 7.0), ("D", "defect", 3.0)])
    assert verdict.reason == (
        "zone A: 1 scratch of any width (largest 1.2 um), none allowed; "
        "zone B: 1 defect over 5 um (largest 7 um), none allowed"
    )
    assert dict(verdict.zones) == {"A": FAIL, "B": FAIL, "C": PASS, "D": PASS}
    failed = [outcome for outcome in verdict.outcomes if outcome.decision == FAIL]
    assert [(o.zone, o.kind, o.count, o.limit) for o in failed] == [
        ("A", "scratches", 1, 0),
        ("B", "defects", 1, 0),
    ]


def test_pass_and_marginal_are_explained():
    assert judge([]).reason == "within all limits of sm_upc"
    some = judge([("B", "defect", 3.0)] * 2)
    assert some.reason == "within all limits of sm_upc; zone B: 2 defects of 2 to 5 um, 5 allowed"
    # 0.05 um below the limit, a quarter of the standard uncertainty
    close = judge([("B", "defect", 4.97)], size_uncertainty_px=0.5)
    assert close.decision == MARGINAL
    assert close.reason == (
        "zone B: 0 defects over 5 um, none allowed, exceeded with a chance of 45 %"
        ": sizes, classes and borders are not sure"
    )
    over = judge([("B", "defect", 5.3)], size_uncertainty_px=0.5)
    assert over.decision == FAIL
    assert over.reason == (
        "zone B: 1 defect over 5 um (largest 5.3 um), none allowed, exceeded with a chance of 86 %"
    )
    assert over.fail_chance == pytest.approx(0.86, abs=0.01)


def test_limits_that_are_each_nearly_exceeded_are_so_together():
    near = [("B", "defect", 4.74), ("B", "scratch", 2.74)]
    assert [judge([thing], size_uncertainty_px=0.5).decision for thing in near] == [PASS, PASS]
    both = judge(near, size_uncertainty_px=0.5)
    assert (both.decision, dict(both.zones)["B"], dict(both.zones)["D"]) == (MARGINAL, MARGINAL, PASS)
    assert both.fail_chance == pytest.approx(1 - math.prod(1 - o.chance for o in both.outcomes))
    assert both.reason == (
        "zone B: 0 scratches over 3 um wide, none allowed, exceeded with a chance of 16 %"
        ": sizes, classes and borders are not sure; "
        "zone B: 0 defects over 5 um, none allowed, exceeded with a chance of 16 %"
        ": sizes, classes and borders are not sure; "
        "one or more of all limits exceeded with a chance of 30 %"
    )


# ── uncertainty ─────────────────────────────────────────────────────────────────────────────────────────────


def test_none_in_zone_a_is_certain_whatever_the_size():
    assert judge([("A", "defect", 0.05)], size_uncertainty_px=1.0).decision == FAIL
    assert judge([("A", "scratch", 0.05)], size_uncertainty_px=1.0).decision == FAIL


def test_tiny_defects_are_not_marginal():
    assert judge([("B", "defect", 0.3)] * 40, size_uncertainty_px=0.5).decision == PASS
    assert judge([("D", "defect", 1.0)] * 40, size_uncertainty_px=0.5).decision == PASS


def test_uncertainty_is_that_of_the_coarser_axis():
    fine, coarse = (
        judge([("B", "defect", 4.7)], um_per_px=(0.2, pitch), size_uncertainty_px=0.5).fail_chance
        for pitch in (0.3, 0.6)
    )
    assert (round(fine, 3), round(coarse, 3)) == (0.092, 0.211)


def test_what_hardly_reaches_over_a_border_is_in_either_zone():
    # 10 um of it are too much in zone B, and allowed beyond it
    chances = []
    for um in (56.5, 57.4, 57.5, 57.6, 58.5):
        rows = table(("B" if um < 57.5 else "C", "defect", 20.0)).with_columns(inner_distance_um=pl.lit(um))
        chances.append(judge(rows, size_uncertainty_px=0.5).fail_chance)
        assert judge(rows).fail_chance == float(um < 57.5)  # without uncertainty: as measured
    assert chances == sorted(chances, reverse=True)
    assert chances[2] == pytest.approx(0.5, abs=1e-3)
    assert (chances[0] > 0.98, chances[-1] < 0.02) == (True, True)
    rows = table(("B", "defect", 20.0)).with_columns(inner_distance_um=pl.lit(57.4))
    assert judge(rows, size_uncertainty_px=0.5, zone_crossing="every").decision == FAIL


def test_the_width_of_a_faint_scratch_is_as_uncertain_as_the_table_says():
    rows = table(("B", "scratch", 3.6)).with_columns(width_sd_um=pl.lit(0.2))
    assert judge(rows).fail_chance == pytest.approx(0.952, abs=1e-3)
    assert judge(rows.with_columns(width_sd_um=pl.lit(1.2))).fail_chance == pytest.approx(0.67, abs=0.01)
    # it says nothing of other defects
    patch = table(("B", "defect", 4.6)).with_columns(diameter_sd_um=pl.lit(1.0))
    assert judge(patch).fail_chance > 0.3 > judge(table(("B", "defect", 4.6))).fail_chance
    spot = table(("B", "defect", 5.5)).with_columns(width_sd_um=pl.lit(9.0))
    assert judge(spot).fail_chance == 1.0


def test_a_line_that_nobody_sees_does_not_fail_an_image_alone():
    chances = [
        judge(table(("B", "scratch", 9.0)).with_columns(line_snr=pl.lit(snr))).fail_chance
        for snr in (0.1, 0.8, 1.6, 3.2, 20.0, 0.0)
    ]
    assert chances == pytest.approx([0.3, 0.34, 0.65, 0.96, 1.0, 1.0], abs=0.01)


def test_neither_does_a_patch_below_the_noise():
    patch = table(("B", "defect", 20.0))
    chances = [judge(patch.with_columns(snr=pl.lit(snr))).fail_chance for snr in (0.1, 0.5, 1.0, 2.0, 9.0)]
    assert chances == pytest.approx([0.0, 0.06, 0.5, 0.94, 1.0], abs=0.01)
    # the crest of a line tells, not what its outline holds
    line = table(("B", "scratch", 9.0)).with_columns(snr=pl.lit(0.1), line_snr=pl.lit(9.0))
    assert judge(line).fail_chance == pytest.approx(1.0, abs=0.01)


def test_a_find_that_may_be_nothing_cannot_fail_an_image_alone():
    rows = table(*[("B", "defect", 3.0)] * 6)
    assert judge(rows.with_columns(confidence=pl.lit(1.0))).decision == FAIL
    faint = rows.with_columns(confidence=pl.Series([0.95, 1.0, 1.0, 1.0, 1.0, 1.0]))
    assert judge(faint).decision == PASS
    assert judge(pl.concat([faint, faint[1:2]])).decision == FAIL
    even = judge(faint.with_columns(confidence=pl.Series([0.99, 1.0, 1.0, 1.0, 1.0, 1.0])))
    assert even.fail_chance == pytest.approx(0.5)


def test_neither_can_a_crossed_scratch():
    rows = table(("B", "scratch", 1.0), ("B", "scratch", 1.0)).with_columns(
        centroid_x_px=pl.lit(50.0),
        centroid_y_px=pl.lit(50.0),
        length_um=pl.lit(20.0),
        orientation_deg=pl.Series([0.0, 90.0]),
    )
    strict = Profile(
        name="x",
        zone_diameters_um={"B": (0, 115)},
        rules={"B": {"scratches": [{"gt": 3, "max": 0}]}},
        crossed_scratches_fail=True,
    )
    assert judge(rows.with_columns(confidence=pl.lit(1.0)), strict).decision == FAIL
    assert judge(rows.with_columns(confidence=pl.lit(0.95)), strict).decision == PASS


def test_a_class_that_is_not_sure_counts_by_its_chance():
    # 30 um long and 1 um wide: harmless as a scratch, too large as dirt
    lint = table(("B", "contamination", 30.0)).with_columns(width_um=pl.lit(1.0))
    sure = lint.with_columns(scratch_chance=pl.lit(0.1), contamination_chance=pl.lit(0.8))
    assert judge(sure).fail_chance == pytest.approx(0.9)
    scratch = sure.with_columns(type=pl.lit("scratch"), scratch_chance=pl.lit(0.55))
    verdict = judge(scratch)
    assert (verdict.decision, round(verdict.fail_chance, 2)) == (MARGINAL, 0.45)
    assert judge(scratch, marginal_chance=0.5).decision == PASS
    assert judge(scratch, marginal_chance=0.46).decision == PASS
    assert verdict.reason == (
        "zone B: 0 defects over 5 um, none allowed, exceeded with a chance of 45 %"
        ": sizes, classes and borders are not sure"
    )
    # dirt that has a list of its own
    strict = judge(sure, "fibrepulse", um_per_px=(0.3, 0.3))
    assert {o.kind: round(o.chance, 2) for o in strict.outcomes if o.zone == "B" and o.chance > 0.05} == {
        "scratches": 0.1,
        "defects": 0.1,
        "contamination": 0.8,
    }


@given(st.integers(1, 300), st.sampled_from([0.05, 0.3]))
def test_many_doubtful_things_are_no_sure_one(n, chance):
    rows = table(*[("B", "defect", 8.0)] * n).with_columns(scratch_chance=pl.lit(1.0 - chance))
    assert judge(rows).fail_chance == pytest.approx(chance)


# ── laws ────────────────────────────────────────────────────────────────────────────────────────────────────

LAWFUL = ["sm_upc", "sm_apc", "sm_pc_26", "mm_pc", "sm_upc_2022", "mm_pc_2009", "fibrepulse"]
THING = st.tuples(
    st.sampled_from(["A", "B", "C", "D", "outside"]),
    st.sampled_from(["scratch", "contamination", "pit_chip", "other"]),
    st.sampled_from([0.1, 0.9, 1.0, 1.9, 2.0, 2.1, 3.0, 3.1, 4.9, 5.0, 5.1, 9.9, 10.0, 10.2, 20.0, 31.0]),
)
THINGS = st.lists(THING, max_size=9)


@settings(max_examples=60, deadline=None)
@given(THINGS, THING, st.sampled_from(LAWFUL), st.sampled_from([0.0, 0.5, 2.0]))
def test_adding_a_defect_never_improves_the_verdict(rows, extra, profile, u):
    before = judge(rows, profile, size_uncertainty_px=u).decision
    after = judge([*rows, extra], profile, size_uncertainty_px=u).decision
    assert SEVERITY[after] >= SEVERITY[before]


@settings(max_examples=60, deadline=None)
@given(THINGS.filter(bool), st.floats(0, 20), st.sampled_from(LAWFUL), st.sampled_from([0.0, 0.5]))
def test_growing_a_defect_never_improves_the_verdict(rows, growth, profile, u):
    zone, kind, um = rows[0]
    before = judge(rows, profile, size_uncertainty_px=u).decision
    after = judge([(zone, kind, um + growth), *rows[1:]], profile, size_uncertainty_px=u).decision
    assert SEVERITY[after] >= SEVERITY[before]


@settings(max_examples=60, deadline=None)
@given(THINGS, st.sampled_from(LAWFUL))
def test_what_is_sure_is_never_marginal(rows, profile):
    verdict = judge(rows, profile)
    assert verdict.decision in (PASS, FAIL)
    assert verdict.fail_chance in (0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(THINGS, st.sampled_from(LAWFUL), st.floats(0.1, 2), st.floats(-1e-3, 1e-3))
def test_what_changes_little_changes_the_chance_little(rows, profile, u, change):
    moved = [(zone, kind, um + change) for zone, kind, um in rows]
    first, second = (judge(some, profile, size_uncertainty_px=u).fail_chance for some in (rows, moved))
    assert abs(first - second) < 0.02


@settings(max_examples=40, deadline=None)
@given(THINGS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_order_does_not_matter(both):
    first, second = (judge(rows, size_uncertainty_px=0.5) for rows in both)
    assert first == second


# ── what cannot be judged ───────────────────────────────────────────────────────────────────────────────────


def test_no_fibre():
    verdict = judge([("A", "defect", 9.0)], found=False, not_found_reason="the rim is cut off")
    assert verdict.decision == INDETERMINATE
    assert verdict.reason == "no fibre found: the rim is cut off"
    assert set(dict(verdict.zones).values()) == {INDETERMINATE}


def test_unknown_pitch():
    clean = judge([], um_per_px=None)
    assert (clean.decision, clean.reason[:19]) == (INDETERMINATE, "pixel pitch unknown")
    assert judge([("B", "defect", None)] * 9, um_per_px=None).decision == INDETERMINATE
    # none is allowed there, of whatever size
    assert judge([("A", "defect", None)], um_per_px=None).decision == FAIL


def test_unknown_size_leaves_the_verdict_open():
    verdict = judge([("B", "defect", None)])
    assert (verdict.decision, verdict.reason) == (INDETERMINATE, "1 defect of unknown size")
    assert judge([("B", "defect", math.nan)]).decision == INDETERMINATE
    assert judge([("outside", "defect", None)]).decision == PASS
    many = judge([("A", "defect", None)] * 5, "mm_pc")
    assert many.decision == FAIL
    assert "5 defects up to 5 um, 4 allowed" in many.reason


def test_too_coarse_for_the_smallest_limit():
    assert judge([], um_per_px=(1.0, 1.0)).decision == PASS
    coarse = judge([], um_per_px=(0.5, 1.01))
    assert coarse.decision == INDETERMINATE
    assert coarse.reason == "too coarse: 1.01 um per pixel, at most 1 needed to tell 2 um"
    assert judge([], "mm_pc", um_per_px=(1.2, 1.2)).decision == PASS
    assert judge([], "fibrepulse", um_per_px=(0.6, 0.6)).decision == INDETERMINATE


def test_out_of_focus():
    blur = {"focus_score": 0.1, "min_focus_score": 0.3}
    assert judge([], **blur).decision == INDETERMINATE
    assert "focus score 0.10" in judge([], **blur).reason
    assert judge([], focus_score=0.3, min_focus_score=0.3).decision == PASS
    unseen = judge([], wholly_seen=False)
    assert (unseen.decision, unseen.reason) == (INDETERMINATE, "part of the fibre lies beyond the picture")
    assert judge([("A", "defect", 9.0)], wholly_seen=False).decision == FAIL
    # blur widens: what is just over the limit may be under it
    assert judge([("B", "defect", 6.0)], **blur).decision == INDETERMINATE
    assert judge([("B", "defect", 60.0)], **blur).decision == FAIL


def test_certain_fail_beats_doubt_and_leaves_other_zones_open():
    verdict = judge([("A", "defect", 4.0), ("B", "defect", 3.0)], um_per_px=(1.5, 1.5))
    assert verdict.decision == FAIL
    assert dict(verdict.zones) == {"A": FAIL, "B": INDETERMINATE, "C": INDETERMINATE, "D": INDETERMINATE}


def test_plain_surface():
    rows = table(("outside", "scratch", 6.0))
    verdict = judge(rows, surface="plain", found=False)
    assert verdict.decision == INDETERMINATE
    assert "plain surface" in verdict.reason
    glass = Profile(name="glass", surface="plain", rules={"surface": {"scratches": [{"gt": 5, "max": 0}]}})
    assert judge(rows, glass, surface="plain", found=False).decision == FAIL
    assert judge([], glass, surface="plain", found=False).decision == PASS


# ── zones and kinds ─────────────────────────────────────────────────────────────────────────────────────────


def test_zone_crossing():
    rows = table(("D", "defect", 15.0)).with_columns(
        iec_zone=pl.lit("C"), iec_zone_centroid=pl.lit("D"), iec_zones=pl.lit("C;D")
    )
    assert judge(rows).decision == PASS
    assert judge(rows, zone_crossing="centroid").decision == FAIL
    assert judge(rows, zone_crossing="every").decision == FAIL


def test_contamination_counts_as_a_defect_unless_it_has_a_list():
    assert judge([("B", "contamination", 6.0)]).decision == FAIL
    assert judge([("B", "contamination", 1.0)]).decision == PASS
    dirty = judge([("B", "contamination", 1.0)], "fibrepulse", um_per_px=(0.3, 0.3))
    assert dirty.decision == FAIL
    assert "1 speck of contamination of any size (largest 1 um), none allowed" in dirty.reason
    assert judge([("B", "pit_chip", 1.0)], "fibrepulse", um_per_px=(0.3, 0.3)).decision == PASS
    # edition 3 looks at the contact area for debris alone
    assert judge([("D", "contamination", 12.0)], "sm_upc_2022").decision == FAIL
    assert judge([("D", "pit_chip", 12.0)], "sm_upc_2022").decision == PASS


def test_array_profiles_grade_two_zones():
    verdict = judge([("D", "defect", 99.0)], "mpo_sm_upc")
    assert verdict.decision == PASS
    assert [zone for zone, _ in verdict.zones] == ["A", "B"]


def test_dark_scratches_fail():
    rows = table(("C", "scratch", 1.0), ("C", "pit_chip", 1.0)).with_columns(polarity=pl.Series([1, -1]))
    assert judge(rows, "surfiber_plc").decision == PASS
    dark = judge(rows.with_columns(polarity=pl.Series([-1, -1])), "surfiber_plc")
    assert dark.decision == FAIL
    assert dark.reason == "zone C: 1 dark scratch, none allowed"


def _crossing(second_y, second_deg, *, kind="scratch"):
    return table(("B", "scratch", 1.0), ("B", kind, 1.0)).with_columns(
        centroid_x_px=pl.Series([100.0, 100.0]),
        centroid_y_px=pl.Series([100.0, second_y]),
        length_um=pl.Series([20.0, 20.0]),
        orientation_deg=pl.Series([0.0, second_deg]),
    )


def test_crossed_scratches_fail():
    crossed = judge(_crossing(110.0, 80.0), "surfiber_plc")
    assert crossed.reason == "zone B: 2 crossed scratches, none allowed"
    assert judge(_crossing(110.0, 80.0, kind="pit_chip"), "surfiber_plc").decision == PASS
    for y, degrees in ((110.0, 0.0), (160.0, 80.0)):
        assert judge(_crossing(y, degrees), "surfiber_plc").decision == PASS
    # 60 degrees lean to the right going up, so the line is met from below at the right place only
    rows = _crossing(112.0, 60.0).with_columns(length_um=pl.Series([2.0, 20.0]))
    assert not crossing_scratches(rows, um_per_px=(0.4, 0.4)).any()
    moved = rows.with_columns(centroid_x_px=pl.Series([100.0 + 12.0 / math.tan(math.pi / 3), 100.0]))
    assert crossing_scratches(moved, um_per_px=(0.4, 0.4)).all()


def test_missing_columns_are_named():
    with pytest.raises(FormatError, match="missing: iec_zone"):
        judge(table(("A", "defect", 1.0)).drop("iec_zone"))
    assert judge(pl.DataFrame()).decision == PASS


# ── severity ────────────────────────────────────────────────────────────────────────────────────────────────

WEIGHTS = {"class_weights": {"scratch": 0.9, "other": 0.8}, "zone_weights": {"A": 1.0, "outside": 0.3}}


def _defects(**columns):
    row = {"type": "scratch", "iec_zone": "A", "diameter_um": 60.0, "width_um": 2.0, "length_um": 60.0}
    row |= {"contrast": 0.2} | columns
    return pl.DataFrame({name: [value] for name, value in row.items()})


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["diameter_um", "width_um", "length_um", "contrast"]),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
    st.sampled_from(["scratch", "other"]),
)
def test_severity_never_falls_when_a_defect_grows(name, small, more, kind):
    low, high = (
        score_severity(_defects(type=kind, **{name: v}), **WEIGHTS)["severity_score"][0]
        for v in (small, small + more)
    )
    assert 0 <= low <= high <= 100


def test_severity_levels_and_weights():
    core = score_severity(_defects(), **WEIGHTS)
    rim = score_severity(_defects(iec_zone="outside"), **WEIGHTS)
    assert core.rows() == [(core["severity_score"][0], "medium")]
    assert rim["severity_score"][0] == pytest.approx(0.3 * core["severity_score"][0], abs=0.01)
    assert rim["severity_level"][0] == "low"
    assert score_severity(_defects(), high_from=40.0)["severity_level"][0] == "high"
    for empty in (_defects().clear(), pl.DataFrame()):
        assert score_severity(empty).schema == core.schema
        assert score_severity(empty).is_empty()


def test_severity_in_pixels_where_micrometres_are_unknown():
    unknown = dict.fromkeys(("diameter_um", "width_um", "length_um"))
    rows = _defects(**unknown, length_px=120.0, area_px=480.0, iec_zone="outside", anatomy_zone="core")
    assert score_severity(rows, **WEIGHTS).rows() == score_severity(_defects(), **WEIGHTS).rows()
    nothing = score_severity(_defects(**unknown, contrast=math.nan))
    assert nothing["severity_score"][0] == 0.0

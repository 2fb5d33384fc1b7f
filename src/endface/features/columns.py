"""The columns of the defect and zone tables: one place that names, types and explains them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from endface.schema import Column, ColumnType

_DTYPES: dict[ColumnType, type[pl.DataType]] = {
    "str": pl.String,
    "int": pl.Int64,
    "float": pl.Float64,
    "bool": pl.Boolean,
}

DEFECT_COLUMNS: tuple[Column, ...] = (
    Column("instance", "int", "", "number of the defect within its image, from 1"),
    Column(
        "anatomy_zone",
        "str",
        "",
        "innermost anatomical zone it touches: core, cladding, adhesive, ferrule, outside",
    ),
    Column("iec_zone", "str", "", "innermost IEC zone it touches: A, B, C, D, outside"),
    Column("iec_zone_centroid", "str", "", "IEC zone at its centroid (nearest own pixel)"),
    Column("iec_zones", "str", "", "all IEC zones it touches, inner first, joined by ';'"),
    Column("x_px", "int", "px", "left column of its box"),
    Column("y_px", "int", "px", "top row of its box"),
    Column("width_px", "int", "px", "width of its box"),
    Column("height_px", "int", "px", "height of its box"),
    Column("centroid_x_px", "float", "px", "centroid, right"),
    Column("centroid_y_px", "float", "px", "centroid, down"),
    Column("area_px", "int", "px", "number of pixels"),
    Column("area_um2", "float", "um2", "area"),
    Column("diameter_um", "float", "um", "smallest enclosing circle; of small spots freed of the blur"),
    Column(
        "diameter_sd_um", "float", "um", "how uncertain a ragged outline leaves `diameter_um`; 0 for a disc"
    ),
    Column("diameter_px", "float", "px", "same in pixels of the mean pitch"),
    Column("length_um", "float", "um", "along the centre line for lines, largest extent for blobs"),
    Column("length_px", "float", "px", "same in pixels"),
    Column(
        "width_um",
        "float",
        "um",
        "photometric width of lines, freed of the blur; extent across the length of blobs",
    ),
    Column("line_width_px", "float", "px", "same in pixels of the mean pitch (`width_px` is the box)"),
    Column("max_width_um", "float", "um", "largest width"),
    Column("max_line_width_px", "float", "px", "same in pixels of the mean pitch"),
    Column(
        "width_sd_um",
        "float",
        "um",
        "standard uncertainty of `width_um` besides that of the pixels; 0 for spots",
    ),
    Column(
        "line_snr", "float", "", "contrast at the crest of a traced line over the noise of a pixel; else 0"
    ),
    Column("width_resolved", "bool", "", "false for lines so narrow that `width_um` is an upper bound"),
    Column("orientation_deg", "float", "deg", "major axis, 0 along x, counter-clockwise, in [0, 180)"),
    Column("straightness", "float", "", "distance of the ends over the length: 1 straight, 0 closed"),
    Column("tortuosity", "float", "rad", "sum of the absolute turning angles along the centre line"),
    Column("waviness", "float", "", "distance of the centre line from a parabola (as rms), over its extent"),
    Column(
        "crest_waviness", "float", "", "same of a line's gray crest, less what noise alone gives; 0 for spots"
    ),
    Column(
        "contrast",
        "float",
        "",
        "rms difference from the local background over that background, noise removed, >= 0",
    ),
    Column("contrast_gray", "float", "gray", "mean difference from the local background, signed"),
    Column("snr", "float", "", "rms difference from the local background over the local noise"),
    Column("polarity", "int", "", "-1 darker than its surroundings, +1 brighter, 0 both"),
    Column(
        "confidence", "float", "", "1 / (1 + expected false alarms); 1 where a person drew or confirmed it"
    ),
    Column("detector", "str", "", "detectors that saw it, joined by '+'"),
    Column("provenance", "str", "", "machine, edited or confirmed"),
    Column("is_line", "bool", "", "whether length and width are those of a line (length >= 3 mean widths)"),
    Column("slenderness", "float", "", "centre-line length over mean mask width"),
    Column("aspect_ratio", "float", "", "axes of the ellipse of equal second moments, >= 1"),
    Column("circularity", "float", "", "4 pi area / perimeter^2, at most 1"),
    Column("solidity", "float", "", "area over that of the convex hull"),
    Column("eccentricity", "float", "", "of the ellipse of equal second moments"),
    Column("extent", "float", "", "area over that of the smallest rotated rectangle"),
    Column("perimeter_px", "float", "px", "length of the outline, in pixels of the mean pitch"),
    Column("euler_number", "int", "", "sub-regions minus holes"),
    Column("n_holes", "int", "", "holes"),
    Column("n_subregions", "int", "", "8-connected parts"),
    *(Column(f"hu_{k}", "float", "", f"Hu moment {k}, sign(h) log10(1 + 1e6 |h|)") for k in range(1, 8)),
    Column("distance_px", "float", "px", "centroid to the centre of the cladding"),
    Column("distance_um", "float", "um", "centroid to the centre of the cladding"),
    Column("inner_distance_um", "float", "um", "nearest pixel to the centre of the cladding"),
    Column(
        "angle_deg", "float", "deg", "direction from the centre, 0 along x, counter-clockwise, in [0, 360)"
    ),
    Column("radius_norm", "float", "", "distance of the centroid over the cladding radius"),
    Column(
        "rim_distance_norm",
        "float",
        "",
        "least distance of its pixels from the cladding rim over the radius; 0 on it",
    ),
    Column("rim_distance_um", "float", "um", "least distance of its pixels from the cladding rim; 0 on it"),
    Column(
        "beyond_rim_um", "float", "um", "how far its outermost pixel lies beyond the cladding rim; < 0 inside"
    ),
    Column("rim_share", "float", "", "share of its pixels within 4 % of the cladding radius from its rim"),
    Column("mean_intensity", "float", "gray", "mean of its pixels"),
    Column("std_intensity", "float", "gray", "standard deviation of its pixels"),
    Column("min_intensity", "float", "gray", "darkest pixel"),
    Column("max_intensity", "float", "gray", "brightest pixel"),
    Column("local_mean", "float", "gray", "local background: median of the ring around it within its zone"),
    Column("local_noise", "float", "gray", "robust standard deviation of that ring"),
    Column(
        "halo", "float", "", "how much its margin differs from the background the other way, of its contrast"
    ),
    Column(
        "roundness",
        "float",
        "",
        "share of its smallest enclosing circle that its patch at half its peak contrast fills; 0 for lines",
    ),
    Column(
        "n_alike", "int", "", "compact defects of the image half to twice as large as it, itself included"
    ),
    Column("peak_snr", "float", "", "peak contrast over the noise around it; 0 for lines"),
    Column("entropy", "float", "bit", "entropy of 16 gray bins over its own and its ring's range"),
    Column("glcm_contrast", "float", "", "co-occurrence contrast (16 bins, distance 1)"),
    Column("glcm_homogeneity", "float", "", "co-occurrence homogeneity"),
    Column("glcm_energy", "float", "", "co-occurrence energy"),
    Column("glcm_correlation", "float", "", "co-occurrence correlation"),
    *(
        Column(f"lbp_{k}", "float", "", f"share of uniform local binary pattern {k} (9: all others)")
        for k in range(10)
    ),
    Column("edge_gradient_mean", "float", "gray/px", "gradient along its edge"),
    Column("edge_gradient_std", "float", "gray/px", "standard deviation of that gradient"),
    Column(
        "edge_sharpness", "float", "1/px", "edge gradient over rms contrast: 1 over the width of its edge"
    ),
    Column("skeleton_px", "int", "px", "pixels of its skeleton"),
    Column("mask_width_mean_px", "float", "px", "area over centre-line length, in pixels of the mean pitch"),
    Column("mask_width_max_px", "float", "px", "largest width of the mask across the centre line"),
    Column("n_branch_points", "int", "", "branch points of the skeleton, short spurs left out"),
    Column("n_end_points", "int", "", "end points of the skeleton, short spurs left out"),
)

ZONE_COLUMNS: tuple[Column, ...] = (
    Column("zone", "str", "", "core, cladding, adhesive or ferrule"),
    Column("zone_area_px", "int", "px", "visible pixels of the zone"),
    Column("zone_area_um2", "float", "um2", "visible area of the zone"),
    Column("defect_area_px", "int", "px", "its pixels covered by defects"),
    Column("n_defects", "int", "", "defects that touch the zone (a defect counts in every zone it touches)"),
    Column("cleanliness", "float", "", "share of the zone free of defects"),
    Column("mean_intensity", "float", "gray", "mean of its clean pixels"),
    Column("std_intensity", "float", "gray", "standard deviation of its clean pixels"),
    Column("median_intensity", "float", "gray", "median of its clean pixels"),
    Column("mean_gradient", "float", "gray/px", "mean gradient of its clean pixels away from zone borders"),
    Column("entropy", "float", "bit", "entropy of 64 gray bins over the image's range, clean pixels"),
    Column("uniformity", "float", "", "1 - std / mean of the smoothed clean pixels, 0 at least"),
    Column(
        "alignment",
        "float",
        "",
        "1 - offset of the zone's centre from the cladding's over the cladding radius",
    ),
    Column("center_x_px", "float", "px", "centre of the zone's ellipse"),
    Column("center_y_px", "float", "px", "centre of the zone's ellipse"),
    Column("radius_x_px", "float", "px", "semi-axis of the zone's outer ellipse along x"),
    Column("radius_y_px", "float", "px", "semi-axis of the zone's outer ellipse along y"),
    Column("radius_um", "float", "um", "radius of the zone's outer circle"),
    Column("ellipticity", "float", "", "1 - smaller over larger semi-axis, in um where the pitch is known"),
    Column("center_offset_um", "float", "um", "centre of the zone to that of the cladding"),
    Column("center_offset_px", "float", "px", "centre of the zone to that of the cladding"),
)

ZONE_LABEL_COLUMNS: tuple[Column, ...] = (
    Column("label", "str", "", "clean or defective"),
    Column("label_reason", "str", "", "what made it defective"),
    Column("n_defects", "int", "", "defects counted to the zone"),
    Column("defect_area_frac", "float", "", "share of the zone covered by defects"),
    Column("largest_defect_um", "float", "um", "largest diameter among them"),
    Column("worst_type", "str", "", "type of the defect of highest severity"),
    Column("worst_severity", "str", "", "severity level of that defect: low, medium or high"),
    Column("worst_severity_score", "float", "", "its severity score, 0 to 100"),
)


def schema_of(columns: Iterable[Column]) -> dict[str, type[pl.DataType]]:
    """Return polars types by column name.

    Examples
    --------
    >>> schema_of(ZONE_COLUMNS)["zone_area_px"]
    Int64
    """
    return {column.name: _DTYPES[column.type] for column in columns}


def to_table(rows: Sequence[Mapping[str, object]], columns: Sequence[Column]) -> pl.DataFrame:
    """Return rows as a table with exactly these columns and types, also when there are no rows."""
    return pl.from_dicts(rows, schema=schema_of(columns)) if rows else pl.DataFrame(schema=schema_of(columns))

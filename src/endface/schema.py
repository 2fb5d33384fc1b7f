"""Columns of every table: name, type, unit and meaning, so that code, files and documentation agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    import polars as pl

ColumnType = Literal["str", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    unit : str
        'px', 'um', 'um2', 'deg', 'gray', '' (none) ...
    """

    name: str
    type: ColumnType
    unit: str
    meaning: str


def _columns(text: str) -> tuple[Column, ...]:
    """Read 'name | type | unit | meaning' lines."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return tuple(Column(name, cast(ColumnType, kind), unit, meaning) for name, kind, unit, meaning in rows)


IMAGE_COLUMNS = _columns("""
image                   | str   |    | path relative to the INPUT it was found under
image_id                | str   |    | unique name used for all outputs
width_px                | int   | px | width of the image
height_px               | int   | px | height of the image
pass_fail               | str   |    | PASS, FAIL, MARGINAL or INDETERMINATE
fail_reason             | str   |    | the rules that fired, or why there is no verdict
profile                 | str   |    | acceptance profile the verdict follows
scratch                 | bool  |    | whether a scratch was found
contamination           | bool  |    | whether contamination was found
pit_chip                | bool  |    | whether a pit or chip was found
other                   | bool  |    | whether something else was found
primary_defect          | str   |    | class of the most severe defect
n_defects               | int   |    | number of defects
found                   | bool  |    | whether a fibre was found
cladding_cx_px          | float | px | centre of the cladding, column
cladding_cy_px          | float | px | centre of the cladding, row
cladding_rx_px          | float | px | semi-axis of the cladding along x
cladding_ry_px          | float | px | semi-axis of the cladding along y
core_cx_px              | float | px | centre of the core, column
core_cy_px              | float | px | centre of the core, row
core_rx_px              | float | px | semi-axis of the core along x
core_ry_px              | float | px | semi-axis of the core along y
um_per_px_x             | float | um | pixel pitch along x
um_per_px_y             | float | um | pixel pitch along y
calibration             | str   |    | where the pitch comes from: settings, cladding or unknown
core_offset_um          | float | um | distance of the core's centre from that of the cladding
concentricity_error_pct | float | %  | that distance in per cent of the cladding diameter
focus_score             | float |    | 0 blurred to 1 sharp
quality_flags           | str   |    | what makes the image doubtful, separated by '; '
notes                   | str   |    | what was done while reading, separated by '; '
n_optics_finds          | int   |    | finds that are marks of the optics, not counted as defects
same_face_group         | int   |    | number shared by images of the same face; empty: no other shows it
fail_chance             | float |    | how likely a limit is exceeded, 0 to 1
""")

DEFECT_COLUMNS = _columns("""
defect_id       | str   |      | image_id and number
image           | str   |      | path relative to the INPUT it was found under
image_id        | str   |      | unique name of the image
instance        | int   |      | number of the defect within its image, from 1
type            | str   |      | scratch, contamination, pit_chip or other
cluster_label   | int   |      | cluster of the run; -1 none
anatomy_zone    | str   |      | core, cladding, adhesive, ferrule or outside
iec_zone        | str   |      | A, B, C, D or outside
severity_score  | float |      | 0 to 100
severity_level  | str   |      | low, medium or high
confidence      | float |      | 0 to 1
x_px            | int   | px   | left column of the box
y_px            | int   | px   | top row of the box
width_px        | int   | px   | width of the box
height_px       | int   | px   | height of the box
centroid_x_px   | float | px   | centroid, column
centroid_y_px   | float | px   | centroid, row
area_px         | int   | px   | number of pixels
area_um2        | float | um2  | area
diameter_um     | float | um   | smallest enclosing circle
length_um       | float | um   | length along the centre line
width_um        | float | um   | mean width
orientation_deg | float | deg  | 0 along x, counter-clockwise, in [0, 180)
contrast        | float |      | relative to the local surroundings
snr             | float |      | contrast in units of the local noise
detector        | str   |      | which detectors saw it
provenance      | str   |      | machine, edited or confirmed
""")

ZONE_COLUMNS = _columns("""
image             | str   |    | path relative to the INPUT it was found under
image_id          | str   |    | unique name of the image
zone              | str   |    | core, cladding, adhesive or ferrule
zone_area_px      | int   | px | number of pixels
label             | str   |    | clean or defective
label_reason      | str   |    | why
n_defects         | int   |    | number of defects that touch the zone
defect_area_frac  | float |    | share of the zone that defects cover
largest_defect_um | float | um | diameter of the largest defect
worst_type        | str   |    | class of the most severe defect
worst_severity    | str   |    | level of the most severe defect
mean_intensity    | float | gray | mean gray value
std_intensity     | float | gray | standard deviation of the gray values
mean_gradient     | float | gray | mean gradient magnitude per pixel
entropy           | float | bit  | entropy of the gray values
""")

OPTICS_MARK_COLUMNS = _columns("""
scope         | str   |      | frame size, and a number where a scope has many images
mark          | int   |      | number of the mark within its scope
cause         | str   |      | hot or dead pixel, dust on the optics, or seam of the sensor
x_px          | int   | px   | left column of the box
y_px          | int   | px   | top row of the box
width_px      | int   | px   | width of the box
height_px     | int   | px   | height of the box
area_px       | int   | px   | number of pixels
n_images      | int   |      | images that show the place
n_seen_in     | int   |      | images in which it was found
contrast_gray | float | gray | mean difference from its surroundings
""")

OPTICS_FIND_COLUMNS = _columns("""
image         | str   |      | path relative to the INPUT it was found under
image_id      | str   |      | unique name of the image
instance      | int   |      | number of the find before it was taken out
type          | str   |      | optics
scope         | str   |      | scope of the mark
mark          | int   |      | number of the mark within its scope
cause         | str   |      | as in the table of marks
x_px          | int   | px   | left column of the box
y_px          | int   | px   | top row of the box
width_px      | int   | px   | width of the box
height_px     | int   | px   | height of the box
centroid_x_px | float | px   | centroid, column
centroid_y_px | float | px   | centroid, row
area_px       | int   | px   | number of pixels
diameter_um   | float | um   | smallest enclosing circle
contrast_gray | float | gray | mean difference from its surroundings
detector      | str   |      | which detectors saw it
provenance    | str   |      | machine: optics
""")

FACE_COLUMNS = _columns("""
same_face_group | int | | number of the face
image           | str | | path relative to the INPUT it was found under
image_id        | str | | unique name of the image
""")

FAILURE_COLUMNS = _columns("""
image | str | | path relative to the INPUT it was found under
stage | str | | what could not be done
error | str | | what was expected and what was found
hint  | str | | what can be done about it
""")


def conform(table: pl.DataFrame, columns: tuple[Column, ...], *, extra: bool = True) -> pl.DataFrame:
    """Bring a table to its columns: order, types, missing ones empty; NaN becomes empty.

    Parameters
    ----------
    table : polars.DataFrame
        May lack columns and may hold more.
    extra : bool
        Whether further columns are kept, behind the named ones in their own order.

    Examples
    --------
    >>> import polars as pl
    >>> conform(pl.DataFrame({"hint": ["h"], "image": ["a"]}), FAILURE_COLUMNS).columns
    ['image', 'stage', 'error', 'hint']
    """
    import polars as pl

    types = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
    if not table.width:
        return pl.DataFrame(schema={column.name: types[column.type] for column in columns})
    named = [
        pl.col(column.name).cast(types[column.type])
        if column.name in table.columns
        else pl.lit(None, types[column.type]).alias(column.name)
        for column in columns
    ]
    names = {column.name for column in columns}
    further = [name for name in table.columns if name not in names] if extra else []
    ordered = table.select(*named, *further)
    return ordered.with_columns(pl.selectors.float().fill_nan(None))

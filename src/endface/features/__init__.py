"""Turn zones and defects into numbers: one row per defect, one per zone, and maps of every pixel."""

from endface.features.columns import DEFECT_COLUMNS, ZONE_COLUMNS, ZONE_LABEL_COLUMNS, schema_of
from endface.features.defects import measure_defects
from endface.features.maps import PixelMaps, pixel_maps
from endface.features.zones import label_zones, measure_zones

__all__ = [
    "DEFECT_COLUMNS",
    "ZONE_COLUMNS",
    "ZONE_LABEL_COLUMNS",
    "PixelMaps",
    "label_zones",
    "measure_defects",
    "measure_zones",
    "pixel_maps",
    "schema_of",
]

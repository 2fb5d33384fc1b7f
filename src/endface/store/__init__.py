"""The run folder: where every file lies, and writers that leave either the old file or the whole new one.

Knows paths, formats and the journal that makes a run resumable. Does not know what the numbers mean.
"""

from endface.places import write_bytes
from endface.store.files import (
    read_json,
    read_png,
    write_colour,
    write_gray,
    write_json,
    write_maps,
    write_numbers,
    write_overlay,
    write_palette,
    write_table,
)
from endface.store.folder import (
    MANIFEST,
    RunFolder,
    is_run_folder,
    open_run_folder,
    sweep,
)
from endface.store.pixels import pack_pixels, unpack_pixels
from endface.store.records import (
    Columns,
    Record,
    batch_files,
    columns_of,
    forget_batch,
    is_finished,
    raw_mask,
    read_content,
    read_record,
    rims_from_record,
    stacked,
    write_record,
    zones_from_record,
    zones_to_record,
)

__all__ = [
    "MANIFEST",
    "Columns",
    "Record",
    "RunFolder",
    "batch_files",
    "columns_of",
    "forget_batch",
    "is_finished",
    "is_run_folder",
    "open_run_folder",
    "pack_pixels",
    "raw_mask",
    "read_content",
    "read_json",
    "read_png",
    "read_record",
    "rims_from_record",
    "stacked",
    "sweep",
    "unpack_pixels",
    "write_bytes",
    "write_colour",
    "write_gray",
    "write_json",
    "write_maps",
    "write_numbers",
    "write_overlay",
    "write_palette",
    "write_record",
    "write_table",
    "zones_from_record",
    "zones_to_record",
]

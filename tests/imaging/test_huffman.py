"""Entropy coding without matches: any zlib reads it back, in as few bits as zlib would take."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from endface.imaging.huffman import code_lengths, compress_literals


@given(st.binary(min_size=1, max_size=400))
@settings(deadline=None)  # the first one waits for the compiler
def test_what_goes_in_comes_back(data: bytes) -> None:
    assert zlib.decompress(compress_literals(np.array(list(data), np.uint8))) == data


@pytest.mark.parametrize("spread", [0.4, 3.0, 40.0])
def test_as_small_as_by_zlib(spread: float) -> None:
    noise = np.random.default_rng(1).normal(0, spread, 300_000).astype(np.int8).view(np.uint8)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_HUFFMAN_ONLY)
    usual = packer.compress(noise.tobytes()) + packer.flush()
    packed = compress_literals(noise)
    assert zlib.decompress(packed) == noise.tobytes()
    assert len(packed) < 1.01 * len(usual)


def test_codes_are_never_longer_than_the_format_allows() -> None:
    counts = [1, 1]
    while len(counts) < 28:  # Huffman's own codes for these are 27 bits long
        counts.append(counts[-1] + counts[-2])
    lengths = code_lengths(counts)
    assert max(lengths) <= 15
    assert sum(2.0**-length for length in lengths) == 1.0
    data: NDArray[np.uint8] = np.repeat(np.arange(20, dtype=np.uint8), counts[:20])
    assert zlib.decompress(compress_literals(data)) == data.tobytes()

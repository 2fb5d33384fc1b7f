"""Bytes in the zlib format by entropy coding alone, as zlib itself does it in three times as long.

For large noisy data, in which no string ever repeats. Any zlib reads it back.
"""

from __future__ import annotations

import zlib

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LONGEST = 15  # bits of a code
_END = 256  # the symbol after the last byte
# lengths of codes are given by codes of four bits each, for the lengths 0 to 15 in this order
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


def compress_literals(data: NDArray[np.uint8]) -> bytes:
    """Compress bytes by a Huffman code of their own.

    Parameters
    ----------
    data : (N,) uint8 ndarray
        C-contiguous.

    Returns
    -------
    bytes
        A zlib stream of one block without matches.

    References
    ----------
    P. Deutsch, RFC 1951 (1996), sections 3.2.2 and 3.2.7; RFC 1950.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 3, 100_000).astype(np.int8).view(np.uint8)
    >>> packed = compress_literals(noise)
    >>> zlib.decompress(packed) == noise.tobytes(), len(packed) < 50_000
    (True, True)
    """
    counts = np.zeros((4, 256), np.int64)
    _count(data, counts)
    lengths = code_lengths([*counts.sum(axis=0).tolist(), 1])
    codes = _reversed_codes(lengths)
    # last block, own codes, 257 of them; two codes of distances, which nobody uses but some readers ask for
    head, n_head = 0, 0
    fields = [(1, 1), (2, 2), (0, 5), (1, 5), (15, 4), *((4 if k < 16 else 0, 3) for k in _ORDER)]
    fields += [(_reverse(length, 4), 4) for length in (*lengths, 1, 1)]
    for value, n_bits in fields:
        head |= value << n_head
        n_head += n_bits
    whole = n_head // 8 * 8
    table = np.array([codes[:_END], lengths[:_END]], np.uint64)
    n_bits = n_head - whole + int(counts.sum(axis=0) @ table[1].astype(np.int64))
    words = np.empty(n_bits // 32, np.uint32)
    held, n_held = _put(data, table, words, np.uint64(head >> whole), np.uint64(n_head - whole))
    rest = int(held) | codes[_END] << int(n_held)
    n_rest = int(n_held) + lengths[_END]
    return b"".join(
        (
            b"\x78\x01",
            (head & ((1 << whole) - 1)).to_bytes(whole // 8, "little"),
            words.astype("<u4", copy=False).tobytes(),
            rest.to_bytes(-(-n_rest // 8), "little"),
            zlib.adler32(data.data).to_bytes(4, "big"),
        )
    )


def code_lengths(counts: list[int]) -> list[int]:
    """Return the lengths of Huffman's codes for symbols that occur `counts` times, 0 of absent ones.

    At most 15: where a code would be longer, rare symbols are taken for less rare ones.

    Examples
    --------
    >>> code_lengths([5, 0, 1, 2])
    [1, 0, 2, 2]
    """
    while True:
        lengths = _free_lengths(counts)
        if max(lengths) <= _LONGEST:
            return lengths
        counts = [(count + 1) // 2 for count in counts]


def _free_lengths(counts: list[int]) -> list[int]:
    """Return the lengths of Huffman's codes, however long."""
    symbols = sorted((symbol for symbol, count in enumerate(counts) if count), key=counts.__getitem__)
    n = len(symbols)
    # leaves by weight, then what they are joined to, whose weights come out in order: two queues
    weights, above = [counts[symbol] for symbol in symbols], [0] * (2 * n - 1)
    leaf, node = 0, n
    for joined in range(n, 2 * n - 1):
        weight = 0
        for _ in range(2):
            if leaf < n and (node == joined or weights[leaf] <= weights[node]):
                below, leaf = leaf, leaf + 1
            else:
                below, node = node, node + 1
            above[below] = joined
            weight += weights[below]
        weights.append(weight)
    depth = [0] * (2 * n - 1)
    for below in range(2 * n - 3, -1, -1):
        depth[below] = depth[above[below]] + 1
    lengths = [0] * len(counts)
    for symbol, length in zip(symbols, depth, strict=False):
        lengths[symbol] = length
    return lengths


def _reversed_codes(lengths: list[int]) -> list[int]:
    """Return the canonical codes, first bit lowest."""
    codes, code, before = [0] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        codes[symbol] = _reverse(code, length)
        code, before = code + 1, length
    return codes


def _reverse(value: int, n_bits: int) -> int:
    return int(f"{value:0{n_bits}b}"[::-1], 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(data: NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Count how often each byte occurs, in four rows: a sum that waits for itself would halve the speed."""
    for k in range(data.size):
        counts[k & 3, data[k]] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _put(
    data: NDArray[np.uint8],
    table: NDArray[np.uint64],
    words: NDArray[np.uint32],
    held: np.uint64,
    n_held: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Write the codes of all bytes behind the `n_held` bits `held`; returns the bits that fill no word."""
    place = 0
    for k in range(data.size):
        held |= table[0, data[k]] << n_held
        n_held += table[1, data[k]]
        if n_held >= np.uint64(32):
            words[place] = np.uint32(held & np.uint64(0xFFFFFFFF))
            place += 1
            held >>= np.uint64(32)
            n_held -= np.uint64(32)
    return held, n_held

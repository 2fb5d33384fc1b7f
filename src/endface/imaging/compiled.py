"""Loops compiled by numba, kept beside the package and loaded without what only compiling needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

# no memory is taken in a loop, and none is called from C
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("nogil", True),
    ("error_model", "numpy"),
    ("no_cfunc_wrapper", True),
    ("_nrt", False),
)


class _Cache(FunctionCache):
    """The cache of numba, which would set up all its types first, and SciPy with them: half a second."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # what was compiled with other options would need what is not set up
        return super()._index_key(sig, codegen), _OPTIONS  # type: ignore[no-untyped-call]


def compiled(loop: Callable[..., Any]) -> Any:
    """Compile a function when it is first called with arguments of new types, or load what was compiled then.

    Dividing by 0 gives infinity or NaN, as in NumPy; other threads run meanwhile. Loops use numbers and
    arrays they are given only: what is loaded knows none of numba's own libraries.
    """
    dispatcher: Any = njit(**dict(_OPTIONS))(loop)
    dispatcher._cache = _Cache(loop)  # type: ignore[no-untyped-call]
    return dispatcher

"""Whether an execution left memory behind: mallinfo(3)'s sum of what the C library's allocator holds.

Where the C library has no mallinfo2 (glibc before 2.33, musl), nothing is ever said to be left.
"""

from __future__ import annotations

import ctypes

# Caches of the library fill, and the allocator rounds up; beyond this it is the flow's doing.
LEFT_BYTES = 4_194_304


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    )


_mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _Mallinfo2


def held_bytes() -> int:
    """What is allocated, in blocks of the heap and in mappings of their own; 0 if that cannot be told. 1.4 µs."""
    if _mallinfo2 is None:
        return 0
    info = _mallinfo2()
    held: int = info.uordblks + info.hblkhd
    return held


class MemoryWatch:
    """One per process. `begin` when it holds what it should, `has_grown` after each execution."""

    def __init__(self) -> None:
        self._most_bytes = 0

    def begin(self) -> None:
        """What is held now is no execution's."""
        self._most_bytes = held_bytes() + LEFT_BYTES

    def has_grown(self) -> bool:
        """Whether more than LEFT_BYTES have been added since."""
        return held_bytes() > self._most_bytes > 0

"""Whether an execution left memory behind: mallinfo(3)'s sum of what the C library's allocator holds.

Where the C library has no mallinfo2 (glibc before 2.33, musl), nothing ever counts as left.
"""

from __future__ import annotations

import ctypes

# How much freed memory is kept for the next use. To return it and get it again, cleared by the kernel page by page,
# costs several times as much as to fill it. Enough for a payload of a megabyte with its copies.
KEPT_BYTES = 8_388_608
# The same in a process that takes only large inputs.
KEPT_LARGE_BYTES = 67_108_864
# <malloc.h>; the C library takes no higher threshold than 32 MiB.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MOST_MMAP_THRESHOLD = 33_554_432

# Caches of the library fill, and the allocator rounds up; beyond this it is the flow's doing.
LEFT_BYTES = 4_194_304


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    )


_libc = ctypes.CDLL(None)
_mallinfo2 = getattr(_libc, "mallinfo2", None)
if _mallinfo2 is not None:
    _mallinfo2.restype = _Mallinfo2


def held_bytes() -> int:
    """What is allocated, in blocks of the heap and in mappings of their own; 0 if unknown. Takes 1.4 µs."""
    if _mallinfo2 is None:
        return 0
    info = _mallinfo2()
    held: int = info.uordblks + info.hblkhd
    return held


def keep_freed(size_bytes: int) -> None:
    """Has the allocator keep that much freed memory (mallopt(3)); nothing where the C library cannot."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, min(size_bytes // 2, _MOST_MMAP_THRESHOLD))
        mallopt(_M_TRIM_THRESHOLD, size_bytes)


class MemoryWatch:
    """One per process. `begin` when it holds what it should, `has_grown` after each execution."""

    def __init__(self) -> None:
        self._most_bytes = 0

    def begin(self) -> None:
        """Starts to count: what is held now belongs to no execution."""
        self._most_bytes = held_bytes() + LEFT_BYTES

    def has_grown(self, rightly_bytes: int) -> bool:
        """Whether more than LEFT_BYTES have been added since, beside `rightly_bytes`."""
        return held_bytes() - rightly_bytes > self._most_bytes > 0

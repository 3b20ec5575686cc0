"""How much address space this process has mapped: the first figure of /proc/self/statm, found without /proc.

RLIMIT_AS counts every mapping (mmap(2), ENOMEM), so under a limit far above the real size, the largest mapping that
still succeeds tells what is left. The mappings are PROT_NONE and hold no page. With a guess near the truth, which a
worker has from its zygote, the search takes some ten mappings.
"""

from __future__ import annotations

import mmap
import resource

from . import kernel

# Finer than any limit that makes sense, and found in four steps fewer than to the page.
GRAIN_BYTES = max(64 * 1024, mmap.PAGESIZE)
# Far above a worker's size, far below the 39 bits of the smallest address space that arm64 has.
_CEILING = 1 << 37
_PROT_NONE = 0
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_NORESERVE = 0x02, 0x20, 0x4000  # asm-generic/mman-common.h, mman.h
_NO_FD = -1


def mapped_bytes(guess_bytes: int = 0) -> int | None:
    """Bytes mapped now, rounded up to the grain; None if it cannot be measured. Leaves RLIMIT_AS as it was."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = _CEILING if before[1] == resource.RLIM_INFINITY else min(_CEILING, before[1])
    grains = ceiling // GRAIN_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (grains * GRAIN_BYTES, before[1]))
    try:
        free = _largest_mapping(grains, grains - guess_bytes // GRAIN_BYTES)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return (grains - free) * GRAIN_BYTES if free else None


def _largest_mapping(grains: int, guess: int) -> int:
    """The largest number of grains, below `grains`, that can be mapped at once: ever longer steps, then halves."""
    fits, too_many, step = 0, grains, 1
    if _can_map(guess):
        fits = guess
        while fits + step < grains and _can_map(fits + step):
            fits, step = fits + step, 2 * step
        too_many = min(too_many, fits + step)
    else:
        too_many = min(too_many, guess)
        while too_many - step > 0 and not _can_map(too_many - step):
            too_many, step = too_many - step, 2 * step
        fits = max(fits, too_many - step)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _can_map(middle):
            fits = middle
        else:
            too_many = middle
    return fits


def _can_map(grains: int) -> bool:
    size = grains * GRAIN_BYTES
    try:
        address = kernel.syscall("mmap", 0, size, _PROT_NONE, _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE, _NO_FD, 0)
    except OSError:
        return False
    kernel.syscall("munmap", address, size)
    return True

"""The size of the address space, measured without /proc, is what /proc says."""

from __future__ import annotations

import mmap
import resource
from pathlib import Path

import pytest

from whd.sandbox.isolation.address_space import GRAIN_BYTES, mapped_bytes


def told_by_proc() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


@pytest.mark.parametrize("error_bytes", [0, 1, 10**5, 10**7, 10**9, -(10**5), -(10**8), -(10**10)])
def test_any_guess_leads_to_the_truth(error_bytes: int) -> None:
    measured = mapped_bytes(max(0, told_by_proc() + error_bytes))
    assert measured is not None
    assert abs(measured - told_by_proc()) <= 2 * GRAIN_BYTES


def test_what_is_mapped_is_counted() -> None:
    before = mapped_bytes()
    block = mmap.mmap(-1, 100 * 1024 * 1024)
    after = mapped_bytes()
    block.close()
    assert before is not None
    assert after is not None
    assert abs(after - before - 100 * 1024 * 1024) <= 2 * GRAIN_BYTES


def test_the_limit_is_left_as_it_was() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped_bytes()
    assert resource.getrlimit(resource.RLIMIT_AS) == before

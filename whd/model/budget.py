"""How many bytes of requests the daemon holds in all: one counter, asked before anything more is kept.

Nothing here does I/O. It is used on the event loop only, so there is no lock.
"""

from __future__ import annotations

from collections.abc import Callable


class BufferBudget:
    """Counts held bytes against a limit that may change at any time (`max_buffered_bytes` is live)."""

    __slots__ = ("_get_limit_bytes", "used_bytes")

    def __init__(self, get_limit_bytes: Callable[[], int]) -> None:
        self._get_limit_bytes = get_limit_bytes
        self.used_bytes = 0

    @property
    def free_bytes(self) -> int:
        """What can still be taken; negative after the limit was lowered."""
        return self._get_limit_bytes() - self.used_bytes

    def take(self, size_bytes: int) -> bool:
        """Counts `size_bytes` as held; False, and nothing is counted, if that is over the limit."""
        if size_bytes > self._get_limit_bytes() - self.used_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    def give(self, size_bytes: int) -> None:
        """Gives back what was taken."""
        self.used_bytes -= size_bytes

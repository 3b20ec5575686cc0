"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import shutil
import time
from typing import TextIO


class Progress:
    """Counts `steps`; shows the bar on `stream` if that is a terminal."""

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps = max(1, steps)
        self._stream = stream
        self._shown = stream.isatty()
        self._done = 0
        self._begun = time.monotonic()

    def step(self, doing: str) -> None:
        """The next step begins: `doing` says what it is."""
        if self._shown:
            self._stream.write("\r\x1b[K" + self._line(doing)[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
        self._done += 1

    def end(self) -> None:
        """Takes the bar away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, doing: str) -> str:
        width = 24
        full = width * self._done // self._steps
        left = ""
        if self._done:
            left_s = (time.monotonic() - self._begun) / self._done * (self._steps - self._done)
            left = f"{int(left_s) // 60}:{int(left_s) % 60:02d} left, "
        return f"[{'#' * full}{'.' * (width - full)}] {self._done}/{self._steps} {left}{doing}"

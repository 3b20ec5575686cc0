"""`whd serve`: the daemon in the foreground."""

from __future__ import annotations

import argparse

from ..daemon import daemon
from ..engine.state import Paths


def serve(paths: Paths, given: argparse.Namespace) -> int:
    """Serves until a signal."""
    return daemon.serve(paths, tuple(given.listen) if given.listen else None)

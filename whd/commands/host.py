"""`whd doctor` and `whd units`: this machine and its systemd."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from ..engine.state import Paths
from ..model.options import Options
from ..sandbox.isolation import doctor as tried_layers
from ..settings.index import Index
from . import unit_files
from .printing import FAULT, OK, print_json, print_table, say_lines, warn


def doctor(paths: Paths, given: argparse.Namespace) -> int:
    """Tries every isolation layer on this host; fails when one that is required does not engage."""
    reports = tried_layers()
    required = _required_layers(paths)
    if given.json:
        print_json([{**report._asdict(), "required": report.name in required} for report in reports])
    else:
        rows = [
            (
                report.name,
                "engaged" if report.engaged else "missing",
                report.name in required,
                report.reason,
            )
            for report in reports
        ]
        print_table(("LAYER", "STATE", "REQUIRED", "WHY NOT"), rows)
    return FAULT if any(report.name in required and not report.engaged for report in reports) else OK


def _required_layers(paths: Paths) -> tuple[str, ...]:
    if not paths.config.is_dir():
        return Options().sandbox_require
    return Index(str(paths.config), str(paths.flows)).load().options.sandbox_require


def units(paths: Paths, given: argparse.Namespace) -> int:
    """Prints the systemd units, each under a comment with the file that it belongs in."""
    command = _own_command()
    texts = unit_files.unit_texts(command)
    if directive := unit_files.hides(command):
        warn(
            f"whd: warning: the service cannot run {command}: {directive} hides it; install whd elsewhere, "
            "as in python3 -m venv /opt/whd && /opt/whd/bin/pip install ."
        )
    if given.json:
        print_json(texts)
    else:
        for name, text in texts.items():
            say_lines(f"# ---- {name} ----\n{text}")
    return OK


def _own_command() -> str:
    """The absolute path of the `whd` that runs now: PATH may have another one first."""
    own = os.path.abspath(sys.argv[0])
    return own if os.path.basename(own) == "whd" else shutil.which("whd") or own

"""What each command of `whd` does, and how it prints it. What the command line understands is in cli.py.

A command is a function of one of these modules. None is imported before it is needed: the daemon's own modules take a
third of a second to load, and a command that asks a running daemon needs none of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

from ..engine.state import Paths

Command = Callable[[Paths, argparse.Namespace], int]


def load(name: str) -> Command:
    """The command that `name` ("module.function") stands for."""
    module, _, function = name.partition(".")
    command: Command = getattr(import_module(f"{__name__}.{module}"), function)
    return command

"""An operation on executions and settings: asked of the daemon, or done here when none runs."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, TypeVar

from ..admin import client as control
from ..engine.state import Paths
from ..errors import StateError

ReturnT = TypeVar("ReturnT")

# Yields operations, (name, arguments), and is sent what each gives.
Dialogue = Generator[tuple[str, dict[str, Any]], Any, ReturnT]


def operate(paths: Paths, operation: str, arguments: dict[str, Any], *, alone: dict[str, Any] | None = None) -> Any:
    """Asks the daemon over its control socket; without one, locks state/ and does the same in this process.

    `alone`: arguments for the latter only. Raises WhdError.
    """
    if _has_socket(paths):
        try:
            return control.ask(paths.state, operation, arguments)
        except StateError:
            pass  # left by a daemon that was killed: state/ is free, or the lock says who holds it
    elif control.has_lost_its_name(paths.state / control.SOCKET_NAME):
        # It has lost its lock as well: what would be done here is not what it knows.
        return control.ask(paths.state, operation, arguments)
    from .alone import operate_alone  # the daemon's own modules

    return operate_alone(paths, operation, {**arguments, **(alone or {})})


def converse(paths: Paths, dialogue: Dialogue[ReturnT]) -> ReturnT:
    """Does one operation after the other, all where the first one is done; what the dialogue returns. Raises WhdError.

    Without a daemon all of them are done by one Engine.
    """
    operation, arguments = next(dialogue)
    if _has_socket(paths):
        try:
            result = control.ask(paths.state, operation, arguments)
        except StateError:
            pass
        else:
            return _go_on(paths, dialogue, result)
    from .alone import converse_alone

    return converse_alone(paths, operation, arguments, dialogue)


def _go_on(paths: Paths, dialogue: Dialogue[ReturnT], result: Any) -> ReturnT:
    while True:
        try:
            operation, arguments = dialogue.send(result)
        except StopIteration as end:
            value: ReturnT = end.value
            return value
        result = control.ask(paths.state, operation, arguments)


def _has_socket(paths: Paths) -> bool:
    # os.path and not Path: of a folder that is closed to us, StateLock gives the better error.
    return os.path.exists(paths.state / control.SOCKET_NAME)

"""An operation on executions and settings: asked of the daemon, or done here when none runs."""

from __future__ import annotations

import os
from typing import Any

from ..admin import client as control
from ..engine.state import Paths
from ..errors import StateError


def operate(paths: Paths, operation: str, arguments: dict[str, Any], *, alone: dict[str, Any] | None = None) -> Any:
    """Asks the daemon over its control socket; without one, locks state/ and does the same in this process.

    `alone`: arguments for the latter only. Raises WhdError.
    """
    # os.path and not Path: of a folder that is closed to us, StateLock gives the better error.
    if os.path.exists(paths.state / control.SOCKET_NAME):
        try:
            return control.ask(paths.state, operation, arguments)
        except StateError:
            pass  # left by a daemon that was killed: state/ is free, or the lock says who holds it
    elif control.has_lost_its_name(paths.state / control.SOCKET_NAME):
        # It has lost its lock as well: what would be done here is not what it knows.
        return control.ask(paths.state, operation, arguments)
    from .alone import operate_alone  # the daemon's own modules

    return operate_alone(paths, operation, {**arguments, **(alone or {})})

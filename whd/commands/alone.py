"""The daemon's operations without a daemon: the same Engine, in the command's own process."""

from __future__ import annotations

from typing import Any

import uvloop

from ..admin.operations import Admin
from ..engine.engine import open_engine
from ..engine.state import Paths


def operate_alone(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    """Does one operation with state/ locked. Raises WhdError."""
    return uvloop.run(_operate(paths, operation, arguments))


async def _operate(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    async with open_engine(paths, serves=False) as engine:
        return await Admin(engine).dispatch(operation, arguments)

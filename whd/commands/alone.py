"""The daemon's operations without a daemon: the same Engine, in the command's own process."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from ..admin.operations import Admin
from ..engine.engine import Engine
from ..engine.state import Paths


def operate_alone(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    """Does one operation with state/ locked. Raises WhdError."""
    return uvloop.run(_operate(paths, operation, arguments))


async def _operate(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    engine = Engine(asyncio.get_running_loop(), paths, serves=False)
    try:
        await engine.start()
        return await Admin(engine).dispatch(operation, arguments)
    finally:
        await engine.close()

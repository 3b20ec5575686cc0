"""The daemon's operations without a daemon: the same Service, in the command's own process."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from ..admin import Admin
from ..service import Service
from ..state import Paths


def operate_alone(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    """Does one operation with state/ locked. Raises WhdError."""
    return uvloop.run(_operate(paths, operation, arguments))


async def _operate(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    service = Service(asyncio.get_running_loop(), paths, serves=False)
    try:
        await service.start()
        return await Admin(service).dispatch(operation, arguments)
    finally:
        await service.close()

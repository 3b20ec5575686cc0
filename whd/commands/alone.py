"""The daemon's operations without a daemon: the same Engine, in the command's own process."""

from __future__ import annotations

from typing import Any

import uvloop

from ..admin.operations import Admin
from ..engine.engine import open_engine
from ..engine.state import Paths
from .operate import Dialogue, ReturnT


def operate_alone(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    """Does one operation with state/ locked. Raises WhdError."""
    return uvloop.run(_operate(paths, operation, arguments))


def converse_alone(
    paths: Paths,
    operation: str,
    arguments: dict[str, Any],
    dialogue: Dialogue[ReturnT],
) -> ReturnT:
    """Does a dialogue's operations, of which the first was taken from it. Raises WhdError."""
    return uvloop.run(_converse(paths, operation, arguments, dialogue))


async def _converse(
    paths: Paths,
    operation: str,
    arguments: dict[str, Any],
    dialogue: Dialogue[ReturnT],
) -> ReturnT:
    async with open_engine(paths, serves=False) as engine:
        admin = Admin(engine)
        while True:
            result = await admin.dispatch(operation, arguments)
            try:
                operation, arguments = dialogue.send(result)
            except StopIteration as end:
                value: ReturnT = end.value
                return value


async def _operate(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    async with open_engine(paths, serves=False) as engine:
        return await Admin(engine).dispatch(operation, arguments)

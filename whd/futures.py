"""From a callback to something to await: the one bridge for all that answers by calling back.

What is started gets a callback that takes its answer once; an answer that comes after the waiting was cancelled, or a
second one, is dropped. Nothing here does I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def value_of(start: Callable[[Callable[[T], None]], object]) -> T:
    """Awaits the value that the callback is called with."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def answer(value: T) -> None:
        if not future.done():
            future.set_result(value)

    start(answer)
    return await future


async def result_of(start: Callable[[Callable[[Any, Exception | None], None]], object]) -> Any:
    """Awaits a callback of (result, None) or (anything, error); raises the error."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def answer(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    start(answer)
    return await future


async def done_of(start: Callable[[Callable[[Exception | None], None]], object]) -> None:
    """Awaits a callback of None or an error; raises the error."""
    error = await value_of(start)
    if error is not None:
        raise error

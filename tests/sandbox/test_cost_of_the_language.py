"""What the guards cost, printed: handlers as flows against the same text as plain Python. Times are not asserted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from whd.sandbox.compiler import compile_flow
from whd.sandbox.flow_builtins import BUILTINS
from whd.sandbox.names import FLOW_MODULE
from whd.sandbox.running import RUN_NAME

HANDLERS = {
    "a small handler": """
        def handler(system, this, inputs):
            order = inputs['json']
            total = 0
            for item in order['items']:
                total += item['qty'] * item['price']
            name = order['name'].strip().title()
            this.set_output('total', total)
            this.set_output('greeting', 'Hello {}, that is {:.2f}'.format(name, total))
    """,
    "a handler with a class of its own": """
        class Order:
            def __init__(self, items):
                self.items_ordered = items
                self.total_paid = 0
            def add(self):
                for item in self.items_ordered:
                    self.total_paid += item['qty'] * item['price']
                return self.total_paid
        def handler(system, this, inputs):
            order = Order(inputs['json']['items'])
            this.set_output('total', order.add())
            this.set_output('count', len(order.items_ordered))
    """,
    "a loop that writes": """
        class Point:
            def __init__(self):
                self.x = self.y = 0
        def handler(system, this, inputs):
            point, seen = Point(), {}
            for number in range(1000):
                point.x = number
                point.y = point.x + 1
                seen['a'] = point.y
                seen['b'] = number
            this.set_output('x', point.x)
    """,
}
INPUTS = {"json": {"name": " bob", "items": [{"qty": 2, "price": 3}, {"qty": 1, "price": 4.5}]}}
ROUNDS, SECONDS = 15, 0.01


class Outputs(dict[str, Any]):
    """As much of `this` as the handlers need, the same for both."""

    set_output = dict.__setitem__


def _flow(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {
        "__builtins__": BUILTINS,
        "__name__": FLOW_MODULE,
        RUN_NAME: SimpleNamespace(wants_fresh=False),
    }
    exec(compile_flow(source, "flows/x.py").code, namespace)
    return namespace["handler"]  # type: ignore[no-any-return]


def _plain(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["handler"]  # type: ignore[no-any-return]


def _took_us(handler: Callable[..., Any], calls: int) -> float:
    outputs = Outputs()
    begin = time.perf_counter()
    for _ in range(calls):
        handler(None, outputs, INPUTS)
    return 1e6 * (time.perf_counter() - begin) / calls


@pytest.mark.parametrize("source", HANDLERS.values(), ids=HANDLERS)
def test_a_handler_as_a_flow_and_as_plain_python(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Turn about, so that what else the machine does meets both."""
    handlers = {"flow": _flow(dedent(source)), "plain": _plain(dedent(source))}
    came = {name: Outputs() for name in handlers}
    for name, handler in handlers.items():
        handler(None, came[name], INPUTS)
    assert came["flow"] == came["plain"]
    calls = max(1, int(SECONDS * 1e6 / max(1.0, _took_us(handlers["plain"], 10))))
    took_us: dict[str, list[float]] = {name: [] for name in handlers}
    for _ in range(ROUNDS):
        for name, handler in handlers.items():
            took_us[name].append(_took_us(handler, calls))
    flow, plain = (statistics.median(took_us[name]) for name in ("flow", "plain"))
    with capsys.disabled():
        print(f" [{flow:.2f} us, plain {plain:.2f}, {flow / plain:.1f} x]", end="")

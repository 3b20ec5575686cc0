"""Runs in the zygote what every worker will run, so that its forks share what that leaves warm.

A fork shares all memory until it writes, and each page that it writes first is copied: about 2 µs, and some 600 pages
until a first flow sleeps. Many of these writes are caches of the interpreter, which are filled when code runs for the
first times: look-ups of methods, adaptive instructions, interned names. What was filled before the fork is shared.
"""

from __future__ import annotations

import json
import socket

from ..wire.frames import frame, run_start
from .channel import Channel
from .compiler import compile_flow
from .isolation import address_space
from .program import dump_code
from .worker import Worker

# Python 3.11 specialises code at its 8th call, what that calls in turn later; more rounds than this changed nothing.
ROUNDS = 32
_PATH = "flows/x/x.py"
_SOURCE = """
import json


def handler(system, this):
    data = this.get('input_value')['json']
    this.log('number', number=data['number'])
    this.sleep(data['seconds'])
    this.set_output('number', data['number'])
    return this.success('done')
"""
_ABOUT = dict.fromkeys("type name flow_name webhook_name user_name client_name".split(), "x")
_LIMITS = {"max_output_bytes": 10_000, "max_log_bytes": 10_000, "max_calls": 10, "memory_bytes": 1}


def warm_ways() -> None:
    """Loads a flow of our own, and runs it, as a worker does, over a socket of its own. Leaves nothing behind.

    Of the wall's layers only the measuring of memory is run, which changes nothing.
    """
    code = {"op": "code", "hash": "x", "flow": "x", "path": _PATH, "source": _SOURCE}
    code["code"] = dump_code(compile_flow(_SOURCE, _PATH).code)
    context = {"op": "context", "number": 1, "hash": "x", "flow": "x", "about": _ABOUT, "limits": _LIMITS}
    near, far = socket.socketpair()
    with near, far:
        channel = Channel(near)
        worker = Worker(channel, {}, [])
        for number in range(ROUNDS):
            address_space.mapped_bytes(1)
            payload = json.dumps({"json": {"number": number, "seconds": 0.5}}).encode("ascii")
            answer = {"op": "answer", "job": number, "call": 1}
            run = run_start(number, 1, False, 1, 1, "x", "", len(payload)) + payload
            far.sendall(b"".join((frame(code), frame(context), run, frame(answer, b"null"))))
            for _ in (code, context, run):
                worker.serve_one()
            far.recv(65_536)

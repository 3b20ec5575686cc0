"""The zygote of these tests: walled in like the real one, its workers run plain, unrestricted Python.

Started as `python -I far_side.py <project> <descriptor> <config>`. Speaks JSON in packets over the control socket:

  {"do": "run", "source": …}    a worker executes the text; answers {"exit": …, "value": … | "error": …}
  {"do": "hold", "source": …}   the same, then the worker stays; answers its pid inside, with its pidfd attached
  {"do": "reap", "pid": …}      waits for a held worker; answers {"exit": …}
  {"do": "canary"}              answers {"found": […], "ms": …}
  {"do": "measure", "count": n} answers lists of milliseconds
  {"do": "exit", "status": n}   the zygote ends

"seccomp": false in a task runs a worker that stops before bind's filter; everything else of the wall is there.
"""

from __future__ import annotations

# ruff: noqa: F401  (the code that tests send uses these modules)
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

sys.path.insert(0, sys.argv[1])

# What flows need, loaded while there still is a file system; the real zygote does the same.
import _strptime  # type: ignore[import-not-found]  # a module of the interpreter's own, without a stub
import base64
import bisect
import calendar
import collections
import copy
import csv
import ctypes
import dataclasses
import datetime
import decimal
import difflib
import enum
import fractions
import functools
import gc
import hashlib
import heapq
import hmac
import html
import importlib.resources
import ipaddress
import itertools
import math
import random
import re
import resource
import secrets
import signal
import statistics
import string
import struct
import textwrap
import threading
import unicodedata
import urllib.parse
import uuid
import zlib
import zoneinfo
from encodings import ascii, cp1252, idna, latin_1, punycode, utf_8_sig, utf_16

from whd.sandbox.isolation import LayerReport, canary, kernel, layers, wall_worker_bind, wall_worker_start, wall_zygote

hashlib.sha256(b"warm").hexdigest()
hmac.new(b"k", b"v", "sha256").hexdigest()
datetime.datetime.strptime("2026-11-23", "%Y-%m-%d")
VIENNA: zoneinfo.ZoneInfo | None
try:
    VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
except zoneinfo.ZoneInfoNotFoundError:
    VIENNA = None

MEMORY_BYTES = 64 * 1024 * 1024


BUFFERS: list[kernel.Buffer] = []


def at(content: bytes) -> int:
    """The address of these bytes, which stay for as long as the worker."""
    BUFFERS.append(kernel.Buffer(content))
    return BUFFERS[-1].address


def call_through_int_0x80() -> int:
    """i386's getpid by the compatibility entry; the page was made executable before the wall."""
    return int(COMPAT_CALL())


if kernel.MACHINE == "x86_64":
    _page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    _page.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # push rbx; mov eax, 20; int 0x80; pop rbx; ret
    COMPAT_CALL = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(_page)))


def tell(control: socket.socket, answer: dict[str, Any], fds: Iterable[int] = ()) -> None:
    socket.send_fds(control, [json.dumps(answer).encode()], list(fds))


def fork_worker(control: socket.socket, task: dict[str, Any], config: dict[str, Any]) -> tuple[int, socket.socket]:
    """Parent: (pid, our end of its socket). Child: serves and exits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child:
        theirs.close()
        return child, ours
    try:
        control.detach()
        ours.detach()
        config = {**config, **task.get("config", {})}
        reports = wall_worker_start({**config, "socket_fd": theirs.detach()})
        skip = [*config.get("skip", ()), *(() if task.get("seccomp", True) else ("seccomp",))]
        reports += wall_worker_bind(
            task.get("memory_bytes", MEMORY_BYTES), task.get("cpu_s", 5.0), {**config, "skip": skip}
        )
        execute(task["source"], reports)
        if task["do"] == "hold":
            os.read(3, 1)
        os._exit(0)
    finally:
        os._exit(99)


def execute(source: str, reports: list[LayerReport]) -> None:
    scope = dict(globals(), reports=reports, value=None)
    try:
        exec(compile(source, "<worker>", "exec"), scope)
        answer = {"value": scope["value"]}
    except BaseException as error:
        # First gives back what the code took, so that there is memory to answer with.
        error.__traceback__ = None
        scope.clear()
        gc.collect()
        answer = {"error": type(error).__name__, "errno": getattr(error, "errno", None), "text": str(error)}
    os.write(3, json.dumps(answer).encode())


def run(control: socket.socket, task: dict[str, Any], config: dict[str, Any]) -> None:
    child, ours = fork_worker(control, task, config)
    with ours:
        answer = ours.recv(1 << 20)
    _, status = os.waitpid(child, 0)
    tell(control, {"exit": os.waitstatus_to_exitcode(status), **(json.loads(answer) if answer else {})})


HELD: dict[int, socket.socket] = {}


def hold(control: socket.socket, task: dict[str, Any], config: dict[str, Any]) -> None:
    child, ours = fork_worker(control, task, config)
    HELD[child] = ours
    answer = ours.recv(1 << 20)
    pidfd = os.pidfd_open(child)
    tell(control, {"pid": child, **json.loads(answer or b"{}")}, [pidfd])
    os.close(pidfd)


def reap(control: socket.socket, task: dict[str, Any], config: dict[str, Any]) -> None:
    HELD.pop(task["pid"]).close()
    _, status = os.waitpid(task["pid"], 0)
    tell(control, {"exit": os.waitstatus_to_exitcode(status)})


def measure(control: socket.socket, task: dict[str, Any], config: dict[str, Any]) -> None:
    started, bound = [], []
    for _ in range(task["count"]):
        reading, writing = os.pipe()
        begin = time.perf_counter()
        child = os.fork()
        if not child:
            control.detach()
            wall_worker_start({"socket_fd": writing})
            middle = time.perf_counter()
            wall_worker_bind(MEMORY_BYTES, 5.0, {})
            end = time.perf_counter()
            os.write(3, json.dumps([1e3 * (middle - begin), 1e3 * (end - middle)]).encode())
            os._exit(0)
        os.close(writing)
        start_ms, bind_ms = json.loads(os.read(reading, 1000))
        os.close(reading)
        os.waitpid(child, 0)
        started.append(start_ms)
        bound.append(bind_ms)
    tell(control, {"start_ms": started, "bind_ms": bound})


def main() -> None:
    os.dup2(int(sys.argv[2]), 3)
    config = json.loads(sys.argv[3])
    # "lie" names layers that do nothing and report themselves engaged.
    layers.LAYERS = tuple(
        (stage, name, (lambda wall: "") if name in config.get("lie", ()) else layer)
        for stage, name, layer in layers.LAYERS
    )
    reports = wall_zygote(config)
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=3)
    own = os.pidfd_open(os.getpid())
    tell(control, {"pid": os.getpid(), "reports": reports}, [own])
    os.close(own)
    while packet := control.recv(1 << 20):
        task = json.loads(packet)
        if task["do"] == "exit":
            os._exit(task["status"])
        elif task["do"] == "canary":
            begin = time.perf_counter()
            found = canary(config, reports)
            tell(control, {"found": found, "ms": 1e3 * (time.perf_counter() - begin)})
        else:
            {"run": run, "hold": hold, "reap": reap, "measure": measure}[task["do"]](control, task, config)


main()

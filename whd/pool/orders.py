"""What a process is told to run: a job as frames, put together by hand, because each call pays for it.

The other direction, what a process says, is frames.py.
"""

from __future__ import annotations

import functools
import json
import time

from ..executions.record import timestamp
from ..settings.options import Limits
from ..wire import LENGTH
from .compiler import Code
from .job import Job
from .worker import Worker

_BEHIND = '"behind":true,'


def run_frames(job: Job, code: Code, worker: Worker, *, is_behind: bool = False) -> bytes:
    """The frames that run a job: its code, if this process does not have it yet, and the job.

    `is_behind`: it is handed over while another one runs there (wire op `run`).
    """
    # Every part is JSON already.
    head = (
        f'{{"op":"run","job":{job.number},"hash":"{code.key[1]}",{_BEHIND if is_behind else ""}"execution":{{'
        f'{job.about_json},"status":"RUNNING","started_at":"{timestamp(time.time_ns() // 1_000_000)}"}},'
        f'"limits":{_limits_json(job.limits)}}}\n'
    ).encode("ascii")
    payload = b"".join((LENGTH.pack(len(head) + len(job.input_json)), head, job.input_json))
    # By hash and name: two flows of the same text are two flows to their users.
    if code.key not in worker.codes:
        worker.codes.add(code.key)
        payload = code.frame + payload
    return payload


@functools.lru_cache(maxsize=1024)
def _limits_json(limits: Limits) -> str:
    """What the worker itself keeps of the limits."""
    names = ("max_output_bytes", "max_log_bytes", "max_calls", "memory_bytes")
    return json.dumps({name: getattr(limits, name) for name in names}, separators=(",", ":"))

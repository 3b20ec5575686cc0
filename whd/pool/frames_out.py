"""What a process is sent to run: a job as frames, put together by hand, because each call pays for it.

The other direction, what a process says, is frames_in.py.
"""

from __future__ import annotations

import itertools
import json
import time
from json.encoder import encode_basestring_ascii as quote

from ..model.options import Limits
from ..wire.frames import LENGTH, MAX_CONTEXTS, run_start
from .compiler import Code, RunContext
from .job import Job
from .line import Line

_numbers = itertools.count(1)


def hold_run(job: Job, code: Code, line: Line, *, is_behind: bool = False) -> int:
    """Has the process's next write run a job: what it does not know yet of its code and its context, and the job.

    `is_behind`: it is prefetched, another one runs there (wire.frames.RunHead). Returns how many bytes that is.
    """
    # By identity: equal limits are mostly one object, and to compare two costs more than all the rest here.
    context = code.contexts.get((job.about_json, id(job.limits))) or _new_context(job, code)
    input_json = job.input_json
    started_ms = time.time_ns() // 1_000_000
    start = run_start(
        job.number,
        context.number,
        is_behind,
        job.created_ms,
        started_ms,
        job.execution_id,
        job.name,
        len(input_json),
    )
    if context.number not in line.contexts:
        start = _unknown_frames(context, code, line) + start
    worker = line.worker
    worker.hold(start)
    worker.hold(input_json)
    job.frame_bytes = size = len(start) + len(input_json)
    return size


def _unknown_frames(context: RunContext, code: Code, line: Line) -> bytes:
    if len(line.contexts) == MAX_CONTEXTS:
        # The process forgets them all when it gets one more.
        line.contexts.clear()
    line.contexts.add(context.number)
    # By hash and name: two flows of the same text are two flows to their users.
    if code.key in line.codes:
        return context.frame
    line.codes.add(code.key)
    return code.frame + context.frame


def _new_context(job: Job, code: Code) -> RunContext:
    if len(code.contexts) == MAX_CONTEXTS:
        code.contexts.clear()
    number = next(_numbers)
    _client_name, script_hash, flow_name = code.key
    head = (
        f'{{"op":"context","number":{number},"hash":"{script_hash}","flow":{quote(flow_name)},'
        f'"about":{{{job.about_json}}},"limits":{_limits_json(job.limits)}}}'
    ).encode("ascii")
    context = RunContext(number, LENGTH.pack(len(head)) + head, job.limits)
    # It holds the limits, so that no others can get their id.
    code.contexts[job.about_json, id(job.limits)] = context
    return context


def _limits_json(limits: Limits) -> str:
    """What the worker itself keeps of the limits."""
    names = ("max_output_bytes", "max_log_bytes", "max_calls", "memory_bytes")
    return json.dumps({name: getattr(limits, name) for name in names}, separators=(",", ":"))

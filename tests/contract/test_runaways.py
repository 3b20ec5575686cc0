"""A flow that runs away, of each kind: it ends by its limit, which is named with its value, and costs only itself.

How long that took is printed, not asserted: `over` is the time past timeout_s by the record, `took` the whole time, and
`refilled` the time from the answer to the moment at which as many spare processes wait as before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.running import Project, RunningDaemon, running, simple_project, wait_for

TIME: dict[str, Any] = {"timeout_s": 0.4}
CPU: dict[str, Any] = {"cpu_s": 0.3}
SPARE_WORKERS = 2

# Each works without an end until the daemon's clock ends it: lines of a handler.
ENDLESS = {
    "a loop": "while True:\n    pass",
    "a loop that catches everything": "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass",
    "a loop in finally": "while True:\n    try:\n        this.get('id')\n    finally:\n        continue",
    "a sum in C": "sum(range(10 ** 12))",
    "a power in C": "9 ** 9 ** 8",
    "a search in C": "10 ** 12 in iter(range(10 ** 12))",
    "a pattern that backtracks": "re.match('(a+)+$', 'a' * 60 + 'b')",
    "a generator": "def forever():\n    while True:\n        yield 1\nfor _ in forever():\n    pass",
    "a comprehension": "all(True for _ in iter(int, 1))",
    "a key of sorted": "def endless(key):\n    while True:\n        pass\nsorted([2, 1], key=endless)",
}

# Each passes another limit: what is set for its webhook, the lines, what its message has to have.
PAST_A_LIMIT: dict[str, tuple[dict[str, Any], str, str]] = {
    "a sleep": (TIME, "this.sleep(60)", "timeout_s: the execution reached its limit of 0.4 s"),
    "a block of memory": ({"memory_bytes": 16_777_216}, "'x' * 10 ** 9", "memory_bytes: more than 16777216 bytes"),
    "memory, bit by bit": (
        {"memory_bytes": 16_777_216},
        "held = []\nwhile True:\n    held.append([held])",
        "memory_bytes: more than 16777216 bytes",
    ),
    "memory, by doubling": (
        {"memory_bytes": 16_777_216},
        "text = 'x'\nwhile True:\n    text = text + text",
        "memory_bytes: more than 16777216 bytes",
    ),
    "memory, in C": ({"memory_bytes": 16_777_216}, "list(iter(int, 1))", "memory_bytes: more than 16777216 bytes"),
    "memory, caught again and again": (
        {"memory_bytes": 16_777_216, **TIME},
        "while True:\n    try:\n        'x' * 10 ** 9\n    except BaseException:\n        pass",
        "timeout_s: the execution reached its limit of 0.4 s",
    ),
    "recursion": ({}, "def again():\n    return again()\nagain()", "RecursionError"),
    "recursion in an output": (
        {},
        "held = []\nheld.append(held)\nthis.set_output('a', held)",
        "the output is not JSON",
    ),
    "an output that is too large": (
        {"max_output_bytes": 1000},
        "this.set_output('a', 'x' * 2000)",
        "max_output_bytes: the output has 2008 bytes; 1000 are allowed",
    ),
    "an output that is too deep": (
        {},
        "value = 1\nfor _ in range(400):\n    value = [value]\nthis.set_output('a', value)",
        "[0] is nested more than 400 deep",
    ),
    "an integer of too many digits": ({}, "this.set_output('a', 10 ** 5000)", "4300"),
    "a flood of the log": (
        {"max_log_bytes": 10_000},
        "while True:\n    this.log('x' * 100)",
        "max_log_bytes: more than 10000 bytes of log",
    ),
    "a flood of print": (
        {"max_log_bytes": 10_000},
        "while True:\n    print('x')",
        "max_log_bytes: more than 10000 bytes of log",
    ),
    "a flood of requests": (
        {"max_calls": 50},
        "while True:\n    system.setting('app.x').exists()",
        "max_calls: more than 50 requests to the daemon",
    ),
    "children without an end": (
        {"max_children": 3},
        "while True:\n    this.flow('fine')",
        "max_children: more than 3 child executions",
    ),
    "a crash of the interpreter": (
        {"memory_bytes": 268_435_456},
        "chain = iter(())\nfor _ in range(1_000_000):\n    chain = map(str, chain)\nlist(chain)",
        "signal 11 (SIGSEGV: the interpreter crashed)",
    ),
}


def _name(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in kind)


def _source(lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"import re\n\n\ndef handler(system, this):\n{body}    return this.success('it went through')\n"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with all of them, and a second client's flow that has done nothing wrong."""
    project: Project = simple_project(tmp_path_factory.mktemp("runaways"))
    project.options(spare_workers=SPARE_WORKERS, workers=2)
    project.users("bystander", {"kevin": {"flows": ["*"]}})
    project.endpoint("fine", _source("pass"), client="bystander")
    project.endpoint("fine", _source("pass"))
    for kind, lines in ENDLESS.items():
        for limits in (TIME, CPU):
            (limit,) = limits
            name = f"{_name(kind)}-{limit}"
            project.endpoint(name, _source(lines), **limits)
    for kind, (limits, lines, _message) in PAST_A_LIMIT.items():
        project.endpoint(_name(kind), _source(lines), **limits)
    with running(project) as daemon:
        yield daemon


def run_away(daemon: RunningDaemon, name: str, capsys: pytest.CaptureFixture[str], limit_s: float = 0.0) -> Any:
    """The record of a flow that ran away while another client called; prints how long its end took."""
    path = f"/api/webhook/acme/{name}"
    with ThreadPoolExecutor(1) as pool:
        running_away = pool.submit(daemon.post, path, {})
        while not running_away.done():
            assert daemon.post("/api/webhook/bystander/fine", {}).json["message"] == "it went through"
        record = running_away.result().json
    answered = time.monotonic()
    wait_for(lambda: daemon.ask("status")["workers"]["spare"] == SPARE_WORKERS, "as many spare processes as before")
    refilled_ms = 1e3 * (time.monotonic() - answered)
    began, ended = (datetime.fromisoformat(record[at]) for at in ("started_at", "ended_at"))
    with capsys.disabled():
        took_ms = 1e3 * ((ended - began).total_seconds() - limit_s)
        print(f" [{'over' if limit_s else 'took'} {took_ms:.0f} ms, refilled {refilled_ms:.0f}]", end="")
    assert record["status"] == "ENDED_ERROR"
    wait_for(lambda: daemon.ask("status")["executions"]["live"] == 0, "every execution to be over")
    assert daemon.post("/api/webhook/acme/fine", {}).json["message"] == "it went through"
    return record


@pytest.mark.parametrize("limits", [TIME, CPU], ids=["timeout_s", "cpu_s"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_ended_by_the_clock(
    attacked: RunningDaemon, capsys: pytest.CaptureFixture[str], kind: str, limits: dict[str, float]
) -> None:
    ((limit, value),) = limits.items()
    record = run_away(attacked, f"{_name(kind)}-{limit}", capsys, limits.get("timeout_s", 0.0))
    assert record["message"].startswith(f"{limit}: the execution")
    assert f"its limit of {value:g} s" in record["message"]


@pytest.mark.parametrize("kind", PAST_A_LIMIT)
def test_what_passes_a_limit_is_ended_and_the_limit_named(
    attacked: RunningDaemon, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    limits, _lines, message = PAST_A_LIMIT[kind]
    record = run_away(attacked, _name(kind), capsys, limits.get("timeout_s", 0.0))
    assert message in record["message"]

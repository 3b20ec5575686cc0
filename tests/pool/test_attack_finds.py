"""What hostile workers were tried with against the daemon. Assumes that language layer and wall are both broken.

A worker may ruin its own execution and nothing else. Each test says what would prove more: a caller who is left without
an answer, another client who waits, memory that grows past the daemon's own limits, a slot or a process that is lost.
The first part holds the attempts that the daemon withstood, the second those that it did not when they were found.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import Answer, Project, RunningDaemon, Stopwatch, is_alive, simple_project, wait_for

from .hostile import hostile_daemon

PATIENCE_S = 5.0
LONGEST_WAIT_S = 0.8
FINE = "end(message='fine')\n"
BYSTANDER_PATH = "/api/webhook/bystander/fine"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One daemon with hostile workers for the attacks that leave it as it was."""
    project = simple_project(tmp_path_factory.mktemp("attacked"))
    project.users("bystander", {"kevin": {"flows": ["*"]}})
    project.endpoint("fine", FINE, client="bystander")
    for name, (source, _status, _text) in WITHSTOOD.items():
        project.endpoint(_path(name), source)
    with hostile_daemon(project) as daemon:
        yield daemon


@pytest.fixture
def own_project(tmp_path: Path) -> Project:
    """A project for a daemon of the test's own, with a second client that has done nothing wrong."""
    project = simple_project(tmp_path)
    project.users("bystander", {"kevin": {"flows": ["*"]}})
    project.endpoint("fine", FINE, client="bystander")
    return project


def _path(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def rss_bytes(pid: int) -> int:
    """Resident memory, from proc(5)."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def attack(daemon: RunningDaemon, name: str, timeout_s: float = PATIENCE_S) -> Answer | None:
    """Calls acme's webhook; None if its caller is left without an answer."""
    connection = daemon.connect(timeout_s)
    with contextlib.closing(connection):
        try:
            return daemon.post(f"/api/webhook/acme/{name}", {}, connection=connection)
        except TimeoutError:
            return None


@contextlib.contextmanager
def bystander(daemon: RunningDaemon, path: str = BYSTANDER_PATH) -> Iterator[Callable[[], float]]:
    """Somebody else calls all the time; gives a function for the longest wait so far, in seconds.

    Less what the machine's other work explains: what the daemon waited for a CPU, and four turns more of processes,
    which all may come late.
    """
    assert daemon.post(BYSTANDER_PATH, {}).json["message"] == "fine"
    waits: list[float] = [0.0]
    watch = [Stopwatch(daemon.process.pid)]
    overslept: list[float] = [0.0]
    over = threading.Event()

    def call() -> None:
        connection = daemon.connect(60)
        while not over.is_set():
            watch[0] = Stopwatch(daemon.process.pid)
            assert daemon.get(path, connection=connection).status == 200
            waits.append(watch[0].elapsed_s())
            slept = time.monotonic()
            over.wait(0.005)
            overslept.append(time.monotonic() - slept - 0.005)
        connection.close()

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield lambda: max(*waits, watch[0].elapsed_s()) - 4 * max(overslept)
    finally:
        over.set()
        caller.join()


# ---- withstood -------------------------------------------------------------------------------------------------------

BROKEN = "the worker broke its protocol"

# name: (what the worker does, status of the answer, a part of the execution's message or of the answer's body)
WITHSTOOD: dict[str, tuple[str, int, str]] = {
    "no frame but noise": ("raw(b'\\xff' * 1000)", 500, BROKEN),
    "an empty frame": ("raw(bytes(4))", 500, BROKEN),
    "a frame announced past the limit": ("raw(b'\\xff\\xff\\xff\\x7f')", 500, "past the limit"),
    "a head that is no JSON": ("raw(b'\\5\\0\\0\\0{]{]{')", 500, BROKEN),
    "a head that is a list": ("raw(b'\\2\\0\\0\\0[]')", 500, BROKEN),
    "a head nested 100,000 deep": (
        "text = b'[' * 100_000 + b']' * 100_000\nraw(len(text).to_bytes(4, 'little') + text)",
        500,
        BROKEN,
    ),
    "a number of 5,000 digits": (
        "text = b'{\"op\":\"end\",\"job\":' + b'1' * 5_000 + b'}'\nraw(len(text).to_bytes(4, 'little') + text)",
        500,
        BROKEN,
    ),
    "arguments nested 100,000 deep": ("call(1, 'sleep', '[' * 100_000 + ']' * 100_000)", 500, "nested more than"),
    "an unknown op with a line break": ("send({'op': 'x\\nERROR forged', 'job': job})", 500, "unknown op"),
    "an op that is an object": ("send({'op': {}, 'job': job})", 500, BROKEN),
    "a frame for another job": ("send({'op': 'end', 'job': job + 1, 'status': 'ENDED_SUCCESS'}, b'{}')", 500, BROKEN),
    "a late end of an earlier job": (
        "send({'op': 'end', 'job': job - 1, 'status': 'ENDED_SUCCESS', 'message': '', 'took_us': 5}, b'{}')",
        500,
        "a frame of another job",
    ),
    "a call in another's name": (
        "send({'op': 'call', 'job': job, 'call': 1, 'name': 'child.start', 'client': 'bystander', 'user': 'kevin', "
        "'client_name': 'bystander', 'execution': {'client_name': 'bystander'}}, "
        'b\'{"flow": "fine", "client": "bystander", "client_name": "bystander", "user_name": "root"}\')\n'
        "assert receive()[0]['error']['type'] == 'ResourceNotFoundError'\n" + FINE,
        200,
        "fine",
    ),
    "an end, one byte at a time": (
        "import time\n"
        "data = framed({'op': 'end', 'job': job, 'status': 'ENDED_SUCCESS', 'message': 'slow', 'took_us': 5}, b'{}')\n"
        "for number in range(len(data)): raw(data[number:number + 1])\n",
        200,
        "slow",
    ),
    "half a frame and then the end of the process": (
        "import os\nraw(bytes([100, 0, 0, 0]) + b'x' * 50)\nos._exit(0)",
        500,
        "",
    ),
    "a job that is true": ("send({'op': 'end', 'job': True, 'status': 'ENDED_SUCCESS'}, b'{}')", 500, BROKEN),
    "a job that is NaN": ('text = b\'{"op":"end","job":NaN}\'\nraw(bytes([len(text), 0, 0, 0]) + text)', 500, BROKEN),
    "a forged compilation": (
        "send({'op': 'compiled', 'job': job, 'hash': '0' * 64, 'code': 'AAAA', 'warnings': []})",
        500,
        "unknown op",
    ),
    "an end while a call is open": ("call(1, 'sleep', '{\"seconds\": 60}')\nend()", 500, BROKEN),
    "a log while a call is open": (
        "call(1, 'sleep', '{\"seconds\": 60}')\nsend({'op': 'log', 'job': job}, b'[]')",
        500,
        BROKEN,
    ),
    "a status that is a list": ("end(status=['ENDED_SUCCESS'])", 500, BROKEN),
    "a status with half a surrogate pair": ("end(status='\\ud800')", 500, BROKEN),
    "a status that only the daemon gives": ("end(status='ENDED_CANCELLED')", 500, BROKEN),
    "a message with half a surrogate pair": ("end(message='\\ud800')", 200, "?"),
    "a name with half a surrogate pair": ("end(name='\\udfff')", 200, ""),
    "a message of 7 MB": ("end(message='x' * 7_000_000)", 500, BROKEN),
    "a message with line breaks and an escape": ("end(message='a\\nERROR forged\\x1b[31m')", 200, "a\nERROR forged"),
    "an output that is no JSON": ("end(b'{\"a\": nope}')", 500, BROKEN),
    "an output that is NaN": ("end(b'NaN')", 500, BROKEN),
    "an output that is no UTF-8": ("end(b'\"\\xff\"')", 500, BROKEN),
    "an output nested 401 deep": ("end(b'[' * 401 + b']' * 401)", 500, "nested more than"),
    "a log with a line break": ("send({'op': 'log', 'job': job}, b'[]\\n[]')", 500, "line break"),
    "a log without its value": ("send({'op': 'log', 'job': job})", 500, "is missing"),
    "a call without its value": ("send({'op': 'call', 'job': job, 'call': 1, 'name': 'sleep'})", 500, "is missing"),
    "a call with a negative number": ("call(-1, 'sleep', '{}')", 500, BROKEN),
    "a call of half a surrogate pair": (
        "call(1, '\\ud800', '{}')\nassert 'error' in receive()[0]\n" + FINE,
        200,
        "fine",
    ),
    "a header with a line break": (
        "end(response={'status': 200, 'headers': {'a': 'b\\r\\nc: d'}})",
        500,
        "does not allow",
    ),
    "a header name with a space": (
        "end(response={'status': 200, 'headers': {'a b': 'c'}})",
        500,
        "does not allow",
    ),
    "a length of the worker's own": (
        "end(response={'status': 200, 'headers': {'Content-Length': '1'}})",
        500,
        "does not allow",
    ),
    "a status of its own, out of range": ("end(response={'status': 101, 'headers': {}})", 500, BROKEN),
    "a status of its own that is true": ("end(response={'status': True, 'headers': {}})", 500, BROKEN),
    "an output of a negative size": ("end(response={'status': 200, 'headers': {}}, output_bytes=-1)", 500, BROKEN),
    "an output larger than the value": ("end(b'{}', response={'status': 200, 'headers': {}}, output_bytes=9)", 200, ""),
    "a body of its own that is no text": ("end(b'{}', b'\\x80', response={'status': 200, 'headers': {}})", 200, ""),
    "a body where there can be none": ("end(b'{}', b'xyz', response={'status': 304, 'headers': {}})", 304, ""),
    "calls with arguments of all wrong kinds": (
        "for number, (name, text) in enumerate([('sleep', '[]'), ('sleep', '{\"seconds\": \"x\"}'), ('nope', '{}'), "
        "('setting.get', '{\"name\": 7}'), ('setting.get', '{\"name\": \"\\\\ud800\"}'), ('child.wait', '{}'), "
        '(\'child.wait\', \'{"ids": [[]], "return_when": "ALL_ENDED"}\'), (\'execution.get\', \'{"id": "x"}\'), '
        "('execution.cancel', '{\"id\": 1}'), ('child.start', '{\"flow\": \"../fine\"}')]):\n"
        "    call(number, name, text)\n"
        "    assert 'error' in receive()[0], name\n" + FINE,
        200,
        "fine",
    ),
    "other clients' flows as children": (
        "for number, name in enumerate(['bystander/fine', '../bystander/fine', 'fine']):\n"
        "    call(number, 'child.start', '{\"flow\": \"%s\"}' % name)\n"
        "    assert receive()[0]['error']['type'] == 'ResourceNotFoundError', name\n" + FINE,
        200,
        "fine",
    ),
    "inputs of children that are no JSON": (
        "for number, raw in enumerate([b'{', b'NaN', b'\"\\xff\"', b'[' * 300 + b']' * 300, b'[' * 70_000 + b'x']):\n"
        "    call(number, 'child.start', '{\"flow\": \"fine\"}', raw)\n"
        "    assert 'error' in receive()[0], raw[:10]\n" + FINE,
        200,
        "fine",
    ),
    "a request that carries more than there is": (
        "send({'op': 'call', 'job': job, 'call': 1, 'name': 'file.save', 'raw_bytes': 9}, b'{}')",
        500,
        BROKEN,
    ),
    "a request that carries 9 MB": ("call(1, 'file.save', '{\"name\": \"x\"}', bytes(9_000_000))", 500, BROKEN),
    "settings that the user may not read": (
        "for number, name in enumerate(['client.webhook.fine', 'other', 'app.x/../../other']):\n"
        "    call(number, 'setting.get', '{\"name\": \"%s\"}' % name)\n"
        "    assert 'error' in receive()[0], name\n" + FINE,
        200,
        "fine",
    ),
    "the socket closed, the CPU burnt": ("stream.close()\nwhile True: pass", 500, ""),
    "the socket shut down, the CPU burnt": ("stream.shutdown(2)\nwhile True: pass", 500, ""),
    "an end and frames behind it": ("data = framed({'op': 'log', 'job': job}, b'[]')\nend()\nraw(data * 100)", 200, ""),
}


@pytest.mark.parametrize("name", WITHSTOOD)
def test_a_hostile_worker_ruins_only_its_own_execution(attacked: RunningDaemon, name: str) -> None:
    """Proof of more: no answer, a bystander without one, a forged log line, a slot that stays taken."""
    _source, status, text = WITHSTOOD[name]
    answer = attack(attacked, _path(name))
    assert answer is not None, "the caller was left without an answer"
    assert answer.status == status, answer.body
    assert text in (answer.json["message"] if answer.body[:1] == b"{" else answer.body.decode("latin-1"))
    assert attacked.post("/api/webhook/bystander/fine", {}).json["message"] == "fine"
    wait_for(lambda: attacked.ask("status")["executions"]["live"] == 0, "every execution to be over")
    executions = attacked.ask("status")["executions"]
    assert (executions["running"], executions["waiting"]) == (0, 0)
    assert not re.search(r"^ERROR forged", attacked.log, re.MULTILINE)
    assert "Traceback" not in attacked.log


# Sequences of frames, right and wrong ones mixed, some of them damaged, cut in any places.
FUZZ = """
import json, random
choose = random.Random(json.loads(inputs)['json']['seed'])
values = [None, b'', b'{}', b'[]', b'null', b'1e999', b'{"seconds": 0}', b'{"name": "app.x"}', b'[' * 500, b'\\xff']
things = [None, True, -1, 0, 1, job, job + 1, 2 ** 70, '', 'end', 'ENDED_SUCCESS', [], {}, '\\ud800', 1.5]
def member(): return choose.choice(things)
for _ in range(choose.randrange(1, 30)):
    head = {'op': choose.choice(['call', 'log', 'end', 'compiled', 'parsed', 'checked', 'x']), 'job': job}
    head |= {'call': choose.randrange(3), 'name': choose.choice(['sleep', 'setting.get', 'child.start', 'x'])}
    head |= {'status': 'ENDED_SUCCESS', 'message': '', 'took_us': 5}
    for _ in range(choose.choice([0, 0, 0, 1, 2])):
        head[choose.choice([*head, 'limit', 'fresh', 'response', 'output_bytes', 'error'])] = member()
    data = bytearray(framed(head, choose.choice(values)))
    for _ in range(choose.choice([0, 0, 0, 0, 3])):
        data[choose.randrange(len(data))] = choose.randrange(256)
    cut = choose.randrange(len(data) + 1)
    raw(bytes(data[:cut]))
    raw(bytes(data[cut:]))
    if choose.random() < 0.3 and stream.recv(65536) == b'': break
stream.close()
"""
SEEDS = 150


def test_whatever_a_worker_sends_its_caller_is_answered(own_project: Project) -> None:
    """Proof of more: no answer, a defect in the daemon's log, a bystander who waits, a slot that stays taken."""
    path = own_project.endpoint("fuzz", FUZZ, timeout_s=2)
    own_project.options(workers=4)
    with hostile_daemon(own_project) as daemon, bystander(daemon) as longest_wait_s:

        def call(seed: int) -> int:
            status: int = daemon.post(path, {"seed": seed}).status
            return status

        with ThreadPoolExecutor(4) as callers:
            statuses = list(callers.map(call, range(SEEDS)))
        assert set(statuses) <= {200, 500, 504}
        assert 500 in statuses
        assert longest_wait_s() < LONGEST_WAIT_S
        wait_for(lambda: daemon.ask("status")["executions"]["live"] == 0, "every execution to be over")
        # A defect of the daemon is logged as an error; the workers' own tracebacks go to the same place without one.
        assert " ERROR " not in daemon.log


# A liar waits until two more jobs wait in its process, then breaks the protocol and says in the same breath that both
# of them have ended.
ENDS_THOSE_BEHIND = """
import json

if json.loads(inputs)["json"] != {"lies": True}:
    end(message="fine")
else:
    behind = []
    while len(behind) < 2:
        head, value = receive()
        if head["op"] != "run":
            break  # it is taken back already
        behind.append(head["job"])
    text = framed({"op": "nonsense", "job": job})
    for other in behind:
        text += framed({"op": "end", "job": other, "status": "ENDED_SUCCESS", "took_us": 5, "message": "a lie"}, b"{}")
    raw(text)
"""


def test_what_a_process_that_broke_the_protocol_says_of_others_does_not_count(own_project: Project) -> None:
    """It could do nothing in their names before they counted as running: they run in another process, as if anew."""
    own_project.options(workers=1)
    own_project.endpoint("behind", ENDS_THOSE_BEHIND)
    with hostile_daemon(own_project) as daemon, ThreadPoolExecutor() as pool:

        def call(body: dict[str, bool]) -> Answer:
            answer: Answer = daemon.post("/api/webhook/acme/behind", body)
            return answer

        def taken_back() -> int:
            count: int = daemon.ask("status")["workers"]["taken_back"]
            return count

        def lie() -> bool:
            for _ in range(10):
                assert call({}).json["message"] == "fine"
            before = taken_back()
            liar = pool.submit(call, {"lies": True})
            wait_for(lambda: daemon.ask("status")["executions"]["running"] == 1, "the liar to run")
            others = [pool.submit(call, {}) for _ in range(2)]
            assert BROKEN in liar.result().json["message"]
            for other in others:
                record = other.result().json
                assert (record["status"], record["message"], record["attempts"]) == ("ENDED_SUCCESS", "fine", 1)
            return taken_back() == before + 2

        # Not each time do both come in time.
        wait_for(lie, "two to wait behind the liar", 60)


# ---- found: callers left without an answer ---------------------------------------------------------------------------


def test_a_number_that_json_cannot_write_again_still_gets_its_call_answered(own_project: Project) -> None:
    """Proof: the call is never answered; 1e999 is a number in JSON, infinite in Python, and refused on its way out.

    Needs no hostile worker: a caller sends such a payload, another flow of the same user reads that execution.
    """
    source = (
        'call(1, \'execution.get\', \'{"id": "%s", "fields": ["input_value"]}\' % head[\'id\'])\nreceive()\n' + FINE
    )
    path = own_project.endpoint("attack", source)
    with hostile_daemon(own_project) as daemon:
        connection = daemon.connect(PATIENCE_S)
        headers = {"Content-Type": "application/json"}
        with contextlib.closing(connection):
            answer = daemon.request("POST", path, '{"a": 1e999}', headers, connection=connection)
        assert answer.status == 400 or answer.json["message"] == "fine"
        assert "never retrieved" not in daemon.log


# ---- found: other clients wait ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    ['{"op":"end","job":%d,"status":"ENDED_SUCCESS","message":"","took_us":5,"x":', '{"op":"log","job":%d}\n'],
    ids=["in a head", "in a log"],
)
def test_six_million_lists_hold_up_nobody(own_project: Project, head: str) -> None:
    """Proof: a bystander waits while the daemon's loop parses what nothing has bounded yet."""
    source = (
        f"text = ({head!r} % job).encode() + b'[' + b'[],' * 6_000_000 + b'[]]' + (b'}}' if {'x' in head} else b'')\n"
    )
    own_project.endpoint("attack", f"{source}raw(len(text).to_bytes(4, 'little') + text)\nreceive()")
    with hostile_daemon(own_project) as daemon, bystander(daemon) as longest_wait_s:
        attack(daemon, "attack", 20)
        assert longest_wait_s() < LONGEST_WAIT_S


def test_calls_sent_without_waiting_for_answers_break_the_protocol(own_project: Project) -> None:
    """Proof: thousands of calls in one read, all decided in one go while everybody else waits."""
    source = (
        "data = b''.join(framed({'op': 'call', 'job': job, 'call': number, 'name': 'setting.exists'}, "
        'b\'{"name": "app.x"}\') for number in range(1, 3_000))\n'
        "raw(data)\n"
        "for _ in range(1, 3_000): receive()\n" + FINE
    )
    own_project.endpoint("attack", source)
    with hostile_daemon(own_project) as daemon:
        answer = attack(daemon, "attack", 20)
        assert answer is not None
        assert answer.status == 500, "all 2,999 calls were served"


def test_empty_log_frames_are_not_free(own_project: Project) -> None:
    """Proof: hundreds of thousands of frames below every limit, since an empty list counts as two bytes."""
    source = "data = framed({'op': 'log', 'job': job}, b'[]') * 50_000\nfor _ in range(4): raw(data)\n" + FINE
    own_project.endpoint("attack", source)
    with hostile_daemon(own_project) as daemon:
        answer = attack(daemon, "attack", 30)
        assert answer is not None
        assert answer.status == 500, "200,000 log frames were taken"


# What passes a fixed bound: the options that are raised for it, the bound made small, the source, the message.
PAST_A_BOUND = {
    "requests per second": (
        {"max_calls": 10**9},
        {"CALLS_AT_ONCE": 500, "CALLS_PER_S": 10},
        "for number in range(1, 10_000):\n    call(number, 'nothing', '{}')\n    receive()\n",
        "calls_per_s: more than 500 requests to the daemon and 10 for each second",
    ),
    "bytes of requests": (
        {},
        {"CALLS_BYTES": 5_000_000},
        "text = '{\"x\": \"' + 'x' * 1_000_000 + '\"}'\n"
        "for number in range(1, 20):\n    call(number, 'nothing', text)\n    receive()\n",
        "calls_bytes: requests of more than 5000000 bytes to the daemon",
    ),
    "lines of log": (
        {"max_log_bytes": 10**9},
        {},
        "data = framed({'op': 'log', 'job': job}, b'[{}]') * 1_000\nfor _ in range(101): raw(data)\nreceive()\n",
        "log_lines: more than 100000 lines of log",
    ),
}


@pytest.mark.parametrize(("options", "bounds", "source", "message"), PAST_A_BOUND.values(), ids=PAST_A_BOUND)
def test_a_fixed_bound_ends_its_execution_and_is_named(
    own_project: Project, options: dict[str, int], bounds: dict[str, int], source: str, message: str
) -> None:
    """Proof: what an operator's generous options leave open costs the daemon without an end."""
    own_project.options(**options)
    own_project.endpoint("attack", source + FINE)
    with hostile_daemon(own_project, **bounds) as daemon, bystander(daemon) as longest_wait_s:
        answer = attack(daemon, "attack", 30)
        assert answer is not None
        assert (answer.status, answer.json["status"], answer.json["message"]) == (500, "ENDED_ERROR", message)
        assert longest_wait_s() < LONGEST_WAIT_S


FLOODS = {
    "log frames": "framed({'op': 'log', 'job': job}, b'[]')",
    "frames that break the protocol": "framed({'op': 'x', 'job': job})",
    "noise": "b'\\5\\0\\0\\0xxxxx'",
    "ends": "framed({'op': 'end', 'job': job, 'status': 'ENDED_SUCCESS', 'message': '', 'took_us': 5}, b'{}')",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_while_jobs_are_taken_back_holds_up_nobody(own_project: Project, flood: str) -> None:
    """Proof: a bystander waits, a caller gets no answer, or the daemon runs out of stack.

    The worker claims to be short until jobs are handed to it, and then floods: to end it, the daemon takes the jobs
    back, for which it reads what is there, which ends it again, for which it takes the jobs back …
    """
    source = (
        "import json, time\n"
        "if json.loads(inputs)['json']['flood']:\n"
        "    until = time.monotonic() + 3\n"
        f"    data = {flood} * 20_000\n"
        "    while time.monotonic() < until: raw(data)\n" + FINE
    )
    path = own_project.endpoint("attack", source)
    own_project.options(workers=1)
    unanswered = []
    # There is one slot, for which a webhook's caller would wait while the flood is an execution within its bounds.
    with hostile_daemon(own_project) as daemon, bystander(daemon, "/healthz") as longest_wait_s:
        for _ in range(20):
            assert daemon.post(path, {"flood": False}).status == 200

        def call(is_flood: bool) -> None:
            connection = daemon.connect(2 * PATIENCE_S)
            with contextlib.closing(connection):
                try:
                    daemon.post(path, {"flood": is_flood}, connection=connection)
                except TimeoutError:
                    unanswered.append(is_flood)

        for _ in range(2):
            callers = [threading.Thread(target=call, args=(number % 3 == 0,)) for number in range(9)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        assert "RecursionError" not in daemon.log
        assert not unanswered
        assert longest_wait_s() < LONGEST_WAIT_S


# ---- found: memory of the daemon -------------------------------------------------------------------------------------

ROOM_BYTES = 67_108_864
GROWTH_BYTES = 150_000_000


def _small(project: Project) -> None:
    project.options(max_buffered_bytes=ROOM_BYTES, drain_s=1)


def test_answers_that_a_worker_does_not_read_are_not_kept_without_bound(own_project: Project) -> None:
    """Proof: a megabyte more in the daemon for each call of a worker that reads no answer (of 100,000)."""
    own_project.setting("acme", "app.big", "x" * 1_000_000)
    source = (
        "import time\n"
        "for number in range(1, 400):\n"
        "    call(number, 'setting.get', '{\"name\": \"app.big\"}')\n"
        "    time.sleep(0.002)\n"
        "time.sleep(60)\n"
    )
    own_project.endpoint("attack", source)
    _small(own_project)
    with hostile_daemon(own_project) as daemon:
        before = rss_bytes(daemon.process.pid)
        attack(daemon, "attack", 6)
        assert rss_bytes(daemon.process.pid) - before < GROWTH_BYTES


def test_frames_that_are_never_finished_are_counted(own_project: Project) -> None:
    """Proof: memory grows by 49 MB with each execution that only begins a frame, whatever max_buffered_bytes says."""
    source = "raw((50_000_000).to_bytes(4, 'little') + b'x' * 49_000_000)\nimport time\ntime.sleep(60)\n"
    own_project.endpoint("attack", source, isolation="execution")
    own_project.options(max_buffered_bytes=ROOM_BYTES, workers=8)
    with hostile_daemon(own_project) as daemon:
        before = rss_bytes(daemon.process.pid)
        callers = [threading.Thread(target=attack, args=(daemon, "attack", 4)) for _ in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert rss_bytes(daemon.process.pid) - before < GROWTH_BYTES


def test_inputs_of_children_are_counted(own_project: Project) -> None:
    """Proof: 300 MB of waiting payloads where max_buffered_bytes allows 64 MB. Needs no hostile worker."""
    source = (
        "inputs = b'\"' + b'x' * 1_000_000 + b'\"'\n"
        "for number in range(1, 301):\n"
        "    call(number, 'child.start', '{\"flow\": \"child\"}', inputs)\n"
        "    if 'error' in receive()[0]: break\n" + FINE
    )
    own_project.endpoint("child", "receive()")
    own_project.endpoint("attack", source)
    _small(own_project)
    with hostile_daemon(own_project) as daemon:
        before = rss_bytes(daemon.process.pid)
        attack(daemon, "attack", 5)
        assert rss_bytes(daemon.process.pid) - before < GROWTH_BYTES


# ---- found: processes ------------------------------------------------------------------------------------------------


def test_a_process_that_works_while_it_is_idle_is_ended(own_project: Project) -> None:
    """Proof: CPU that nobody is charged for, up to CPU_LIFE_S for each of max_idle_workers processes."""
    own_project.endpoint("attack", "import os\nend(str(os.getpid()).encode())\nwhile True: pass\n")
    with hostile_daemon(own_project) as daemon:
        answer = attack(daemon, "attack")
        assert answer is not None
        pid = answer.json["output_value"]
        wait_for(lambda: not is_alive(pid), "the end of the idle process that burns CPU", 5.0)


def test_a_process_that_does_not_listen_any_more_costs_no_other_execution(own_project: Project) -> None:
    """Proof: the next call of the same user is handed to the deaf process and waits for its timeout_s."""
    own_project.endpoint("attack", "end()\nwhile True: pass\n")
    own_project.endpoint("honest", FINE)
    with hostile_daemon(own_project) as daemon:
        first = attack(daemon, "attack")
        assert first is not None
        time.sleep(0.3)  # the process uses CPU while it should wait; that is what gives it away
        second = attack(daemon, "honest")
        assert second is not None, "the next execution went to the deaf process"
        assert second.json["message"] == "fine"


def test_an_idle_process_cannot_fill_the_daemon_with_half_a_frame(own_project: Project) -> None:
    """Proof: the process lives on, with 49 MB of an unfinished frame held for it."""
    source = (
        "import os, time\nend(str(os.getpid()).encode())\ntime.sleep(0.1)\n"
        "raw((50_000_000).to_bytes(4, 'little') + b'x' * 49_000_000)\ntime.sleep(60)\n"
    )
    own_project.endpoint("attack", source)
    with hostile_daemon(own_project) as daemon:
        answer = attack(daemon, "attack")
        assert answer is not None
        pid = answer.json["output_value"]
        wait_for(lambda: not is_alive(pid), "the end of the idle process that speaks", 5.0)


def test_a_flood_of_refused_calls_does_not_flood_the_log(own_project: Project) -> None:
    """Proof: a traceback in the daemon's log for each call whose argument cannot be written as JSON again."""
    source = (
        "for number in range(1, 300):\n"
        "    call(number, 'execution.save', '{\"output_value\": 1e999}')\n"
        "    receive()\n" + FINE
    )
    own_project.endpoint("attack", source)
    with hostile_daemon(own_project) as daemon:
        attack(daemon, "attack", 20)
        assert daemon.log.count("Traceback") <= 3
        assert os.path.getsize(own_project.folder / "daemon.log") < 100_000


@pytest.mark.parametrize(
    "lines", [b"[1e999]", b"{}", b"nonsense", b"[]\x1e[{}]", b"\xff\xfe", b'["\\ud800"]', b"[" * 5_000]
)
def test_a_log_that_is_no_list_of_lines_can_be_read_all_the_same(own_project: Project, lines: bytes) -> None:
    """Proof: the operator's command fails with a defect, prints what is no line, or prints numbers that JSON lacks."""
    own_project.endpoint("attack", f"send({{'op': 'log', 'job': job}}, {lines!r})\n{FINE}")
    with hostile_daemon(own_project) as daemon:
        answer = attack(daemon, "attack")
        assert answer is not None
        if answer.status == 200:
            shown = daemon.ask("executions.logs", id=answer.json["id"])
            assert all(type(line) is dict for line in shown)
            assert "inf" not in repr(shown)
        assert "Traceback" not in daemon.log

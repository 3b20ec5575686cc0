"""The floors are honest servers: they do the job, refuse a wrong key, stand beside each other and end when told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import uvloop

from bench import answers, floors, machine, targets
from bench.client import Plan, Run


@pytest.fixture(scope="module", params=targets.FLOORS, ids=lambda target: target.name)
def floor(request: pytest.FixtureRequest) -> Iterator[targets.Running]:
    # Starting it verifies it: one right answer, and a wrong key refused with 401 by those that do the job.
    with targets.running(request.param, None) as running:
        yield running


def test_a_floor_answers_the_load_generator_without_an_error(floor: targets.Running) -> None:
    plan = Plan("127.0.0.1", floor.port, targets.PATH, 4, seconds=0.2, warm_s=0.0, check=floor.target.check)
    result = uvloop.run(Run(plan).go())
    assert result["errors"] == {}
    assert result["answered_per_s"] > 20


def test_a_floor_answers_in_the_open_loop_too(floor: targets.Running) -> None:
    plan = Plan("127.0.0.1", floor.port, targets.PATH, 4, 0.2, 0.0, rate=50, check=floor.target.check)
    assert uvloop.run(Run(plan).go())["errors"] == {}


@pytest.mark.parametrize("target", [target for target in targets.FLOORS if target.check == "job"])
def test_floors_that_do_the_job_refuse_what_is_not_json(target: targets.Target) -> None:
    with targets.running(target, None) as floor:
        status, body = targets.ask(floor.port, targets.PATH, b"{")
    assert status == 400
    assert json.loads(body)["code"] == "bad_payload"


def test_the_fixed_answer_is_about_as_long_as_the_jobs() -> None:
    """So that the floors differ in what they do, not in what they send."""
    expected = answers.exchange("127.0.0.1:8080", targets.PATH, 1, 1)
    body = expected.request.partition(b"\r\n\r\n")[2]
    head = b"host: 127.0.0.1:8080\ncontent-type: application/json\ncontent-length: %d" % len(body)
    done = floors.job(head + b"\n\n" + body)
    assert done.startswith(b"200")
    assert answers.fault_in(json.loads(done[3:]), expected, "job") is None
    assert len(floors.FIXED_BODY) == pytest.approx(len(done), rel=0.1)


def test_the_job_takes_the_key_out_of_what_it_gives_back() -> None:
    expected = answers.exchange("127.0.0.1", targets.PATH, 0, 0)
    done = floors.job(b"content-type: application/json\n\n" + expected.request.partition(b"\r\n\r\n")[2])
    assert answers.KEY.encode() not in done


@pytest.mark.parametrize("kind", floors.KINDS)
def test_a_floor_ends_with_its_standard_input_and_leaves_nothing_behind(kind: str) -> None:
    process = subprocess.Popen(
        [sys.executable, str(targets.ROOT / "bench" / "floors.py"), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith(b"127.0.0.1:")
        members = machine.process_tree(process.pid)
        assert len(members) == (2 if kind == "worker" else 1)
        process.stdin.close()
        # The worker holds the other end of this pipe as well: its end of file means that both have gone.
        assert process.stdout.read() == b""
        assert process.wait(10) == 0

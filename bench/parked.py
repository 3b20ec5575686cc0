#!/usr/bin/env python3
"""Measures parked flows: how long until N callers at once, whose flows sleep, are answered, and in how much memory.

For each number of --calls, a daemon of its own is started and asked:
  1. --rounds times: N sync calls at once, each on a connection of its own, of a flow that sleeps --seconds. The figure
     is the time from the first request to the last answer. Between rounds, processes that are idle are ended by the
     daemon itself (max_idle_workers), so that each round begins like the first.
  2. once more with a longer sleep, for the memory: when all are parked, PSS (proc_pid_smaps(5)) of the daemon and of
     every process below it, in all. PSS shares out what processes share, so that it can be added up. It is a round of
     its own, as reading it takes seconds of CPU. As another user than root PSS cannot be read, and is left out.
Every answer is checked. A run in which anything went wrong is not reported: the exit status is 1.

The daemon has all defaults but for max_workers, of which a quarter is kept for children, max_queue, max_connections and
wait_s: they are raised as far as N needs it.
Machines limit open files, processes and memory: N calls take about 3 N files, N processes and 2.5 N MB.

The report goes to standard output as Markdown, and to --json. With BENCH_LOCK=FILE, runs of several people on one
machine take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import machine, runs, targets
from bench.progress import Progress
from bench.runs import BenchError

TITLE = "Parked flows"
MAX_CALLS = 50_000
PATIENCE_S = 120.0
MEMORY_SLEEP_S = 30.0
SPARE_PROCESSES = 64
PATH = "/api/webhook/acme/parked"

FLOW = """\
def handler(system, this):
    data = this.get('input_value')['json']
    this.sleep(data['seconds'])
    this.set_output('number', data['number'])
    return this.success('slept')
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure: numbers of calls, how long each flow sleeps, how often."""

    calls: tuple[int, ...]
    seconds: float
    rounds: int
    memory: bool


# One round -------------------------------------------------------------------------------------------------------


async def _call(port: int, number: int, seconds: float) -> float:
    """One sync call on a connection of its own; gives when its answer was there. Raises BenchError."""
    body = json.dumps({"number": number, "seconds": seconds}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: whd\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        raise BenchError(f"call {number}: not connected: {error}") from None
    try:
        writer.write(head.encode() + body)
        status = (await reader.readline()).decode("latin-1").strip()
        length = -1
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "content-length":
                length = int(value)
        answer = await reader.readexactly(length) if length >= 0 else b""
    except (OSError, asyncio.IncompleteReadError) as error:
        raise BenchError(f"call {number}: no whole answer: {error}") from None
    finally:
        writer.transport.abort()
    at = time.monotonic()
    _check(number, status, answer)
    return at


def _check(number: int, status: str, answer: bytes) -> None:
    """Whether it is the right answer to that call. Raises BenchError."""
    if not status.startswith("HTTP/1.1 200 "):
        raise BenchError(f"call {number}: {status or 'no answer'}: {answer[:300]!r}")
    record: Any = json.loads(answer)
    if record["status"] != "ENDED_SUCCESS" or record["output_value"] != {"number": number}:
        raise BenchError(f"call {number}: wrong answer: {answer[:300]!r}")


async def _all_calls(port: int, calls: int, seconds: float) -> list[float]:
    """Makes all calls at once; the times until each was answered, in seconds, in order."""
    started = time.monotonic()
    async with asyncio.timeout(seconds + PATIENCE_S):
        ended = await asyncio.gather(*(_call(port, number, seconds) for number in range(calls)))
    return sorted(at - started for at in ended)


async def timed_round(port: int, calls: int, seconds: float) -> dict[str, float]:
    """The times until the first, the median and the last answer, in seconds."""
    took = await _all_calls(port, calls, seconds)
    return {"first_s": took[0], "p50_s": statistics.median(took), "last_s": took[-1]}


async def memory_round(port: int, calls: int, pid: int) -> dict[str, int | None]:
    """PSS in bytes while all are parked: in all, of the daemon alone, of the median process below it."""
    waiting = asyncio.ensure_future(_all_calls(port, calls, MEMORY_SLEEP_S + calls / 200))
    try:
        while len(members := machine.process_tree(pid)) < calls and not waiting.done():
            await asyncio.sleep(0.2)
        # Forked is not parked: the last ones still have to be walled in, bound, and to begin to sleep.
        await asyncio.sleep(2.0)
        sizes = await asyncio.to_thread(lambda: [pss_bytes(member) for member in members])
    finally:
        if waiting.done():
            waiting.result()
        waiting.cancel()
    known = [size for size in sizes[1:] if size is not None]
    own = sizes[0]
    if own is None or not known:
        return {"pss_bytes": None, "daemon_bytes": None, "process_bytes": None, "processes": len(members)}
    return {
        "pss_bytes": own + sum(known),
        "daemon_bytes": own,
        "process_bytes": int(statistics.median(known)),
        "processes": len(members),
    }


def pss_bytes(pid: int) -> int | None:
    """A process's share of memory, swap included; None if it cannot be read, or the process has gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(("Pss:", "SwapPss:")))


# A daemon for each number of calls --------------------------------------------------------------------------------


def options_for(calls: int, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Lines of whd.yaml that so many calls at once need; an option of `extra` stands before ours."""
    # A quarter of the processes is kept for child executions.
    max_workers = max(2048, (calls + SPARE_PROCESSES) * 4 // 3 + 1)
    needed = (
        f"max_workers: {max_workers}",
        f"max_queue: {max(1000, calls)}",
        f"max_connections: {calls + 1000}",
        # In the round for the memory, flows sleep longer than callers wait by default.
        f"wait_s: {MEMORY_SLEEP_S + PATIENCE_S:g}",
    )
    return tuple({line.partition(":")[0]: line for line in (*needed, *extra)}.values())


def measure(settings: Settings, progress: Progress, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A row for each number of calls; `options`: lines of whd.yaml. Raises BenchError, targets.TargetError."""
    _raise_file_limit()
    try:
        return [_measure(calls, settings, progress, options) for calls in settings.calls]
    except TimeoutError:
        raise BenchError("not all were answered in time") from None


def _measure(calls: int, settings: Settings, progress: Progress, options: tuple[str, ...]) -> dict[str, Any]:
    rounds: list[dict[str, float]] = []
    memory: dict[str, int | None] = {}
    with runs.turn(), _daemon(calls, options) as server:
        # So that the flow is compiled, as it is but once.
        asyncio.run(_call(server.port, 0, 0))
        for number in range(settings.rounds):
            progress.step(f"{calls} calls, round {number + 1}")
            before = machine.sample(server.pid)
            took = asyncio.run(timed_round(server.port, calls, settings.seconds))
            rounds.append(took | machine.between(before, machine.sample(server.pid)))
            asyncio.run(_wait_until_trimmed(server.pid, calls))
        if settings.memory:
            progress.step(f"{calls} calls, memory")
            memory = asyncio.run(memory_round(server.port, calls, server.pid))
    return {"calls": calls, "rounds": rounds, **memory}


@contextlib.contextmanager
def _daemon(calls: int, options: tuple[str, ...]) -> Iterator[targets.Running]:
    with tempfile.TemporaryDirectory(prefix="whd-bench-") as name:
        folder = Path(name)
        settings = folder / "config" / "acme" / "settings"
        settings.mkdir(parents=True)
        (folder / "config" / "whd.yaml").write_text("".join(f"{line}\n" for line in options_for(calls, options)))
        (folder / "config" / "acme" / "users.yaml").write_text("kevin:\n  flows: [parked]\n")
        (settings / "client.webhook.parked.yaml").write_text("flow_name: parked\nuser_name: kevin\n")
        flow = folder / "flows" / "acme" / "parked.py"
        flow.parent.mkdir(parents=True)
        flow.write_text(FLOW)
        with targets.daemon(folder, None) as server:
            yield server


async def _wait_until_trimmed(pid: int, calls: int) -> None:
    """Waits until the daemon has ended what it does not need any more."""
    deadline = time.monotonic() + PATIENCE_S
    while len(machine.process_tree(pid)) > max(60, calls // 10):
        if time.monotonic() > deadline:
            raise BenchError("processes that were idle were not ended")
        await asyncio.sleep(0.2)


# The report ------------------------------------------------------------------------------------------------------


def markdown(document: dict[str, Any]) -> str:
    """The table."""
    seconds = document["settings"]["seconds"]
    lines = [
        f"# {document['title']}",
        "",
        f"Sync callers at once, each of a flow that sleeps {seconds:g} s. Medians of {document['settings']['rounds']} "
        f"rounds (in brackets: all of them). {document['machine']['cpu']}, {document['machine']['cores']} cores, "
        f"{document['machine']['kernel']}, {document['machine']['python']}; commit {document['commit']['commit']}.",
        "",
        "| callers | first answer s | last answer s | beyond the sleep, ms each | PSS in all | per process |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for row in document["rows"]:
        first = statistics.median(one["first_s"] for one in row["rounds"])
        last = statistics.median(one["last_s"] for one in row["rounds"])
        each = ", ".join(f"{one['last_s']:.1f}" for one in row["rounds"])
        beyond_ms = (last - seconds) / row["calls"] * 1000
        total, process = row.get("pss_bytes"), row.get("process_bytes")
        memory = f"{total / 2**30:.2f} GiB | {process / 2**20:.2f} MiB" if total and process else "- | -"
        lines.append(f"| {row['calls']:,} | {first:.1f} | {last:.1f} ({each}) | {beyond_ms:.2f} | {memory} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="parked.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("--calls", type=runs.whole_numbers, default=(1000,), metavar="N,N,…", help="callers at once (1000)")
    add("--seconds", type=float, default=5.0, metavar="S", help="how long each flow sleeps (5)")
    add("--rounds", type=int, default=3, metavar="N", help="timed rounds (3)")
    add("--no-memory", action="store_true", help="without the round for the memory")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON, with each round's figures")
    return result


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options ask for. Raises ValueError naming the option that cannot be."""
    if not options.calls or not all(1 <= calls <= MAX_CALLS for calls in options.calls):
        raise ValueError(f"--calls: numbers from 1 to {MAX_CALLS}")
    if not 0 <= options.seconds <= 25:
        # Beyond wait_s (30) the callers would be answered before their flows end.
        raise ValueError("--seconds: 0 to 25")
    if not 1 <= options.rounds <= 50:
        raise ValueError("--rounds: 1 to 50")
    return Settings(options.calls, options.seconds, options.rounds, not options.no_memory)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        settings = settings_of(options)
    except ValueError as error:
        command.error(str(error))
    return runs.guarded("parked.py", lambda: _report(settings, options.json))


def _report(settings: Settings, json_file: Path | None) -> int:
    document = {**runs.about(TITLE), "settings": asdict(settings)}
    progress = Progress(len(settings.calls) * (settings.rounds + settings.memory), sys.stderr)
    try:
        document["rows"] = measure(settings, progress)
    finally:
        progress.end()
    print(markdown(document))
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    runs.run_command(main)

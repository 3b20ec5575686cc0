#!/usr/bin/env python3
"""Measures what `isolation: execution` costs a sync call, beside `isolation: user`, in one run of one daemon.

Two webhooks run the same small flow, one in warm processes (user), one in a process of its own for each call
(execution). In each of --rounds rounds both are called --calls times over each number of --connections, kept alive;
each connection sends again as soon as it is answered, and who is first changes from round to round. The figures are
medians over the rounds: elapsed time and CPU of the daemon and all its processes, in microseconds per call, and the
ratio of the two webhooks in each round. Every answer is checked.

The report goes to standard output as Markdown. With BENCH_LOCK=FILE, runs of several people on one machine take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import machine, runs, targets
from bench.progress import Progress
from bench.runs import BenchError

TITLE = "A process for each execution"
ISOLATIONS = ("user", "execution")
PATIENCE_S = 120.0
FLOW = """\
def handler(system, this):
    data = this.get('input_value')['json']
    this.set_output('number', data['number'] + 1)
    return this.success('done')
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one webhook in one round, per call."""

    elapsed_us: float
    cpu_us: float


async def _connection(port: int, isolation: str, calls: int) -> None:
    """So many calls, one after the other, over one connection. Raises BenchError."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(calls):
            body = json.dumps({"number": number}).encode()
            writer.write(
                f"POST /api/webhook/acme/{isolation} HTTP/1.1\r\nHost: whd\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            status = await reader.readline()
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            answer = await reader.readexactly(length)
            if not status.startswith(b"HTTP/1.1 200 ") or json.loads(answer)["output_value"] != {"number": number + 1}:
                raise BenchError(f"{isolation}: wrong answer: {status!r} {answer[:300]!r}")
        writer.close()
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        raise BenchError(f"{isolation}: no whole answer: {error}") from None


async def _all(port: int, isolation: str, connections: int, calls: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(_connection(port, isolation, calls) for _ in range(connections)))


def measured(server: targets.Running, isolation: str, connections: int, calls: int) -> Figures:
    """One webhook over so many connections, `calls` in all."""
    each = max(1, calls // connections)
    before_s, begun = _cpu_s(server.pid), time.perf_counter()
    asyncio.run(_all(server.port, isolation, connections, each))
    elapsed_s = time.perf_counter() - begun
    total = each * connections
    return Figures(1e6 * elapsed_s / total, 1e6 * (_cpu_s(server.pid) - before_s) / total)


def _cpu_s(pid: int) -> float:
    return machine.sample(pid).server_s


# A daemon of two webhooks --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _daemon() -> Iterator[targets.Running]:
    with tempfile.TemporaryDirectory(prefix="whd-bench-") as name:
        folder = Path(name)
        settings = folder / "config" / "acme" / "settings"
        settings.mkdir(parents=True)
        (folder / "config" / "acme" / "users.yaml").write_text("kevin:\n  flows: [small]\n")
        for isolation in ISOLATIONS:
            text = f"flow_name: small\nuser_name: kevin\nisolation: {isolation}\n"
            (settings / f"client.webhook.{isolation}.yaml").write_text(text)
        flow = folder / "flows" / "acme" / "small.py"
        flow.parent.mkdir(parents=True)
        flow.write_text(FLOW)
        with targets.daemon(folder, None) as server:
            yield server


def measure(
    connections: tuple[int, ...], calls: int, rounds: int, progress: Progress
) -> dict[int, list[dict[str, Figures]]]:
    """By number of connections, the figures of each webhook in each round. Raises BenchError, targets.TargetError."""
    found: dict[int, list[dict[str, Figures]]] = {number: [] for number in connections}
    with runs.turn(), _daemon() as server:
        for isolation in ISOLATIONS:
            measured(server, isolation, 1, 50)  # compiled, warm
        for turn in range(rounds):
            for number in connections:
                progress.step(f"round {turn + 1}, connections: {number}")
                order = ISOLATIONS if turn % 2 == 0 else ISOLATIONS[::-1]
                found[number].append({isolation: measured(server, isolation, number, calls) for isolation in order})
    return found


# The report ----------------------------------------------------------------------------------------------------------


def markdown(found: dict[int, list[dict[str, Figures]]]) -> str:
    """The table: a row for each number of connections."""
    about = runs.about(TITLE)
    lines = [
        f"# {TITLE}",
        "",
        f"Medians of {len(next(iter(found.values())))} rounds. {about['machine']['cpu']}, {about['machine']['cores']} "
        f"cores, {about['machine']['python']}; commit {about['commit']['commit']}.",
        "",
        "| connections | user µs | execution µs | ratio | user CPU µs | execution CPU µs | ratio |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for number, turns in found.items():
        cells = [str(number)]
        for field in ("elapsed_us", "cpu_us"):
            pairs = [(getattr(turn["user"], field), getattr(turn["execution"], field)) for turn in turns]
            warm, own = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(one / max(other, 1e-9) for other, one in pairs)
            cells += [f"{warm:.0f}", f"{own:.0f}", f"{ratio:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="isolation.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--connections", type=runs.whole_numbers, default=(1, 8), metavar="N,N,…", help="(1,8)")
    result.add_argument("--calls", type=int, default=2000, metavar="N", help="calls of each webhook in a round (2000)")
    result.add_argument("--rounds", type=int, default=5, metavar="N", help="(5)")
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    if not options.connections or min(options.connections) < 1 or options.calls < 1 or options.rounds < 1:
        command.error("--connections, --calls and --rounds: numbers from 1")
    return runs.guarded("isolation.py", lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    progress = Progress(options.rounds * len(options.connections), sys.stderr)
    try:
        found = measure(options.connections, options.calls, options.rounds, progress)
    except TimeoutError:
        raise BenchError("not all were answered in time") from None
    finally:
        progress.end()
    print(markdown(found))
    return 0


if __name__ == "__main__":
    runs.run_command(main)

#!/usr/bin/env python3
"""Offers load to one HTTP endpoint of the job (bench/answers.py) and measures how it is served; prints a JSON object.

Open loop (--rate): the schedule of arrivals is fixed before the first request; each request's latency is counted from
the time at which it was due, whether or not a connection was free by then. So a server that stalls is charged for
every request that the stall held up (no coordinated omission). If it cannot keep up, the backlog shows as latency and
the result says "saturated".

Closed loop (no --rate): each connection sends its next request when its last one is answered: the most that the server
can do over that many connections. Latency counts from the sending.

Every answer is checked: status, greeting, total, for whd also the id; each hundredth is parsed and checked in full.
With --check accepted the path must ask for async; with --check length the bodies are of --size bytes, and their length
is the answer.
With --heads new each request's head is another one, as a real sender's is: a new request id, delivery and signature;
whd's answer must show this request's own. With --heads repeated the same fields are there and never change.
Errors are counted by kind and make the exit status 1. Run it on another core than the server's (--cpu), or it measures
itself: "generator_cpu" says how busy it was, "send_lag_ms" how late it sent what was due while a connection was free.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import answers, schedule
from bench.client import Plan, Run

MAX_CONNECTIONS = 10_000
MAX_SECONDS = 3_600.0
MAX_REQUESTS = 20_000_000
MAX_SIZE = 1 << 30


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("url", help="http://HOST:PORT/PATH; HOST an IPv4 address; {connection}: each one's number")
    result.add_argument("--connections", type=int, default=64, metavar="N", help="keep-alive connections (64)")
    result.add_argument("--rate", type=float, metavar="R", help="requests per second; without it: closed loop")
    result.add_argument("--seconds", type=float, default=5.0, metavar="S", help="measured time (5)")
    result.add_argument("--warm", type=float, default=0.5, metavar="S", help="load before it, not measured (0.5)")
    result.add_argument(
        "--arrivals", choices=schedule.ARRIVALS, default="poisson", help="spacing of the arrivals (poisson)"
    )
    result.add_argument("--seed", type=int, default=1, help="of the Poisson schedule (1)")
    result.add_argument(
        "--check",
        choices=answers.CHECKS,
        default="execution",
        help="what an answer must be: whd's execution, a floor's job, always the same, a 202, a length (execution)",
    )
    result.add_argument("--script", type=Path, metavar="FILE", help="the flow whose source an execution must show")
    result.add_argument("--timeout", type=float, default=10.0, metavar="S", help="wait for the last answers (10)")
    result.add_argument("--size", type=int, default=1024, metavar="N", help="bytes of a body of --check length (1024)")
    result.add_argument("--kind", choices=answers.KINDS, default="json", help="what such a body is (json)")
    result.add_argument(
        "--heads",
        choices=answers.HEADS,
        default="plain",
        help="without a delivery's id and signature, with the same ones always, with new ones in each (plain)",
    )
    result.add_argument("--cpu", type=int, metavar="N", help="stay on this CPU")
    result.add_argument("--poll", action="store_true", help="never sleep; for a CPU that nothing else uses")
    return result


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for. Raises ValueError naming the option that cannot be."""
    url = urlsplit(options.url)
    if url.scheme != "http" or not url.hostname or url.port is None:
        raise ValueError(f"url: {options.url!r} is not http://HOST:PORT/PATH")
    if not 1 <= options.connections <= MAX_CONNECTIONS:
        raise ValueError(f"--connections: 1 to {MAX_CONNECTIONS}")
    if not 0 < options.seconds + options.warm <= MAX_SECONDS or options.seconds <= 0 or options.warm < 0:
        raise ValueError(f"--seconds, --warm: above 0, together at most {MAX_SECONDS:.0f}")
    if options.rate is not None and not 0 < options.rate * (options.seconds + options.warm) <= MAX_REQUESTS:
        raise ValueError(f"--rate: above 0, and at most {MAX_REQUESTS} requests in the run")
    if not 16 <= options.size <= MAX_SIZE:
        raise ValueError(f"--size: 16 to {MAX_SIZE}")
    return Plan(
        host=url.hostname,
        port=url.port,
        path=(url.path or "/") + ("?" + url.query if url.query else ""),
        connections=options.connections,
        seconds=options.seconds,
        warm_s=options.warm,
        rate=options.rate,
        arrivals=options.arrivals,
        seed=options.seed,
        check=options.check,
        script=options.script.read_text() if options.script else None,
        timeout_s=options.timeout,
        poll=options.poll,
        size=options.size,
        kind=options.kind,
        heads=options.heads,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 with errors in the result or no connection, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        plan = plan_of(options)
        if options.cpu is not None:
            os.sched_setaffinity(0, {options.cpu})
    except (ValueError, OSError) as error:
        command.error(str(error))
    try:
        result = uvloop.run(Run(plan).go())
    except OSError as error:
        print(f"load.py: {options.url}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())

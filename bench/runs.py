"""What all of bench's commands share: their options, one run of the load generator, and how a command ends."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench import client, machine, targets

MAX_ROUNDS = 50


class BenchError(Exception):
    """A run that must not be reported; the text says why."""


# Options ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Common:
    """Options that every command has. `options` are lines of whd.yaml."""

    rounds: int
    seconds: float
    warm_s: float
    pin: bool
    options: tuple[str, ...]
    quick: bool

    @property
    def cpus(self) -> tuple[int, int] | None:
        """The server's and the load's CPU, if they are pinned."""
        return pinned_cpus() if self.pin else None

    @property
    def server_cpus(self) -> set[int] | None:
        """Where a server is started."""
        return None if self.cpus is None else {self.cpus[0]}

    @property
    def load_cpu(self) -> int | None:
        """Where the load generator stays."""
        return None if self.cpus is None else self.cpus[1]


def pinned_cpus() -> tuple[int, int]:
    """The server's and the load's CPU: the first and the last that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def add_common(
    parser: argparse.ArgumentParser, *, rounds: int, seconds: float, warm: float, rounds_name: str = "rounds"
) -> None:
    """Adds the options of Common and those of add_shared; --quick and what it means are the command's own.

    `rounds_name`: what the command calls its rounds.
    """
    add = parser.add_argument
    add(f"--{rounds_name}", dest="rounds", type=int, metavar="N", help=f"interleaved {rounds_name} ({rounds})")
    parser.set_defaults(rounds_name=rounds_name)
    add("--seconds", type=float, metavar="S", help=f"measured time of each run ({seconds:g})")
    add("--warm", type=float, metavar="S", help=f"load before it, not measured ({warm:g})")
    add_shared(parser)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """--pin, --option, --json, --html."""
    add = parser.add_argument
    add("--pin", action="store_true", help="server on the first CPU, load on the last, which it then polls")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of whd.yaml; may be repeated")
    add("--json", type=Path, metavar="FILE", help="write the report as JSON, with each round's figures")
    add("--html", type=Path, metavar="FILE", help="write the report as a page with charts that needs nothing else")


def common_of(options: argparse.Namespace, *, rounds: int, seconds: float, warm: float) -> Common:
    """The options of Common; the arguments stand in for what was not given. Raises ValueError naming the option."""
    common = Common(
        rounds=rounds if options.rounds is None else options.rounds,
        seconds=seconds if options.seconds is None else options.seconds,
        warm_s=warm if options.warm is None else options.warm,
        pin=options.pin,
        options=option_lines(options.option),
        quick=options.quick,
    )
    if not 1 <= common.rounds <= MAX_ROUNDS:
        raise ValueError(f"--{options.rounds_name}: 1 to {MAX_ROUNDS}")
    if not 0.2 <= common.seconds <= 3600 or not 0 <= common.warm_s <= 3600:
        raise ValueError("--seconds, --warm: at least 0.2 s measured, at least 0 s to warm up, at most an hour")
    check_pin(common.pin)
    return common


def option_lines(given: list[str]) -> tuple[str, ...]:
    """--option's values as lines of whd.yaml. Raises ValueError."""
    for option in given:
        if not option.partition("=")[0] or "=" not in option:
            raise ValueError(f"--option: {option!r} is not NAME=VALUE")
    return tuple(option.replace("=", ": ", 1) for option in given)


def whole_numbers(text: str) -> tuple[int, ...]:
    """An option's value of the form N,N,…. Raises ValueError."""
    return tuple(int(part) for part in text.split(",") if part.strip())


def check_pin(pin: bool) -> None:
    """Raises ValueError where there is no second CPU."""
    if pin and len(os.sched_getaffinity(0)) < 2:
        raise ValueError("--pin: needs two CPUs")


# One run of the load generator -------------------------------------------------------------------------------------


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Waits for the machine to be ours, where several agree on a file to lock ($BENCH_LOCK)."""
    name = os.environ.get("BENCH_LOCK")
    if not name:
        yield
        return
    with open(name, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class Load:
    """One run: see load.py. `path`: another one than the target's own."""

    connections: int
    seconds: float
    warm_s: float
    rate: float | None = None
    arrivals: str = "poisson"
    seed: int = 1
    cpu: int | None = None
    poll: bool = True
    path: str = ""
    check: str = ""
    size: int = 0
    kind: str = "json"
    heads: str = "plain"

    def command(self, server: targets.Running) -> list[str]:
        """load.py, and how it is called for this run."""
        url = f"http://127.0.0.1:{server.port}{self.path}" if self.path else server.url
        check = self.check or server.target.check
        command = [machine.python_command(), str(targets.ROOT / "bench" / "load.py"), url]
        command += ["--connections", str(self.connections), "--seconds", str(self.seconds), "--warm", str(self.warm_s)]
        command += ["--check", check, "--arrivals", self.arrivals, "--seed", str(self.seed), "--heads", self.heads]
        if self.rate is not None:
            command += ["--rate", repr(self.rate)]
        if check == "execution" and server.script is not None:
            command += ["--script", str(server.script)]
        if check == "length":
            command += ["--size", str(self.size), "--kind", self.kind]
        if self.cpu is not None:
            command += ["--cpu", str(self.cpu), *(["--poll"] if self.poll else [])]
        return command

    def describe(self, server: targets.Running) -> str:
        """For a message."""
        rate = f", {self.rate:,.0f} requests/s" if self.rate else ""
        return f"{server.target.title}, {self.connections} connections{rate}"


def load(server: targets.Running, plan: Load) -> dict[str, Any]:
    """One run of the load generator against a started target: its result and what the machine did meanwhile.

    Raises BenchError if there was any error in it.
    """
    # The generator bounds itself; this is for the case that it fails to.
    limit_s = plan.warm_s + plan.seconds + client.MAX_DRAIN_S + 60
    with turn():
        before = machine.sample(server.pid)
        try:
            done = subprocess.run(
                plan.command(server), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{plan.describe(server)}: the load generator did not end") from None
        after = machine.sample(server.pid)
    result = read_result(done.stdout, done.stderr, done.returncode, plan.describe(server))
    return result | machine.between(before, after)


def read_result(out: str, error: str, status: int, what: str) -> dict[str, Any]:
    """What load.py printed. Raises BenchError if that is nothing, or if there was an error in the run."""
    if not out:
        raise BenchError(f"{what}: {error.strip() or f'load.py ended with {status}'}")
    result: dict[str, Any] = json.loads(out)
    if result["errors"]:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in result["errors"].items())
        example = f"; the first: {result['error_example']}" if result["error_example"] else ""
        raise BenchError(f"{what}: {kinds}, of {result['checked']} answers{example}")
    if not result["measured"]:
        raise BenchError(f"{what}: no request was measured; longer --seconds would help")
    return result


# The report --------------------------------------------------------------------------------------------------------


def about(title: str) -> dict[str, Any]:
    """What every report begins with."""
    return {
        "title": title,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(targets.ROOT),
        "machine": machine.describe(),
    }


def guarded(name: str, measure: Callable[[], int]) -> int:
    """Runs a command's measuring; a run that must not be reported gives 1 and says why on standard error."""
    try:
        return measure()
    except (BenchError, targets.TargetError) as error:
        print(f"{name}: not reported: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing is reported", file=sys.stderr)
        return 130


def _end(number: int, frame: object) -> NoReturn:
    # As an exception, so that whatever was started is ended on the way out.
    raise SystemExit(128 + number)


def run_command(main: Callable[[], int]) -> NoReturn:
    """The end of a script: SIGTERM ends what was started, too."""
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())

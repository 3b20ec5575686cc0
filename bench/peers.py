#!/usr/bin/env python3
"""Measures whd beside the servers that a user might pick instead, on the same job in the same run.

Peers: workerd, Deno serve, FastAPI on uvicorn (httptools and h11), Node-RED, adnanh/webhook, n8n; and the floor
"h11 + one warm worker". A peer that is not installed is skipped, and the report says why.

    peers.py --install DIR                  # apt, npm, pip; --with-n8n: also n8n (2.3 GB)
    peers.py --home DIR --pin               # where they are: $PEERS_HOME, or ~/.cache/whd-bench-peers

All do the job of bench/answers.py: JSON in, key check, a script, JSON out with input and output; each is verified
before it is measured (right answer, wrong key refused), and every answer is checked while it is measured. What they do
not do and whd does: a wall around the script, a permission check, a record of each call. How it is measured is
sync_wait.py's way: closed loop at each of --connections, then open loop at --rates of each one's own maximum.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:
    # As a script: siblings are found from the project's root, and no file of bench/ hides a standard module.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from bench import machine, peer_install, peer_servers, percentiles, report, runs, sync_wait, targets
from bench.peer_servers import Peer

TITLE = "whd and its peers"
FLOOR = next(target for target in targets.FLOORS if target.name == targets.REFERENCE)

# Long enough for the slowest at 64 connections to answer what was asked after warming up.
QUICK = {"rounds": 1, "seconds": 1.2, "warm": 0.3, "connections": (1, 16, 64), "rates": ()}

# Goals of the table in docs/performance.md: whd's throughput as a ratio to each, at 16 and 64 connections.
LEAST_RATIO = {"worker": 1.6, "node-red": 3.0, "fastapi-httptools": 1.5, "n8n": 100.0, "workerd": 1.0}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="peers.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sync_wait.add_options(result, "whd, worker, workerd, deno, fastapi-httptools, fastapi-h11, node-red, webhook, n8n")
    result.add_argument("--home", type=Path, default=peer_servers.HOME, metavar="DIR", help="where peers are installed")
    result.add_argument("--install", type=Path, metavar="DIR", help="install them there, measure nothing")
    result.add_argument("--with-n8n", action="store_true", help="with --install: n8n too")
    return result


def install(home: Path, *, with_n8n: bool) -> int:
    """--install. Gives the exit status: 1 if something could not be installed."""
    faults = peer_install.install(home, with_n8n=with_n8n, say=lambda text: print(text, file=sys.stderr))
    for fault in faults:
        print(f"peers.py: not installed: {fault}", file=sys.stderr)
    for peer in peer_servers.peers(home):
        print(f"{peer.target.name}: {peer.missing or peer.version or 'installed'}")
    return 1 if faults else 0


def goals(finished: dict[str, Any]) -> list[str]:
    """A line per goal that these targets can show, met or not."""
    lines = []
    for row in finished["closed"]:
        if row["target"] != "whd":
            continue
        for other, least in LEAST_RATIO.items():
            ratio = row["ratio"].get(other, {}).get("answered_per_s")
            if ratio is not None and row["connections"] in (16, 64):
                word = "met" if ratio >= least else "missed"
                lines.append(
                    f"{row['connections']} connections: {ratio:.2f} x {finished['titles'][other]}; "
                    f"goal at least {least:g} x: {word}"
                )
        p50 = row["ratio"].get("workerd", {}).get("p50")
        if row["connections"] == 1 and p50 is not None:
            lines.append(f"1 connection: p50 {p50:.2f} x workerd's; goal at most 0.9 x: {_word(p50 <= 0.9)}")
        p99 = row["ratio"].get("worker", {}).get("p99")
        if row["connections"] == 64 and p99 is not None:
            lines.append(f"64 connections: p99 {p99:.2f} x the floor's; goal at most 1.2 x: {_word(p99 <= 1.2)}")
    return lines


def _word(met: bool) -> str:
    return "met" if met else "missed"


def _versions(chosen: list[Peer], started: dict[str, list[tuple[float, int]]]) -> list[list[str]]:
    by_name = {peer.target.name: peer for peer in chosen}
    lines = []
    for name, samples in started.items():
        peer = by_name.get(name)
        start_s = percentiles.median([seconds for seconds, _ in samples]) or 0.0
        memory = percentiles.median([float(size) for _, size in samples]) or 0.0
        of_peer = [peer.target.title, peer.version or "-", peer.isolation] if peer else _own(name)
        lines.append([*of_peer, f"{start_s * 1e3:,.0f}", f"{memory / 2**20:,.0f}"])
    return lines


def _own(name: str) -> list[str]:
    title = next(target.title for target in targets.TARGETS if target.name == name)
    return [title, "this checkout", "a walled process per user" if name == "whd" else "none"]


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status: 0, 1 for a run that must not be reported, 2 for usage."""
    command = parser()
    options = command.parse_args(arguments)
    if options.install is not None:
        return install(options.install, with_n8n=options.with_n8n)
    known = peer_servers.peers(options.home.absolute())
    asked = {name.strip() for name in options.only.split(",") if name.strip()}
    missing = [peer for peer in known if peer.missing and (not asked or peer.target.name in asked)]
    here = [peer for peer in known if not peer.missing]
    # The ones that are not here have been named; what is left to ask for must be.
    options.only = ",".join(asked - {peer.target.name for peer in missing}) or ("whd" if asked else "")
    try:
        among = [targets.WHD, *(peer.target for peer in here), FLOOR]
        settings = sync_wait.settings_of(options, among, QUICK)
    except ValueError as error:
        command.error(str(error))
    for peer in missing:
        print(f"skipped: {peer.target.title}: {peer.missing}", file=sys.stderr)
    started: dict[str, list[tuple[float, int]]] = {target.name: [] for target in settings.targets}

    def note(servers: list[targets.Running]) -> None:
        for server in servers:
            started[server.target.name].append((server.started_s, machine.memory_bytes(server.pid)))

    def go() -> int:
        beginning = sync_wait.about(settings, TITLE)
        results = sync_wait.measured(settings, note)
        others = [target.name for target in settings.targets if target is not targets.WHD]
        finished = report.build(results, others, beginning)
        finished["others"] = "peer or floor"
        finished["goals"] = goals(finished)
        finished["skipped"] = [f"{peer.target.title}: {peer.missing}" for peer in missing]
        head = ["", "version", "what keeps calls apart", "start-up ms", "PSS MiB, idle"]
        reading = "Start-up: until it is ready, for peers until the first right answer. Memory: all its processes."
        finished["more_tables"] = [["The servers", reading, [head, _versions(here, started)]]]
        sync_wait.write(finished, targets.REFERENCE, options)
        return 0

    return runs.guarded("peers.py", go)


if __name__ == "__main__":
    runs.run_command(main)

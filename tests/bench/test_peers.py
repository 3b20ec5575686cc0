"""bench/peers.py: what is not installed is skipped with the reason; a peer is started, verified and measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import peer_servers, peers, targets

SCRIPT = targets.ROOT / "bench" / "peers.py"
# A peer as peers.py sees it: a command that does the job on $PORT. The floor does it.
STAND_IN = "import os, sys; os.execv(sys.executable, [sys.executable, sys.argv[1], 'worker', os.environ['PORT']])"


def stand_in(folder: Path, port: int) -> targets.Launch:
    floors = str(targets.ROOT / "bench" / "floors.py")
    # A floor ends when its standard input does; the stand-in's is kept open by a pipe of its own.
    code = "import os; r, w = os.pipe(); os.dup2(r, 0); os.set_inheritable(w, True); " + STAND_IN
    return targets.Launch([sys.executable, "-c", code, floors])


def test_without_any_peer_installed_each_is_skipped_with_a_reason(tmp_path: Path) -> None:
    found = peer_servers.peers(tmp_path)
    names = [peer.target.name for peer in found]
    assert names == ["workerd", "deno", "fastapi-httptools", "fastapi-h11", "node-red", "webhook", "n8n"]
    assert all(peer.missing for peer in found if peer.target.name != "webhook")


def test_a_peer_that_is_asked_for_and_missing_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--home", str(tmp_path), "--only", "worker,n8n", "--rounds", "1", "--seconds"]
        + ["0.2", "--warm", "0.1", "--connections", "1", "--rates", ""],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "skipped: n8n: no" in done.stderr
    assert "- skipped: n8n: no" in done.stdout


def test_a_peer_is_measured_beside_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = targets.Target("stand-in", "a stand-in", "job", stand_in)
    monkeypatch.setattr(peer_servers, "peers", lambda home: [peer_servers.Peer(target, "", "1.0", "nothing")])
    out = tmp_path / "r.json"
    options = "--only stand-in,worker --rounds 1 --seconds 0.3 --warm 0.1 --connections 2 --rates".split()
    assert peers.main([*options, "", "--json", str(out), "--html", str(tmp_path / "r.html")]) == 0
    printed = capsys.readouterr().out
    assert "| a stand-in | 1.0 | nothing |" in printed
    report = json.loads(out.read_text())
    assert [row["target"] for row in report["closed"]] == ["stand-in", "worker"]
    assert report["closed"][0]["ratio"]["worker"]["answered_per_s"] > 0
    assert "<svg" in (tmp_path / "r.html").read_text()


# Answers the first request as n8n does while it starts, and then is the stand-in.
STARTING = """
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"]))) as listener:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 11\\r\\nConnection: close\\r\\n\\r\\nstarting up")
"""


def test_a_peer_that_answers_200_before_it_does_the_job_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(folder: Path, port: int) -> targets.Launch:
        python, option, code, *rest = stand_in(folder, port).command
        return targets.Launch([python, option, STARTING + code, *rest])

    target = targets.Target("late", "a late one", "job", launch)
    monkeypatch.setattr(peer_servers, "peers", lambda home: [peer_servers.Peer(target, "")])
    options = "--only late --rounds 1 --seconds 0.2 --warm 0.1 --connections 1 --rates".split()
    assert peers.main([*options, ""]) == 0, capsys.readouterr().err


def test_a_peer_that_ends_at_once_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(folder: Path, port: int) -> targets.Launch:
        return targets.Launch([sys.executable, "-c", "raise SystemExit('no such thing')"])

    target = targets.Target("broken", "a broken one", "job", launch)
    monkeypatch.setattr(peer_servers, "peers", lambda home: [peer_servers.Peer(target, "")])
    assert peers.main(["--only", "broken", "--rounds", "1", "--rates", ""]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "a broken one ended with 1 while starting: no such thing" in err


def test_the_goals_are_told_met_or_missed() -> None:
    ratios = {"worker": {"answered_per_s": 1.2, "p50": 1, "p99": 1}, "node-red": {"answered_per_s": 3.5}}
    row = {"target": "whd", "connections": 16, "ratio": ratios}
    lines = peers.goals({"closed": [row], "titles": {"worker": "the floor", "node-red": "Node-RED"}})
    assert lines == [
        "16 connections: 1.20 x the floor; goal at least 1.6 x: missed",
        "16 connections: 3.50 x Node-RED; goal at least 3 x: met",
    ]

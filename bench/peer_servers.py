"""The servers that a user might pick instead of whd, each doing the job of bench/answers.py. Nothing is measured here.

Their sources are in bench/peer_apps/, where they are installed is peer_install.py's to say. Each runs as one process
(with whatever helpers it starts itself) in the foreground on 127.0.0.1, with its own defaults but for telemetry.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench import answers, machine, targets
from bench.targets import Launch, Target

APPS = targets.ROOT / "bench" / "peer_apps"
HOME = Path(os.environ.get("PEERS_HOME") or Path.home() / ".cache" / "whd-bench-peers")

N8N_START_S = 180.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server and whether it is here. `missing`: why it cannot be measured, "" if it can. `version`: its own word."""

    target: Target
    missing: str
    version: str = ""
    isolation: str = "none"


def peers(home: Path) -> list[Peer]:
    """All peers, installed or not, in the order of the tables."""
    return [_workerd(home), _deno(home), *_fastapi(home), _node_red(home), _webhook(), _n8n(home)]


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip().split("\n")[0]


def _found(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)


def _package_version(folder: Path, name: str) -> str:
    return _said("node", "-p", f"require({str(folder / 'node_modules' / name / 'package.json')!r}).version")


def _copied(name: str, folder: Path, **texts: str) -> Path:
    """A file of peer_apps in `folder`, with each @NAME@ replaced."""
    text = (APPS / name).read_text()
    for place, value in texts.items():
        text = text.replace(f"@{place}@", value)
    copy = folder / name
    copy.write_text(text)
    return copy


def _workerd(home: Path) -> Peer:
    binary = _found(home / "npm" / "node_modules" / "@cloudflare", "workerd-linux-*/bin/workerd")

    def launch(folder: Path, port: int) -> Launch:
        _copied("worker.js", folder)
        config = _copied("workerd.capnp", folder, KEY=answers.KEY)
        return Launch([str(binary), "serve", str(config), "--socket-addr", f"http=127.0.0.1:{port}"])

    target = Target("workerd", "workerd", "job", launch)
    missing = "" if binary else f"no workerd under {home}/npm"
    return Peer(
        target, missing, _said(str(binary), "--version").removeprefix("workerd ") if binary else "", "V8 isolate"
    )


def _deno(home: Path) -> Peer:
    binary = _found(home / "npm" / "node_modules" / "@deno", "linux-*/deno")

    def launch(folder: Path, port: int) -> Launch:
        command = [str(binary), "serve", "--allow-env=HOOK_KEY", "--host", "127.0.0.1", "--port", str(port)]
        quiet = {"DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1"}
        return Launch([*command, str(APPS / "worker.js")], quiet)

    target = Target("deno", "Deno serve", "job", launch)
    version = _said(str(binary), "--version").removeprefix("deno ").split(" ")[0] if binary else ""
    return Peer(target, "" if binary else f"no deno under {home}/npm", version, "none between calls")


def _fastapi(home: Path) -> list[Peer]:
    python = home / "python" / "bin" / "python"
    missing = "" if python.exists() else f"no {python}"
    code = "import importlib.metadata as m; print(m.version('fastapi'), 'on uvicorn', m.version('uvicorn'))"
    version = "" if missing else _said(str(python), "-c", code)

    def launch(http: str, folder: Path, port: int) -> Launch:
        command = [str(python), "-m", "uvicorn", "fastapi_app:app", "--app-dir", str(APPS), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--http", http, "--loop", "uvloop", "--no-access-log"]
        return Launch([*command, "--log-level", "warning"], {"PYTHONDONTWRITEBYTECODE": "1"})

    return [
        Peer(
            Target(f"fastapi-{http}", f"FastAPI, uvicorn, {http}", "job", functools.partial(launch, http)),
            missing,
            version,
        )
        for http in ("httptools", "h11")
    ]


def _node_red(home: Path) -> Peer:
    red = home / "npm" / "node_modules" / "node-red" / "red.js"
    missing = _without_node() or ("" if red.exists() else f"no node-red under {home}/npm")

    def launch(folder: Path, port: int) -> Launch:
        (folder / "flows.json").write_text(_printed_by("node_red.js"))
        settings = _copied("node_red_settings.js", folder)
        return Launch(["node", str(red), "--settings", str(settings), "--userDir", str(folder)])

    version = "" if missing else _package_version(home / "npm", "node-red")
    return Peer(Target("node-red", "Node-RED", "job", launch), missing, version, "a V8 context")


def _webhook() -> Peer:
    def launch(folder: Path, port: int) -> Launch:
        # Its own Python: as lean a start as Python has.
        texts = {"PYTHON": machine.python_command(), "JOB": str(APPS / "job.py"), "KEY": answers.KEY}
        hooks = _copied("hooks.json", folder, **texts)
        return Launch(["webhook", "-ip", "127.0.0.1", "-port", str(port), "-hooks", str(hooks), "-nopanic"])

    missing = "" if shutil.which("webhook") else "no `webhook` on the path"
    version = "" if missing else _said("webhook", "-version").removeprefix("webhook version ")
    target = Target("webhook", "adnanh/webhook + python3", "job", launch, path="/hooks/order")
    return Peer(target, missing, version, "a process per call")


def _n8n(home: Path) -> Peer:
    binary = home / "n8n" / "node_modules" / "n8n" / "bin" / "n8n"
    missing = _without_node() or ("" if binary.exists() else f"no n8n under {home}/n8n (--with-n8n installs it)")

    def launch(folder: Path, port: int) -> Launch:
        environment = {
            "N8N_USER_FOLDER": str(folder),
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_HOST": "127.0.0.1",
            "N8N_PORT": str(port),
            "N8N_RUNNERS_BROKER_PORT": str(targets.free_port()),
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_PERSONALIZATION_ENABLED": "false",
            "N8N_LOG_LEVEL": "warn",
            "NODE_ENV": "production",
        }
        (folder / "workflows.json").write_text(_printed_by("n8n.js"))
        for arguments in (
            ["import:workflow", f"--input={folder / 'workflows.json'}"],
            ["publish:workflow", "--id=whdbenchorder001"],
        ):
            subprocess.run(
                ["node", str(binary), *arguments],
                env={**os.environ, **environment},
                capture_output=True,
                timeout=N8N_START_S,
                check=False,  # what did not work shows in the job's answer
            )
        return Launch(["node", str(binary), "start"], environment)

    target = Target("n8n", "n8n", "job", launch, path="/webhook/order", refusal=500, start_timeout_s=N8N_START_S)
    version = "" if missing else _package_version(home / "n8n", "n8n")
    return Peer(target, missing, version, "a task runner")


def _without_node() -> str:
    return "" if shutil.which("node") else "no `node` on the path"


def _printed_by(name: str) -> str:
    done = subprocess.run(
        ["node", str(APPS / name)],
        env={**os.environ, "HOOK_KEY": answers.KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout

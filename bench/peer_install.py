"""Installs the peers that bench/peers.py measures: by name, from apt, npm and PyPI, into one folder.

    <home>/npm        node_modules with workerd, deno, node-red
    <home>/n8n        node_modules with n8n (2.3 GB, only if asked for)
    <home>/python     a virtual environment with fastapi, uvicorn, httptools

adnanh/webhook is a package of Debian and Ubuntu; apt-get needs root. What cannot be installed is said and left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NPM_PACKAGES = ("workerd", "deno", "node-red")
PYTHON_PACKAGES = ("fastapi", "uvicorn", "uvloop", "h11", "httptools")

# n8n names an archive on a host of its own for this one; the registry's copy does as well.
_N8N_OVERRIDES = {"xlsx": "0.18.5"}
# The last n8n that runs on each generation of Node.js; from 24 on the newest does.
_N8N_OF_NODE = ((24, "n8n"), (20, "n8n@2.8.4"))


def install(home: Path, *, with_n8n: bool = False, say: Callable[[str], None] = print) -> list[str]:
    """Installs what can be; gives a line for each that could not. `home` is made if missing."""
    home.mkdir(parents=True, exist_ok=True)
    faults = []
    steps: list[tuple[str, Callable[[], None]]] = [
        ("workerd, Deno, Node-RED (npm)", lambda: _npm(home / "npm", NPM_PACKAGES)),
        ("FastAPI, uvicorn (pip)", lambda: _python(home / "python")),
        ("adnanh/webhook (apt)", _apt),
    ]
    if with_n8n:
        steps.append(("n8n (npm)", lambda: _n8n(home / "n8n")))
    for what, step in steps:
        say(f"installing {what}")
        try:
            step()
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            faults.append(f"{what}: {_reason(error)}")
    return faults


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        return f"{error.cmd[0]} ended with {error.returncode}" + (f": {lines[-1]}" if lines else "")
    return str(error)


def _run(command: list[str], folder: Path | None = None, **environment: str) -> None:
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )


def node_major() -> int:
    """The generation of the Node.js on the path; 0 without one."""
    if shutil.which("node") is None:
        return 0
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return int(done.stdout.strip().lstrip("v").split(".")[0] or 0) if done.stdout.startswith("v") else 0


def _npm(folder: Path, packages: tuple[str, ...], overrides: dict[str, str] | None = None) -> None:
    if shutil.which("npm") is None:
        raise RuntimeError("there is no npm; Node.js 20 or newer has it")
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": "whd-bench-peers", "private": True, **({"overrides": overrides} if overrides else {})}
    if not (folder / "package.json").exists():
        (folder / "package.json").write_text(json.dumps(about))
    _run(["npm", "install", "--no-audit", "--no-fund", *packages], folder)


def _n8n(folder: Path) -> None:
    major = node_major()
    package = next((name for least, name in _N8N_OF_NODE if major >= least), None)
    if package is None:
        raise RuntimeError("n8n needs Node.js 20 or newer")
    _npm(folder, (package,), _N8N_OVERRIDES)


def _python(folder: Path) -> None:
    if not (folder / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *PYTHON_PACKAGES])


def _apt() -> None:
    if shutil.which("webhook") is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError("`apt-get install webhook` installs it, as root")
    _run(["apt-get", "install", "--yes", "--quiet", "webhook"], DEBIAN_FRONTEND="noninteractive")

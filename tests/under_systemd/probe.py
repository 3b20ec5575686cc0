"""Inside the booted systemd: installs the units as their comments say, uses the service, and writes down what it saw.

Its answer is /run/probe/answer: a JSON object, what `test_under_systemd.py` looks at.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

PROBE = Path("/run/probe")
URL = "http://127.0.0.1:8080/api/webhook/test-client/my-webhook"
WHD = "/opt/whd/bin/whd"
FOLDERS = ["--config", "/etc/whd/config", "--flows", "/etc/whd/flows", "--state", "/var/lib/whd"]


def run(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def call(number: int) -> str:
    data = json.dumps({"key": "my-secret-api-key", "n": number}).encode()
    with urllib.request.urlopen(urllib.request.Request(URL, data), timeout=60) as answer:
        return f"{answer.status} {json.loads(answer.read())['output_value']}"


def statuses() -> list[dict[str, str]]:
    """/proc/<pid>/status of every process of the service's user; those that end meanwhile are left out."""
    found = []
    for pid in run("pgrep", "-u", "whd").split():
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append({name: value.strip() for name, _, value in (line.partition(":") for line in lines)})
    return found


def install() -> None:
    units = {path.name: path.read_text() for path in (PROBE / "units").iterdir()}
    Path("/etc/sysusers.d").mkdir(exist_ok=True)
    Path("/etc/sysusers.d/whd.conf").write_text(units["whd.sysusers"])
    for name in ("whd.service", "whd.socket"):
        Path("/etc/systemd/system", name).write_text(units[name])
    # `whd doctor` under the same directives.
    dropped = ("Restart", "Watchdog", "NotifyAccess", "ExecReload")
    lines = [line for line in units["whd.service"].splitlines() if not line.startswith(dropped)]
    doctor = "\n".join(lines).replace("\nType=notify\n", "\nType=oneshot\nStandardOutput=file:/run/probe/doctor\n")
    start = next(line for line in lines if line.startswith("ExecStart="))
    Path("/etc/systemd/system/doctor.service").write_text(doctor.replace(start, f"ExecStart={WHD} doctor --json"))
    run("systemd-sysusers")
    run("install", "-d", "-o", "root", "-g", "whd", "-m", "2750", "/etc/whd")
    run("cp", "-r", str(PROBE / "config"), str(PROBE / "flows"), "/etc/whd/")
    run("chown", "-R", "root:whd", "/etc/whd")
    run("chmod", "-R", "u=rwX,g=rX,o=", "/etc/whd")
    run("systemctl", "daemon-reload")


def main() -> None:
    install()
    answer: dict[str, object] = {}
    run("systemctl", "start", "whd.socket")
    answer["activated"] = call(1)
    answer["processes"] = statuses()
    answer["status"] = json.loads(run(WHD, "status", "--json", *FOLDERS))
    run("systemctl", "reload", "whd.service")
    answer["reloaded"] = call(2)
    run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "whd.service")
    answer["killed"] = call(3)
    run("systemctl", "stop", "whd.socket", "whd.service")
    answer["stopped"] = run("systemctl", "show", "-p", "Result", "--value", "whd.service").strip()
    run("systemctl", "start", "doctor.service")
    answer["doctor"] = json.loads((PROBE / "doctor").read_text())
    (PROBE / "answer").write_text(json.dumps(answer))


main()

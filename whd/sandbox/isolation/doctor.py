"""What of the wall engages on this host: tried in a throw-away zygote and a worker of it.

A new interpreter, as the real zygote is, so that nothing of the caller changes: not its user, root or descriptors.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .layers import REQUIRABLE, wall_zygote
from .probe import run_in_worker
from .report import LayerReport, summary

_TIMEOUT_S = 20.0
# -I ignores PYTHONPATH and the working directory, so the program itself says where whd lies.
_PROGRAM = """
import os, sys
os.dup2(int(sys.argv[2]), 3)
sys.path.insert(0, sys.argv[1])
from whd.sandbox.isolation.doctor import far_side
far_side()
"""
_WHD_PARENT = Path(__file__).resolve().parents[3]


def doctor() -> list[LayerReport]:
    """One report per name in `layers.REQUIRABLE`. Never raises: what went wrong is each report's reason."""
    # Here and not above: the zygote imports this package too, and has no use for them.
    import socket
    import subprocess

    from ...errors import MORE_PROCESSES, way_out

    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-c", _PROGRAM, str(_WHD_PARENT), str(theirs.fileno())]
    with ours, theirs:
        try:
            process = subprocess.Popen(
                command,
                env={"TZ": os.environ["TZ"]} if "TZ" in os.environ else {},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            reason = f"{sys.executable} cannot be started: {error}{way_out(error)}"
            return [LayerReport(name, False, reason) for name in REQUIRABLE]
        theirs.close()
        try:
            _, complaint = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, complaint = process.communicate()
        ours.setblocking(False)
        try:
            answer = ours.recv(65536)
        except BlockingIOError:
            answer = b""
    if not answer:
        lines = complaint.decode("utf-8", "replace").strip().splitlines() or [f"exit status {process.returncode}"]
        hint = f"; {MORE_PROCESSES}" if lines[-1].startswith("BlockingIOError") else ""
        return [LayerReport(name, False, f"the trial broke off: {lines[-1]}{hint}") for name in REQUIRABLE]
    return [LayerReport(*fields) for fields in json.loads(answer)]


def far_side() -> None:
    """The zygote's side of `doctor`; sends the reports over descriptor 3."""
    reports = wall_zygote({})
    outcome = run_in_worker({}, lambda worker_reports: worker_reports)
    if outcome.answer is not None:
        reports += [LayerReport(*fields) for fields in outcome.answer]
    else:
        reports.append(LayerReport("seccomp", False, f"a walled worker ended with {outcome.exit_code}"))
    os.write(3, json.dumps(summary(reports, REQUIRABLE)).encode("ascii"))

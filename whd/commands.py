"""What each command of `whd` does, and how it prints it.

A command that needs the daemon asks it over the control socket; without a daemon it locks state/ and does the same
operation in its own process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from . import control, daemon, explain, systemd, tables
from .admin import Admin
from .check import check_everything
from .errors import BadPayload, ConfigError, StateError, UsageError
from .payload import decode_strict
from .sandbox.isolation import doctor as sandbox_doctor
from .saved import read_settings
from .service import Paths, Service
from .settings.index import Index
from .settings.model import Webhook
from .settings.options import Options
from .settings.parse import parse_setting, read_webhook
from .settings.places import WEBHOOK_PREFIX
from .timestamps import timestamp

Command = Callable[[Paths, argparse.Namespace], int]

OK, FAULT = 0, 1


def serve(paths: Paths, given: argparse.Namespace) -> int:
    """Serves until a signal."""
    return daemon.serve(paths, tuple(given.listen) if given.listen else None)


def check(paths: Paths, given: argparse.Namespace) -> int:
    """Validates everything, flows compiled included; warnings do not count as faults."""
    checked = uvloop.run(check_everything(paths))
    faults = checked.faults
    if given.json:
        documents = [_fault_document(fault) for fault in faults]
        webhooks = [one.document() for one in checked.webhooks]
        _print_json({"faults": documents, "webhooks": webhooks} if given.verbose else documents)
    else:
        for fault in faults:
            print(fault)
        if given.verbose:
            for one in checked.webhooks:
                print("\n".join(["", *map(tables.printable, explain.in_full(one))]))
        else:
            # Not on standard output, which has a line for each fault and nothing else.
            for line in explain.in_short(checked.webhooks):
                print(tables.printable(line), file=sys.stderr)
        broken = sum(not fault.is_warning for fault in faults)
        summary = f"{tables.count(broken, 'fault')}, {tables.count(len(faults) - broken, 'warning')}"
        print(summary if faults else "no faults", file=sys.stderr)
    return FAULT if any(not fault.is_warning for fault in faults) else OK


def _fault_document(fault: Any) -> dict[str, Any]:
    return {
        "path": fault.path,
        "line": fault.line,
        "field": fault.field,
        "what": fault.what,
        "expected": fault.expected,
        "suggestion": fault.suggestion,
        "is_warning": fault.is_warning,
    }


def run(paths: Paths, given: argparse.Namespace) -> int:
    """Runs one flow and prints its record."""
    arguments = {"client": given.client, "flow": given.flow, "user": given.user, "input": _read_input(given.input)}
    record = _operate(paths, "run", arguments)
    _print_json(record)
    return OK if record["status"] == "ENDED_SUCCESS" else FAULT


def _read_input(text: str) -> Any:
    """JSON from the argument itself, from @FILE or from standard input. Raises UsageError."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return decode_strict(text)
    except OSError as error:
        raise UsageError(f"--input: {error.filename}: {error.strerror}") from None
    except (BadPayload, UnicodeDecodeError) as error:
        raise UsageError(f"--input is not JSON: {str(error).removeprefix('the body is not JSON: ')}") from None


def webhooks(paths: Paths, given: argparse.Namespace) -> int:
    """Lists the endpoints; the daemon, if one runs, only tells where it listens."""
    snapshot = Index(str(paths.config), str(paths.flows), saved=read_settings(paths.state)).load()
    try:
        addresses = control.ask(paths.state, "status", {})["addresses"]
    except StateError:
        addresses = list(snapshot.options.listen)
    base = _base_url(addresses[0]) if addresses else ""
    rows = [
        {
            "client": client.name,
            "webhook": webhook.name,
            "url": f"{base}/api/webhook/{client.name}/{webhook.name}",
            "flow_name": webhook.flow_name if isinstance(webhook, Webhook) else None,
            "user_name": webhook.user_name if isinstance(webhook, Webhook) else None,
            "key_required": bool(webhook.keys) if isinstance(webhook, Webhook) else None,
            "enabled": webhook.enabled if isinstance(webhook, Webhook) else False,
        }
        for _, client in sorted(snapshot.clients.items())
        for _, webhook in sorted(client.webhooks.items())
    ]
    if given.json:
        _print_json(rows)
    else:
        head = ("URL", "FLOW", "USER", "KEY", "STATE")
        cells = [
            (row["url"], row["flow_name"], row["user_name"], row["key_required"], _webhook_state(row)) for row in rows
        ]
        _print_table(head, cells)
    return OK


def _webhook_state(row: dict[str, Any]) -> str:
    """`broken` has no good version and answers 503; `off` has `enabled: false` and answers 404."""
    return "broken" if row["flow_name"] is None else "on" if row["enabled"] else "off"


def _base_url(address: str) -> str:
    return f"http://localhost (over {address})" if address.startswith("unix:") else f"http://{address}"


def executions_list(paths: Paths, given: argparse.Namespace) -> int:
    """The newest executions."""
    names = ("client", "status", "webhook", "limit")
    rows = _operate(paths, "executions.list", {name: getattr(given, name) for name in names})
    if given.json:
        _print_json(rows)
    else:
        cells = [
            (
                row["id"],
                row["client_name"],
                row["webhook_name"] or row["flow_name"],
                row["status"],
                tables.local_time(row["created_at"]),
                tables.duration(row["started_at"], row["ended_at"]),
                tables.shorten(row["message"].strip().rpartition("\n")[2], 60),
            )
            for row in rows
        ]
        _print_table(("ID", "CLIENT", "WEBHOOK", "STATUS", "CREATED", "TOOK", "MESSAGE"), cells)
    return OK


def executions_show(paths: Paths, given: argparse.Namespace) -> int:
    """One record, as JSON for people too: it is what callers get."""
    _print_json(_operate(paths, "executions.show", {"id": given.id}))
    return OK


def executions_logs(paths: Paths, given: argparse.Namespace) -> int:
    """What an execution's flow logged."""
    lines = _operate(paths, "executions.logs", {"id": given.id})
    if given.json:
        _print_json(lines)
    else:
        for line in lines:
            print(_log_text(line))
    return OK


def _log_text(line: Any) -> str:
    """One line: {"at": ms, "args": [...], "fields": {...}} of this.log, or {"at": ms, "text": "..."} of print."""
    if not isinstance(line, dict):
        return str(line)
    parts = [tables.local_time(timestamp(line["at"])) if isinstance(line.get("at"), int) else "-"]
    parts += [value if isinstance(value, str) else json.dumps(value) for value in line.get("args", [])]
    parts += [f"{name}={json.dumps(value)}" for name, value in line.get("fields", {}).items()]
    if "text" in line:
        parts.append(str(line["text"]))
    return tables.printable(" ".join(parts))


def executions_replay(paths: Paths, given: argparse.Namespace) -> int:
    """Runs an execution's input again; without a daemon, waits for it here."""
    record = _operate(paths, "executions.replay", {"id": given.id}, alone={"wait": True})
    if given.json:
        _print_json(record)
    else:
        print(record["id"])
    return OK


def executions_cancel(paths: Paths, given: argparse.Namespace) -> int:
    """Ends an execution that runs."""
    record = _operate(paths, "executions.cancel", {"id": given.id})
    if given.json:
        _print_json(record)
    else:
        print(f"{record['id']} {record['status']}")
    return OK


def settings_list(paths: Paths, given: argparse.Namespace) -> int:
    """Every setting, and where its value comes from."""
    rows = _operate(paths, "settings.list", {"client": given.client})
    if given.json:
        _print_json(rows)
    else:
        cells = [
            (row["client"], row["name"], row["source"], tables.shorten(_as_json(row["value"]), 60)) for row in rows
        ]
        _print_table(("CLIENT", "NAME", "FROM", "VALUE"), cells)
    return OK


def settings_show(paths: Paths, given: argparse.Namespace) -> int:
    """One setting."""
    _print_setting(_operate(paths, "settings.show", {"client": given.client, "name": given.name}), given)
    return OK


def settings_set(paths: Paths, given: argparse.Namespace) -> int:
    """Saves a value, which stands before the file of that name."""
    arguments = {"client": given.client, "name": given.name, "value": _read_setting(given.name, given.value)}
    row = _operate(paths, "settings.set", arguments)
    _print_setting(row, given)
    if row["hides"] and not given.json:
        print(f"this value stands before {row['hides']}, until `whd settings unset {given.name}`", file=sys.stderr)
    return OK


def settings_unset(paths: Paths, given: argparse.Namespace) -> int:
    """Deletes a saved value; the file of that name, if there is one, stands again."""
    row = _operate(paths, "settings.unset", {"client": given.client, "name": given.name})
    if given.json:
        _print_json(row)
    else:
        print(f"{given.name}: " + ("gone" if row is None else f"now from {row['source']}"))
    return OK


def _read_setting(name: str, text: str) -> Any:
    """A setting's value from YAML or JSON, as a file would be read. Raises ConfigError with all that is wrong."""
    path = "VALUE"
    try:
        data: bytes | str = text
        if text == "-":
            path, data = "standard input", sys.stdin.buffer.read()
        elif text.startswith("@"):
            path = text[1:]
            data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    # A webhook's text may hold its key: it goes through the reader that repeats nothing.
    is_webhook = name.startswith(WEBHOOK_PREFIX)
    read, faults = read_webhook(data, path, "", name) if is_webhook else parse_setting(data, path, name)
    if read is None:
        raise ConfigError("\n".join(str(fault) for fault in faults))
    return read.value


def _print_setting(row: dict[str, Any], given: argparse.Namespace) -> None:
    if given.json:
        _print_json(row)
        return
    origin = f"{row['source']} at {row['saved_at']}" if row["saved_at"] else f"from {row['source']}"
    print(f"{row['client']}: {row['name']}, {origin}")
    print(json.dumps(row["value"], indent=2))


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def status(paths: Paths, given: argparse.Namespace) -> int:
    """What the daemon says of itself."""
    document = control.ask(paths.state, "status", {})
    if given.json:
        _print_json(document)
        return OK
    executions, workers = document["executions"], document["workers"]
    lines = [
        f"whd {document['version']}, pid {document['pid']}, {document['state']} for {document['uptime_s']} s",
        f"listens on {', '.join(document['addresses'])}, {_fronts(document['processes'])}",
        f"{tables.count(document['clients'], 'client')}, {tables.count(document['webhooks'], 'webhook')}, "
        f"settings snapshot {document['snapshot']}",
        f"executions: {executions['running']} running on {executions['places']} places, "
        f"{executions['waiting']} waiting, {executions['started']} started",
        f"refused: {document['refused_calls']} requests of flows, by permission",
        f"workers: {workers['total']} ({workers['idle']} idle, {workers['spare']} spare), {workers['forked']} forked",
        f"store: {document['store']['written']} written, {document['store']['waiting']} waiting, "
        f"{document['store']['file_bytes'] / 1_048_576:.1f} MiB",
    ]
    lines += [_front_line(front) for front in document.get("fronts", [])]
    lines += [f"sandbox: {layer['name']} is missing: {layer['reason']}" for layer in _missing(document["sandbox"])]
    lines += [f"fault: {document['store']['fault']}"] if document["store"]["fault"] else []
    lines += [f"fault: {fault}" for fault in document["faults"]]
    print("\n".join(lines))
    return OK


def _fronts(processes: int) -> str:
    return "1 front process" if processes == 1 else f"{processes} front processes"


def _front_line(front: dict[str, Any]) -> str:
    state = front["state"] + ("" if front["answers"] else " but does not answer")
    executions = front["executions"]
    return (
        f"front {front['number']}: {state}, pid {front['pid']}, {front['connections']} connections, "
        f"{executions['running']} running, {executions['waiting']} waiting"
    )


def _missing(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [layer for layer in layers if not layer["engaged"]]


def doctor(paths: Paths, given: argparse.Namespace) -> int:
    """Tries every isolation layer on this host; fails when one that is required does not engage."""
    reports = sandbox_doctor()
    required = _required_layers(paths)
    if given.json:
        _print_json([{**report._asdict(), "required": report.name in required} for report in reports])
    else:
        rows = [
            (
                report.name,
                "engaged" if report.engaged else "missing",
                report.name in required,
                report.reason,
            )
            for report in reports
        ]
        _print_table(("LAYER", "STATE", "REQUIRED", "WHY NOT"), rows)
    return FAULT if any(report.name in required and not report.engaged for report in reports) else OK


def _required_layers(paths: Paths) -> tuple[str, ...]:
    if not paths.config.is_dir():
        return Options().sandbox_require
    return Index(str(paths.config), str(paths.flows)).load().options.sandbox_require


def units(paths: Paths, given: argparse.Namespace) -> int:
    """Prints the systemd units, each under a comment with the file that it belongs in."""
    command = _own_command()
    texts = systemd.unit_texts(command)
    if directive := systemd.hides(command):
        print(
            f"whd: warning: the service cannot run {command}: {directive} hides it; install whd elsewhere, "
            "as in python3 -m venv /opt/whd && /opt/whd/bin/pip install .",
            file=sys.stderr,
        )
    if given.json:
        _print_json(texts)
    else:
        for name, text in texts.items():
            print(f"# ---- {name} ----\n{text}")
    return OK


def _own_command() -> str:
    """The absolute path of the `whd` that runs now: another one may come first on PATH."""
    own = os.path.abspath(sys.argv[0])
    return own if os.path.basename(own) == "whd" else shutil.which("whd") or own


def _operate(paths: Paths, operation: str, arguments: dict[str, Any], *, alone: dict[str, Any] | None = None) -> Any:
    """Asks the daemon, or does it here when none runs. `alone`: arguments for the latter only. Raises WhdError."""
    # os.path and not Path: a folder that is closed to us is told by StateLock, which knows what to do about it.
    if os.path.exists(paths.state / control.SOCKET_NAME):
        try:
            return control.ask(paths.state, operation, arguments)
        except StateError:
            pass  # left by a daemon that was killed: state/ is free, or the lock says by whom it is held
    return uvloop.run(_operate_alone(paths, operation, {**arguments, **(alone or {})}))


async def _operate_alone(paths: Paths, operation: str, arguments: dict[str, Any]) -> Any:
    service = Service(asyncio.get_running_loop(), paths, serves=False)
    try:
        await service.start()
        return await Admin(service).dispatch(operation, arguments)
    finally:
        await service.close()


def _print_json(document: Any) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Half of a surrogate pair, which a caller may send as an escape, can only be shown as one.
        text = json.dumps(document, indent=2)
    print(text, flush=True)


def _print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    print(tables.table(head, rows, colour=tables.is_colourful(sys.stdout)))

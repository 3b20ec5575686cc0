"""The daemon's log: one line per event on standard error, as text, JSON or for the journal.

What never gets here needs no redaction: a line may name clients, webhooks, flows, users and ids, never a request's
query, header or body, and an exception's text only where whd itself made it. No filter would hide a slip of that rule.

For the journal a line starts with its level, `<6>` (sd-daemon(3)), in place of the native protocol
(systemd.journal-fields(7)): the same line then also works behind a pipe, through `systemd-cat` and in a container; it
keeps its place among what Python itself or a dying process prints to the same stream; and no second socket and no memfd
for long messages must be let through the hardening around the daemon. Fields stand in the line as `name=value`.

The line is formatted where it is logged and written by a thread: a terminal that was stopped with ^S or a journal
that hangs must not stop the loop. What such a stream does not take is dropped and counted, never waited for.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Any

from .terminal import escape, escape_json

# Lines that a stream which takes nothing may leave in memory.
MAX_WAITING = 10_000
CLOSE_S = 1.0

_ROOT = "whd"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# sd-daemon(3), SD_WARNING and so on: the levels of syslog(3).
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_COLOURS = ((logging.ERROR, "\x1b[31m"), (logging.WARNING, "\x1b[33m"), (logging.INFO, ""), (0, "\x1b[2m"))
_RESET = "\x1b[0m"

_BARE = re.compile(r"[^\s\"=]+\Z")


class TextFormatter(logging.Formatter):
    """2026-11-23T07:18:00.123Z WARNING whd.pool: a worker ended client=acme status=9"""

    def __init__(self, *, has_colour: bool = False) -> None:
        super().__init__()
        self._has_colour = has_colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        line = f"{_moment(record.created)} {record.levelname:<7} {_text(record)}"
        if not self._has_colour:
            return line
        colour = _by_level(_COLOURS, record.levelno)
        return f"{colour}{line}{_RESET}" if colour else line


class JournalFormatter(logging.Formatter):
    """<4>whd.pool: a worker ended client=acme status=9; the journal has a clock of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        return f"<{_by_level(_PRIORITIES, record.levelno)}>{_text(record)}"


class JsonFormatter(logging.Formatter):
    """{"time": …, "level": "warning", "logger": "whd.pool", "message": …, and the event's own fields}"""

    def format(self, record: logging.LogRecord) -> str:
        """One line of printable ASCII, without its end; JSON escapes whatever is not."""
        members: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(record)
        if trace:
            members["traceback"] = trace
        members.update({name: value for name, value in _fields(record).items() if name not in members})
        return escape_json(json.dumps(members, default=str))


class CommandFormatter(logging.Formatter):
    """whd: what happened. For the person who typed a command and knows when that was."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        return f"whd: {escape(record.getMessage())}"


class StreamHandler(logging.Handler):
    """Hands lines to a thread that writes them to a descriptor; never waits and never raises."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        self._has_lines = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._is_closing = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="whd-log", daemon=True)
        self._thread.start()
        # From here on the interpreter's end calls close(): only if the thread could be started.
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        """Formats and queues; about 10 µs. The lock of logging.Handler is held by the caller."""
        try:
            line = self.format(record)
        except Exception as error:
            # A wrong %-argument somewhere must not end the request in which it stands.
            line = _own_line("ERROR", f"{record.name}:{record.lineno} cannot be formatted: {error!r}")
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        self._lines.append(line)
        self._is_idle.clear()
        self._has_lines.set()

    def flush(self) -> None:
        """Waits until all is written, at most a second."""
        self._is_idle.wait(CLOSE_S)

    def close(self) -> None:
        """Writes what is queued, within a second, and ends the thread."""
        self._is_closing = True
        self._has_lines.set()
        self._thread.join(CLOSE_S)
        super().close()

    def _run(self) -> None:
        while True:
            self._has_lines.wait()
            self._has_lines.clear()
            while self._lines:
                # One write for all that gathered; other threads may go on adding at the other end.
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), 256))]
                if dropped := self._count_dropped(0):
                    lines.append(_own_line("WARNING", f"{dropped} lines were dropped: nobody reads the log"))
                if not self._write("".join(f"{line}\n" for line in lines).encode("utf-8", "replace")):
                    self._count_dropped(dropped + len(lines))
            self._is_idle.set()
            if self._lines:
                # A line came between the last look and `set`.
                self._is_idle.clear()
                self._has_lines.set()
            elif self._is_closing:
                return

    def _count_dropped(self, count: int) -> int:
        """How many lines were dropped so far; sets the number to `count`."""
        self.acquire()  # the lock under which `emit` counts
        try:
            dropped, self.dropped = self.dropped, count
        finally:
            self.release()
        return dropped

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # Somebody made the stream non-blocking (a shared terminal); wait until it has room, poll(2).
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll(100)
            except OSError:
                # Nobody reads, or the disk is full. The next line that is taken says so.
                return False
        return True


class Log:
    """The configured log. `reconfigure` is live; `close` restores nothing but writes what is left."""

    def __init__(self, handler: StreamHandler, descriptor: int, environ: Mapping[str, str]) -> None:
        self._handler = handler
        self._descriptor = descriptor
        self._environ = environ

    def reconfigure(self, *, level: str, format: str) -> None:
        """Level (debug, info, warning, error) and format (auto, text, json, journal) from now on."""
        name = chosen_format(format, self._descriptor, self._environ)
        formatter: logging.Formatter
        if name == "json":
            formatter = JsonFormatter()
        elif name == "journal":
            formatter = JournalFormatter()
        else:
            formatter = TextFormatter(has_colour=_has_colour(self._descriptor, self._environ))
        self._handler.setFormatter(formatter)
        number = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger(_ROOT).setLevel(number)
        # asyncio and others: what is wrong, not what they are busy with.
        logging.getLogger().setLevel(max(number, logging.WARNING))

    @property
    def dropped(self) -> int:
        """Lines that could not be written and were not announced yet."""
        return self._handler.dropped

    def close(self) -> None:
        """Takes the handler away and writes what is queued, within a second."""
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()


def configure(
    *, level: str = "info", format: str = "auto", stream: IO[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Log:
    """Sends everything that Python's logging gets to `stream` (standard error). The caller closes the Log."""
    descriptor = (stream or sys.stderr).fileno()
    handler = StreamHandler(descriptor)
    log = Log(handler, descriptor, environ)
    log.reconfigure(level=level, format=format)
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    return log


def chosen_format(format: str, descriptor: int, environ: Mapping[str, str]) -> str:
    """`auto` made definite: journal if the descriptor is the journal's own, else text."""
    if format != "auto":
        return format
    return "journal" if is_journal(descriptor, environ) else "text"


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether a descriptor leads to the journal, as systemd.exec(5) has it under $JOURNAL_STREAM.

    The variable alone proves nothing: it is inherited by what the service starts with another standard error.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    if not (device.isdecimal() and inode.isdecimal()):
        return False
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (int(device), int(inode))


def _has_colour(descriptor: int, environ: Mapping[str, str]) -> bool:
    # https://no-color.org: any value but the empty one.
    return os.isatty(descriptor) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _moment(seconds: float) -> str:
    milliseconds = int(seconds * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03d}Z"


def _text(record: logging.LogRecord) -> str:
    parts = [f"{record.name}: {escape(record.getMessage())}"]
    parts += [f"{name}={_value(value)}" for name, value in _fields(record).items()]
    trace = _trace(record)
    if trace:
        parts.append(f"traceback={_value(trace)}")
    return " ".join(parts)


def _own_line(level: str, text: str) -> str:
    return f"{_moment(time.time())} {level:<7} {__name__}: {escape(text)}"


def _value(value: object) -> str:
    text = escape(str(value))
    return text if _BARE.match(text) else '"' + text.replace('"', '\\"') + '"'


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """An event's own fields: those that were given as `extra=`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _trace(record: logging.LogRecord) -> str:
    if record.exc_info:
        return logging.Formatter().formatException(record.exc_info)
    return record.stack_info or ""


def _by_level(table: tuple[tuple[int, Any], ...], level: int) -> Any:
    return next(value for least, value in table if level >= least)

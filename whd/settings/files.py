"""One file from the disk: whether it can be read, its bytes, and what to parse them with.

No entry of the tree may do harm: pipes and devices are not opened, sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any, Final

from ..model.snapshot import Fault, Setting
from .parse import Faults, parse_flow, parse_module, parse_options, parse_setting, parse_users
from .rights import Rights, way_to_read
from .tree import WEBHOOK_PREFIX, FileKind, TreeEntry, displayed
from .webhooks import WEBHOOK_FIELDS, WebhookSource, read_webhook

MAX_FILE_BYTES: Final = 4_194_304

# open(2): errors that pass without anything announcing that they did.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EINTR, errno.ESTALE, errno.EAGAIN})

Signature = tuple[int, ...]
_MTIME_NS: Final = 5


class Unreadable(Exception):
    """A file that is there and cannot be read. `is_passing`: a later look may find it readable."""

    def __init__(self, path: str, what: str, expected: str, *, is_link: bool = False, is_passing: bool = False) -> None:
        super().__init__(what)
        self.fault = Fault(displayed(path), 0, "", what, expected)
        self.is_link = is_link
        self.is_passing = is_passing


class Reading:
    """A file's bytes on their way to a value. `parse` fills in `value` and `faults`; it may run in any thread.

    `rights`: what is wrong with who may read the file; `is_torn`: it changed between the look at it and the end of
    reading, so the bytes mean nothing.
    """

    __slots__ = ("data", "entry", "faults", "is_torn", "rights", "signature", "value")

    def __init__(
        self, entry: TreeEntry, data: bytes, signature: Signature, rights: Rights, *, is_torn: bool = False
    ) -> None:
        self.entry = entry
        self.data = data
        self.signature = signature
        self.rights = rights
        self.is_torn = is_torn
        self.value: Any = None
        self.faults: Faults = ()

    @property
    def modified_ms(self) -> int:
        """When the file was written, since 1970."""
        return self.signature[_MTIME_NS] // 1_000_000

    def parse(self, *, salvage: bool = False) -> None:
        """Decides what the bytes mean. Raises nothing for what they hold.

        `salvage`: of a file with faults `value` is what can be read of it, for checks of others. Never to be served.
        """
        entry, path = self.entry, self.entry.path
        self.value, self.faults = _PARSERS[entry.kind](self.data, path, entry, self.modified_ms, salvage)
        self.data = b""
        if warning := entry.warning or _webhook_in_disguise(self.value):
            self.faults = (*self.faults, warning)
        source = self.value
        if isinstance(source, WebhookSource) and self.rights.way_to_close:
            for field, line in source.secrets:
                what = f"the file holds a {WEBHOOK_FIELDS[field].noun}, and every user of this machine can read it"
                warning = Fault(path, line, field, what, self.rights.way_to_close, is_warning=True)
                self.faults = (*self.faults, warning)
        if self.rights.fault is not None:
            self.faults = (*self.faults, self.rights.fault)


def _webhook_in_disguise(setting: Any) -> Fault | None:
    """A warning for a setting that has all that makes a webhook but the name."""
    if not isinstance(setting, Setting) or type(setting.value) is not dict:
        return None
    if not {"flow_name", "user_name"} <= setting.value.keys():
        return None
    what = "has the fields of a webhook, but is an ordinary setting by its name"
    return Fault(displayed(setting.path), 0, "", what, f"{WEBHOOK_PREFIX}<name>.yaml", is_warning=True)


_PARSERS: dict[FileKind, Callable[[bytes, str, TreeEntry, int, bool], tuple[Any, Faults]]] = {
    FileKind.OPTIONS: lambda data, path, entry, ms, salvage: parse_options(data, path, salvage=salvage),
    FileKind.USERS: lambda data, path, entry, ms, salvage: parse_users(data, path, salvage=salvage),
    FileKind.SETTING: lambda data, path, entry, ms, salvage: parse_setting(data, path, entry.name, ms),
    FileKind.WEBHOOK: lambda data, path, entry, ms, salvage: read_webhook(
        data, path, entry.client_name, entry.name, ms, salvage=salvage
    ),
    FileKind.FLOW: lambda data, path, entry, ms, salvage: parse_flow(data, path, entry.client_name, entry.name, ms),
    FileKind.MODULE: lambda data, path, entry, ms, salvage: parse_module(data, path, entry.client_name, entry.name),
}


def examine(path: str) -> tuple[os.stat_result, bool]:
    """What stands there, behind all links, and whether `path` is a link itself.

    Raises FileNotFoundError if nothing is there, Unreadable for anything but a plain file.
    """
    is_link = False
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not is_link:
            raise FileNotFoundError(path) from error
        raise Unreadable(path, "is a link that leads nowhere", "a file behind it", is_link=True) from None
    except OSError as error:
        raise _unreadable(path, error, is_link) from None
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable(path, "is a folder", "a file", is_link=is_link)
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(path, "is no plain file", "a file", is_link=is_link)
    return status, is_link


def read(entry: TreeEntry, status: os.stat_result, rights: Rights) -> Reading:
    """Reads the file that was examined. Raises Unreadable."""
    path = entry.path
    if status.st_size > MAX_FILE_BYTES:
        raise Unreadable(path, f"has {status.st_size} bytes", f"at most {MAX_FILE_BYTES}")
    try:
        # O_NONBLOCK: what was a file a moment ago may be a pipe now, and opening one waits for its other end.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            data = _read_all(fd)
            after = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(path, error, is_link=False) from None
    if not stat.S_ISREG(before.st_mode) or len(data) > MAX_FILE_BYTES:
        raise Unreadable(path, "changed while it was read", "a plain file", is_passing=True)
    signature = signature_of(before)
    is_torn = not signature_of(status) == signature == signature_of(after)
    return Reading(entry, data, (*signature, *rights.signature), rights, is_torn=is_torn)


def is_passing(error: OSError) -> bool:
    """Whether a later look may succeed though no change will be reported."""
    return error.errno in _PASSING


def _read_all(fd: int) -> bytes:
    parts = []
    left = MAX_FILE_BYTES + 1
    while left > 0 and (part := os.read(fd, min(left, 1_048_576))):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def signature_of(status: os.stat_result) -> Signature:
    """Changes whenever the file, its content or its rights do."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _unreadable(path: str, error: OSError, is_link: bool) -> Unreadable:
    what = f"cannot be read: {error.strerror}"
    expected = way_to_read(path) if error.errno == errno.EACCES else ""
    return Unreadable(path, what, expected, is_link=is_link, is_passing=is_passing(error))

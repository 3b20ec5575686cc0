"""Frames between the daemon and a worker: a length, then one or two lines of JSON.

A frame is a 4-byte little-endian length and that many bytes: a *head*, one JSON object in one line, then, if the frame
carries a value (an input, an output, an answer), a newline and that value's JSON text, which may hold newlines only
as JSON white space. The value travels as text, so that the daemon can check it once and pass it on byte for byte.
Only a `run`, which each call has, has a packed head, which its value follows at once: read in a third of the time.

No pickle, no marshal: a worker is hostile. Nothing here does I/O or interprets a head. The ops, with their members:

daemon to worker
    bind     client, user, memory_bytes, cpu_s, large   first frame of all; limits are set, then the last of the wall
    code     hash, flow, path, source, code, modules   a compiled flow (base64 marshal), once per worker and hash;
             modules: [{name, path, source, code}], all that it may import
    compile  hash, flow, path, source, is_module     only to a worker that does nothing else
    parse    job, content_type, has_key, gunzip_limit, start, pointers, unwrap + value   only to a worker that
             does nothing else; value: the raw body, gzip if the limit is not 0; start: text that the answer's value
             begins with
    check    job, max_depth + value                  the same worker; value: an output to be checked
    context  number, hash, flow, about, limits       what runs of one webhook have in common; after the code
    run      packed (RunHead) + value: input_value      runs a flow
    revoke                                           no job that was prefetched before this shall start
    answer   job, call, [error: {type, text}], [raw_bytes] + value   to a call; its last raw_bytes are a file's content,
             as it is, and not JSON

worker to daemon
    compiled hash, code, warnings, declared_uses, imports        or refused: hash, text
    parsed   job, keys, [picked], [rest_from, begin_bytes] + value: start, Parsed.members_json and a closing brace; with
             rest_from the body from there on belongs behind the value's first begin_bytes
             or: job, error (text), status (400 or 413)
    checked  job, [error: text]
    call     job, call, name, [raw_bytes] + value: arguments; its last raw_bytes are what is large, as it is: a file's
             content, the JSON text of a child's input
    revoked                                             to a revoke, once all before it is done with, between two jobs:
             what was prefetched before it and had not begun never will
    log      job + value: a list of lines, each {"at": ms since 1970} with "args" (a list), "fields" (an object) or, of
             print, "text"
    end      job, status, message, took_us, [limit], [fresh], [name], [response: {status, headers}, output_bytes]
             + value: output_value; with a response, output_bytes of it, then the response's body as it is
"""

from __future__ import annotations

import json
from struct import Struct
from typing import Any, NamedTuple

LENGTH = Struct("<I")
MAX_HEAD_BYTES = 1_048_576
# From this size on a copy is worth avoiding.
LARGE_BYTES = 65_536
# A process that has so many forgets them all when one more comes.
MAX_CONTEXTS = 256

_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


# Of one source.
MAX_DECLARED_USES = 1_000
MAX_LIB_IMPORTS = 1_000
MAX_DECLARED_CHARS = 1_000


class DeclaredUse(NamedTuple):
    """One thing that a flow's source plainly uses (sandbox/declared_use.py); a compiled frame lists them.

    `action`: read_setting, write_setting, setting (one of the two), the same of files, run_flow, see_flow, task (its
    type) or connect (its URL).
    """

    line: int
    action: str
    name: str


class LibImport(NamedTuple):
    """A helper module that a source imports (sandbox/lib_imports.py); a compiled frame lists them.

    `is_optional`: the import stands in a `try` that catches its failure.
    """

    line: int
    module: str
    is_optional: bool


class FrameError(ValueError):
    """The bytes break the protocol above; the peer must go."""


class RunHead(NamedTuple):
    """A job, its context, and of its execution the times in ms since 1970, the id in ASCII and what it is called.

    `is_behind`: it was sent ahead, while another one ran. `name`: "" for that of the context.
    """

    job: int
    context: int
    is_behind: bool
    created_ms: int
    started_ms: int
    execution_id: bytes
    name: str


# The first byte of a `run`, where other heads begin with a brace; then the fields, with the length of the name, which
# follows in UTF-8.
RUN = ord("r")
_RUN = Struct("<BQI?QQ36sI")
_RUN_FRAME = Struct("<IBQI?QQ36sI")


def run_start(
    job: int, context: int, is_behind: bool, created_ms: int, started_ms: int, execution_id: str, name: str, size: int
) -> bytes:
    """A `run` frame but for its value of `size` bytes. The id has 36 characters."""
    text = name.encode("utf-8", "surrogatepass") if name else b""
    identity = execution_id.encode("ascii")
    size += _RUN.size + len(text)
    return _RUN_FRAME.pack(size, RUN, job, context, is_behind, created_ms, started_ms, identity, len(text)) + text


def read_run(payload: bytes | bytearray) -> tuple[RunHead, int]:
    """The head of a `run` frame, and where its value begins. Only for what the daemon sent: nothing is checked."""
    _op, job, context, is_behind, created_ms, started_ms, identity, name_bytes = _RUN.unpack_from(payload)
    end = _RUN.size + name_bytes
    name = payload[_RUN.size : end].decode("utf-8", "surrogatepass") if name_bytes else ""
    return RunHead(job, context, is_behind, created_ms, started_ms, identity, name), end


def frame(head: dict[str, Any], value: bytes | bytearray | None = None) -> bytes:
    """One frame, ready to be written. `value` is JSON text."""
    text = _encode(head).encode("ascii")
    if value is None:
        return LENGTH.pack(len(text)) + text
    return b"".join((LENGTH.pack(len(text) + 1 + len(value)), text, b"\n", value))


def frame_start(head: dict[str, Any], value_bytes: int) -> bytes:
    """A frame without its value, which is then sent as it is: for values that are too large to copy."""
    text = _encode(head).encode("ascii")
    return b"".join((LENGTH.pack(len(text) + 1 + value_bytes), text, b"\n"))


def split(
    payload: bytes | bytearray, max_head_bytes: int = MAX_HEAD_BYTES
) -> tuple[dict[str, Any], bytes | bytearray | None]:
    """A frame's bytes (without the length) into head and value text. Raises FrameError.

    A large frame, which is a bytearray (FrameReader.feed), is itself cut down to its value.
    The head is parsed on the daemon's loop, so it is bounded; what may be large travels as the value.
    """
    end = payload.find(b"\n")
    value: bytes | bytearray | None
    if end < 0:
        text, value = payload, None
    elif isinstance(payload, bytearray):
        text, value = payload[:end], payload
        del payload[: end + 1]  # only moves its start
    else:
        text, value = payload[:end], payload[end + 1 :]
    if len(text) > max_head_bytes:
        raise FrameError(f"a frame's head of {len(text)} bytes, past {max_head_bytes}")
    try:
        head = _decode(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame's head is not JSON: {error}") from None
    if type(head) is not dict:
        raise FrameError("a frame's head is not an object")
    return head, value


def split_raw(head: dict[str, Any], value: bytes | bytearray) -> tuple[bytes, bytes]:
    """A value into its JSON text and the `raw_bytes` at its end. Raises FrameError."""
    raw_bytes = head.get("raw_bytes", 0)
    if type(raw_bytes) is not int or not 0 <= raw_bytes <= len(value):
        raise FrameError("raw_bytes is not the number of some of the bytes")
    view = memoryview(value)
    end = len(value) - raw_bytes
    # What is kept of it is no bytearray: it goes to flows, and into records.
    return bytes(view[:end]), bytes(view[end:])


class FrameReader:
    """Cuts a byte stream into frames. `limit_bytes` bounds one frame: what announces more is refused unread."""

    __slots__ = ("_buffer", "_filled", "_large", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._buffer = bytearray()
        self._large: bytearray | None = None
        self._filled = 0
        self.limit_bytes = limit_bytes

    def feed(self, data: bytes) -> list[bytes | bytearray]:
        """The frames that are complete with `data`, in order, each without its length. Raises FrameError.

        One of LARGE_BYTES or more that nothing followed yet is the bytearray that it was gathered in: it is yours.
        """
        buffer = self._buffer
        if not buffer:
            # The common case: one read holds exactly one frame, nothing needs to be copied twice.
            size = len(data)
            if size >= 4:
                (length,) = LENGTH.unpack_from(data)
                if length == size - 4 and length <= self.limit_bytes:
                    return [data[4:]]
        buffer += data
        frames: list[bytes | bytearray] = []
        position = 0
        size = len(buffer)
        if size >= LARGE_BYTES and LENGTH.unpack_from(buffer)[0] == size - 4 <= self.limit_bytes:
            del buffer[:4]  # only moves its start
            self._buffer = bytearray()
            return [buffer]
        view = memoryview(buffer)
        while size - position >= 4:
            (length,) = LENGTH.unpack_from(buffer, position)
            if length > self.limit_bytes:
                raise FrameError(f"a frame of {length} bytes, past the limit of {self.limit_bytes}")
            if size - position - 4 < length:
                break
            frames.append(view[position + 4 : position + 4 + length].tobytes())
            position += 4 + length
        view.release()
        del buffer[:position]
        return frames

    def room(self) -> memoryview | None:
        """Where the rest of a large frame may be read into, as an alternative to feed(); None if none is under way.

        For a peer that is trusted: all of the announced size is allocated at once. Call filled() with what was read.
        """
        if self._large is None:
            buffer = self._buffer
            if len(buffer) < 4:
                return None
            (length,) = LENGTH.unpack_from(buffer)
            if not LARGE_BYTES <= length <= self.limit_bytes:
                return None
            self._large = bytearray(length)
            self._filled = len(buffer) - 4
            self._large[: self._filled] = memoryview(buffer)[4:]
            self._buffer = bytearray()
        return memoryview(self._large)[self._filled :]

    def filled(self, size: int) -> list[bytes | bytearray]:
        """So much was read into the room. Gives the frame, as feed() does, once it is complete."""
        self._filled += size
        if self._large is None or self._filled < len(self._large):
            return []
        frame, self._large = self._large, None
        return [frame]

    @property
    def pending_bytes(self) -> int:
        """How much of an incomplete frame is held."""
        return len(self._buffer)

"""Settings, files, flows, users and clients: records that a flow names and reads, and some that it may save.

A record keeps nothing of what the daemon holds; what `set` gave it, or save=False, waits in it for its `save`. Names
and meanings are those of the original platform's records, 2019 to 2021.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from ..errors import InvalidInputError, MissingInputError, ResourceNotFoundError
from ..run import Run
from . import arguments
from .sealed import MISSING, Sealed, own_methods, seal

# An id is made of client, kind and name, as names are all that tells records apart in whd (RFC 9562, 5.5).
_IDS = uuid.UUID("6f6d5b9e-6d0c-5f0e-9a53-0f2d8a4f6c11")
_TIMES = ("created_at", "modified_at")
_CONVERT = "convert_binary"


class Record(Sealed):
    """A named record. `_area`: the first word of its calls. `_fields`: what get knows, `_content` of them by a call.

    `_pending`: fields that were set and not saved yet.
    """

    __slots__ = ("_name", "_pending", "_run")
    _name: str
    _pending: dict[str, Any]
    _run: Run
    _area = ""
    _fields: tuple[str, ...] = ("name", "id")

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        values = self._read((name, *more))
        return tuple(values) if more else values[0]

    def load(self, name: str, /, *more: str) -> Any:
        """A field, read anew like with `get`, which keeps nothing; several give a tuple."""
        values = self._read((name, *more))
        return tuple(values) if more else values[0]

    def _read(self, names: Sequence[Any], *, pending: bool = True) -> list[Any]:
        for name in names:
            if type(name) is not str or name not in self._fields:
                fields = ", ".join(self._fields)
                raise InvalidInputError(
                    f"a {self._title.lower()} has no field {arguments.shown(name)}; it has: {fields}"
                )
        known: dict[str, Any] = {"name": self._name, "path": self._name}
        if pending:
            known.update(self._pending)
        if "id" in names:
            known["id"] = record_id(self._run, self._area, self._name)
        if not known.keys() >= set(_TIMES) & set(names):
            known.update(self._times())
        return [known[name] if name in known else self._content() for name in names]

    def _content(self) -> Any:
        return None

    def _times(self) -> dict[str, Any]:
        return dict(self._call("times"))

    def _call(self, action: str, **more: Any) -> Any:
        return self._run.call(f"{self._area}.{action}", {"name": self._name, **more})

    def __repr__(self) -> str:
        return f"<{self._title} {self._name!r}>"


class User(Record):
    """A user: get('name')."""

    __slots__ = ()
    _area = "user"
    _missing = dict.fromkeys(("save", "set", "update", "delete", "clone"), "users.yaml is the operator's")


class Client(Record):
    """A client: get('name')."""

    __slots__ = ()
    _area = "client"
    _missing = dict.fromkeys(("save", "set", "update", "delete", "clone"), "clients are the operator's")


class Flow(Record):
    """A flow, as far as the user may run it."""

    __slots__ = ()
    _area = "flow"
    _fields = ("name", "id", *_TIMES)
    _missing = {  # noqa: RUF012  # read only
        **dict.fromkeys(("save", "set", "update", "delete", "clone"), "flows are files of the operator"),
        **dict.fromkeys(("run", "run_async"), "use this.flow(name)"),
    }

    def exists(self) -> bool:
        """Whether there is such a flow."""
        return bool(self._call("exists"))


class Saveable(Record):
    """A record that flows save. `_kept`: the field that it is there for."""

    __slots__ = ()
    _kept = ""
    _missing = dict.fromkeys(("archive", "pin"), "it stays until delete() removes it")

    def load(self, name: str, /, *more: str) -> Any:
        """A field as it is saved, whatever `set` gave; several give a tuple."""
        values = self._read((name, *more), pending=False)
        return tuple(values) if more else values[0]

    def exists(self) -> bool:
        """Whether it is there; what was only `set` is not."""
        return bool(self._call("exists"))

    def set(self, name: Any = MISSING, value: Any = MISSING, /, **fields: Any) -> Self:
        """Sets a field without saving it, by ('field', value) or (field=value): `get` gives it, `save` saves it."""
        if name is not MISSING:
            if value is MISSING:
                raise InvalidInputError(f"{self._spoken}.set needs a name and a value")
            fields = {arguments.text(name, f"{self._spoken}.set: a field's name"): value, **fields}
        self._pending.update(self._checked("set", fields))
        return self

    def save(self, **fields: Any) -> Self:
        """Saves these fields, or what was set; it is on disk when this returns."""
        given = {**self._pending, **self._checked("save", fields)}
        self._write(arguments.only(f"{self._spoken}.save", given, self._kept))
        self._pending.clear()
        return self

    def update(self, **fields: Any) -> Self:
        """`save` for one that is there already. Raises ResourceNotFoundError."""
        if not self.exists():
            name = arguments.shown(self._name)
            raise ResourceNotFoundError(f"there is no {self._spoken} {name}; {self._spoken}.save makes one")
        return self.save(**fields)

    def clone(self, name: Any = MISSING, init: Any = None, save: bool = True, **fields: Any) -> Self:
        """A copy under another name, with these fields changed, saved unless save=False."""
        where = f"{self._spoken}.clone"
        if name is MISSING:
            raise MissingInputError(f"{where} needs the copy's name: {where}(name='other')")
        changed = self._checked("clone", _merged(where, init, fields))
        copied = changed.get(self._kept, MISSING)
        if copied is MISSING:
            copied = self._pending.get(self._kept, MISSING)
        kept = {self._kept: self._content() if copied is MISSING else copied}
        copy = make_record(type(self), self._run, self._plain_name(name))
        return copy.save(**kept) if arguments.flag(save, f"{where}: save") else copy.set(**kept)

    def delete(self) -> None:
        """Removes what was saved, and forgets what was set."""
        self._call("delete")
        self._pending.clear()

    def _write(self, kept: Any) -> None:
        raise NotImplementedError

    def _plain_name(self, name: Any) -> str:
        return arguments.text(name, f"{self._spoken}: a name")

    def _checked(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields that may be given; a name that stays is none. Raises InvalidInputError."""
        if "name" in fields:
            given = fields["name"]
            if not isinstance(given, str) or str.__str__(given) != self._name:
                raise InvalidInputError(
                    f"{self._spoken}.{action}: a name stays; use {self._spoken}.clone(name=…), and then delete()"
                )
            fields = {name: value for name, value in fields.items() if name != "name"}
        for name in fields:
            if name in ("retention_time", "expires"):
                raise InvalidInputError(
                    f"{self._spoken}.{action}: {name} is not available in whd; it stays until delete() removes it"
                )
        if fields:
            arguments.only(f"{self._spoken}.{action}", fields, self._kept)
        return fields


class Setting(Saveable):
    """A setting of the client, as far as the user may read and write it."""

    __slots__ = ()
    _area = "setting"
    _fields = ("name", "value", "id", *_TIMES)
    _kept = "value"

    def get(self, name: str = "value", /, *more: str) -> Any:
        """The field `value` or another; several give a tuple. Raises ResourceNotFoundError, PermissionDenied.

        One that this execution has acquired need not be there: its value is None then.
        """
        return super().get(name, *more)

    def load(self, name: str = "value", /, *more: str) -> Any:
        """As get, without what `set` gave."""
        return super().load(name, *more)

    def _content(self) -> Any:
        return self._acquired_or(lambda: self._call("get"), None)

    def _times(self) -> dict[str, Any]:
        times: dict[str, Any] = self._acquired_or(super()._times, dict.fromkeys(_TIMES))
        return times

    def _acquired_or(self, read: Callable[[], Any], missing: Any) -> Any:
        try:
            return read()
        except ResourceNotFoundError:
            if self._name not in self._run.acquired:
                raise
            return missing

    def _write(self, kept: Any) -> None:
        self._call("save", value=kept)

    def list_append(self, item: Any) -> None:
        """Adds to the end of the list that the value is; nothing that others add meanwhile is lost."""
        self._call("list_append", item=item)

    def acquire(self, timeout: Any = None) -> Self:
        """Waits until this execution alone holds the setting. Raises TimeoutExceededError after `timeout` seconds."""
        limit = None if timeout is None else arguments.seconds(timeout, "setting.acquire: timeout")
        self._call("acquire", timeout=limit)
        self._run.acquired |= {self._name}
        return self

    def release(self) -> None:
        """Lets others have it. It is released at the end of the execution in any case."""
        self._call("release")


class File(Saveable):
    """A file record, as far as the user may read and write it. Text, or bytes if it is no UTF-8."""

    __slots__ = ()
    _area = "file"
    _fields = ("name", "content", "path", "id", *_TIMES)
    _kept = "content"
    _missing = {  # noqa: RUF012  # read only
        **Saveable._missing,
        **dict.fromkeys(("get_text_content", "get_bytes_content"), "there is file.get('content')"),
        "get_base64_content": "there is file.get('content', convert_binary=False)",
        **dict.fromkeys(("save_text_content", "save_bytes_content"), "there is file.save(content=…)"),
        "save_base64_content": "there is file.save(content=…, convert_binary=False)",
    }

    def get(self, name: str, /, *more: str, convert_binary: bool = True) -> Any:
        """A field; several give a tuple. `convert_binary=False`: the content as base64 text."""
        is_converted = arguments.flag(convert_binary, f"file.get: {_CONVERT}")
        found = super().get(name, *more)
        return found if is_converted else _with_base64((name, *more), found)

    def load(self, name: str, /, *more: str, convert_binary: bool = True) -> Any:
        """As get, without what `set` gave."""
        is_converted = arguments.flag(convert_binary, f"file.load: {_CONVERT}")
        found = super().load(name, *more)
        return found if is_converted else _with_base64((name, *more), found)

    def _content(self) -> Any:
        answer, content = self._run.call_for_raw("file.get", {"name": self._name})
        try:
            return content.decode("utf-8") if answer["is_text"] else content
        except UnicodeDecodeError:  # only a broken process can have saved it so
            return content

    def _checked(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        """`text` is another name of `content`; with convert_binary=False the content is given in base64."""
        fields = dict(fields)
        is_converted = arguments.flag(fields.pop(_CONVERT, True), f"file.{action}: {_CONVERT}")
        if "path" in fields:  # its name in 2019
            fields.setdefault("name", fields.pop("path"))
        if "text" in fields:
            if "content" in fields:
                raise InvalidInputError(f"file.{action} takes content= or text=, not both")
            fields["content"] = arguments.any_text(fields.pop("text"), f"file.{action}: text")
        if not is_converted and "content" in fields:
            fields["content"] = _from_base64(f"file.{action}", fields["content"])
        return super()._checked(action, fields)

    def _write(self, kept: Any) -> None:
        kind = type(kept)
        if issubclass(kind, str):
            self._run.call("file.save", {"name": self._name, "is_text": True}, _utf_8(str.__str__(kept)))
        elif issubclass(kind, (bytes, bytearray)):
            self._run.call("file.save", {"name": self._name, "is_text": False}, b"".join((kept,)))
        else:
            raise InvalidInputError(
                f"file.save: content must be text or bytes, not {arguments.shown(kept)}; json.dumps makes text of "
                "other values"
            )

    def _plain_name(self, name: Any) -> str:
        return arguments.file_name(name)


def record_id(run: Run, area: str, name: str) -> str:
    """A record's id: the same for all executions of the client, for as long as the record has its name."""
    return str(uuid.uuid5(_IDS, "\0".join((run.field("client_name"), area, name))))


def _merged(where: str, init: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields in a dict and those by keyword. Raises InvalidInputError."""
    if init is None:
        return fields
    if not isinstance(init, dict) or not all(type(name) is str for name in dict.keys(init)):
        raise InvalidInputError(f"{where}: init must be a dict of fields, not {arguments.shown(init)}")
    return {**dict(dict.items(init)), **fields}


def _utf_8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(
            "file.save: content holds half of a surrogate pair, which is no text; content.encode('utf-8', 'replace')"
            " gives bytes that can be saved"
        ) from None


def _with_base64(names: tuple[str, ...], found: Any) -> Any:
    """What get or load found, with the content in base64."""
    values = found if len(names) > 1 else (found,)
    encoded = [_as_base64(value) if name == "content" else value for name, value in zip(names, values, strict=True)]
    return tuple(encoded) if len(names) > 1 else encoded[0]


def _as_base64(content: Any) -> Any:
    if isinstance(content, str):
        content = str.__str__(content).encode("utf-8")
    return base64.b64encode(content).decode("ascii") if isinstance(content, (bytes, bytearray)) else content


def _from_base64(where: str, content: Any) -> str | bytes:
    """What base64 text stands for: text if it is UTF-8."""
    plain = b""
    try:
        data = str.__str__(content).encode("ascii") if isinstance(content, str) else b"".join((content,))
        plain = base64.b64decode(b"".join(data.split()), validate=True)
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        return plain
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"{where}: with convert_binary=False content must be base64, not {arguments.shown(content)}"
        ) from None


Kind = TypeVar("Kind", bound=Record)
Kept = TypeVar("Kept", bound=Saveable)


def make_record(kind: type[Kind], run: Run, name: str) -> Kind:
    """A record of that kind."""
    record: Kind = object.__new__(kind)
    record._run = run
    record._name = name
    record._pending = {}
    return record


def find_by_id(kind: type[Kind], run: Run, wanted: Any) -> Kind:
    """The record that has this id, of those that the user may see. Raises ResourceNotFoundError."""
    area = kind._area
    text = arguments.text(wanted, f"system.{area}: an id")
    for name in run.call(f"{area}.list", {}):
        if record_id(run, area, name) == text:
            return make_record(kind, run, name)
    raise ResourceNotFoundError(f"there is no {area} with the id {arguments.shown(text)}")


def given_fields(record: Kept, init: Any, save: Any, fields: dict[str, Any]) -> Kept:
    """The record with the fields that system.setting(…) or system.file(…) was given: saved, or with save=False set."""
    where = f"system.{record._area}"
    fields = _merged(where, init, fields)
    is_saved = arguments.flag(save, f"{where}: save")
    if fields:
        return record.save(**fields) if is_saved else record.set(**fields)
    return record


for _saved in (Setting, File):
    own_methods(_saved, Saveable)
for _kind in (Record, User, Client, Flow, Saveable, Setting, File):
    seal(_kind, _kind.__name__)

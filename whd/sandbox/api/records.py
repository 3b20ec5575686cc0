"""Settings, files, flows, users and clients: records that a flow names and reads, and some that it may save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from ..errors import InvalidInputError
from ..run import Run
from . import arguments
from .sealed import Sealed, seal


class Record(Sealed):
    """A named record. `_area`: the first word of its calls. `_fields`: what get knows."""

    __slots__ = ("_name", "_run")
    _name: str
    _run: Run
    _area = ""
    _fields: tuple[str, ...] = ("name",)

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        values = self._read((name, *more))
        return tuple(values) if more else values[0]

    def load(self, name: str, /, *more: str) -> Any:
        """A field, read anew like with `get`, which keeps nothing; several give a tuple."""
        values = self._read((name, *more))
        return tuple(values) if more else values[0]

    def _read(self, names: Sequence[Any]) -> list[Any]:
        for name in names:
            if type(name) is not str or name not in self._fields:
                fields = ", ".join(self._fields)
                raise InvalidInputError(
                    f"a {self._title.lower()} has no field {arguments.shown(name)}; it has: {fields}"
                )
        content = self._content() if any(name != "name" for name in names) else None
        return [self._name if name == "name" else content for name in names]

    def _content(self) -> Any:
        return None

    def _call(self, action: str, **more: Any) -> Any:
        return self._run.call(f"{self._area}.{action}", {"name": self._name, **more})

    def __repr__(self) -> str:
        return f"<{self._title} {self._name!r}>"


class User(Record):
    """A user: get('name')."""

    __slots__ = ()


class Client(Record):
    """A client: get('name')."""

    __slots__ = ()


class Flow(Record):
    """A flow, as far as the user may run it."""

    __slots__ = ()
    _area = "flow"
    _missing = {  # noqa: RUF012  # read only
        "save": "flows are files of the operator",
        "delete": "flows are files of the operator",
        **dict.fromkeys(("run", "run_async"), "use this.flow(name)"),
    }

    def exists(self) -> bool:
        """Whether there is such a flow."""
        return bool(self._call("exists"))


class Setting(Record):
    """A setting of the client, as far as the user may read and write it."""

    __slots__ = ()
    _area = "setting"
    _fields = ("name", "value")

    def get(self, name: str = "value", /, *more: str) -> Any:
        """The field `value` or `name`; several give a tuple. Raises ResourceNotFoundError, PermissionDenied."""
        return super().get(name, *more)

    def load(self, name: str = "value", /, *more: str) -> Any:
        return super().load(name, *more)

    def _content(self) -> Any:
        return self._call("get")

    def exists(self) -> bool:
        """Whether there is such a setting."""
        return bool(self._call("exists"))

    def save(self, **fields: Any) -> Self:
        """Saves value=; it is on disk when this returns."""
        self._call("save", value=arguments.only("setting.save", fields, "value"))
        return self

    def delete(self) -> None:
        """Removes what a flow saved; the operator's file of that name, if there is one, shows again."""
        self._call("delete")

    def list_append(self, item: Any) -> None:
        """Adds to the end of the list that the value is; nothing that others add meanwhile is lost."""
        self._call("list_append", item=item)

    def acquire(self, timeout: Any = None) -> Self:
        """Waits until this execution alone holds the setting. Raises TimeoutExceededError after `timeout` seconds."""
        limit = None if timeout is None else arguments.seconds(timeout, "setting.acquire: timeout")
        self._call("acquire", timeout=limit)
        return self

    def release(self) -> None:
        """Lets others have it. It is released at the end of the execution in any case."""
        self._call("release")


class File(Record):
    """A file record, as far as the user may read and write it. Text, or bytes if it is no UTF-8."""

    __slots__ = ()
    _area = "file"
    _fields = ("name", "content")

    def _content(self) -> Any:
        answer, content = self._run.call_for_raw("file.get", {"name": self._name})
        try:
            return content.decode("utf-8") if answer["is_text"] else content
        except UnicodeDecodeError:  # only a broken process can have saved it so
            return content

    def exists(self) -> bool:
        """Whether there is such a file."""
        return bool(self._call("exists"))

    def save(self, **fields: Any) -> Self:
        """Saves content=, text or bytes; it is on disk when this returns."""
        content = arguments.only("file.save", fields, "content")
        kind = type(content)
        if issubclass(kind, str):
            self._run.call("file.save", {"name": self._name, "is_text": True}, _utf_8(str.__str__(content)))
        elif issubclass(kind, (bytes, bytearray)):
            self._run.call("file.save", {"name": self._name, "is_text": False}, b"".join((content,)))
        else:
            raise InvalidInputError(
                f"file.save: content must be text or bytes, not {arguments.shown(content)}; json.dumps makes text of "
                "other values"
            )
        return self

    def delete(self) -> None:
        """Removes it."""
        self._call("delete")


def _utf_8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(
            "file.save: content holds half of a surrogate pair, which is no text; content.encode('utf-8', 'replace')"
            " gives bytes that can be saved"
        ) from None


Kind = TypeVar("Kind", bound=Record)
Saveable = TypeVar("Saveable", Setting, File)


def make_record(kind: type[Kind], run: Run, name: str) -> Kind:
    """A record of that kind."""
    record: Kind = object.__new__(kind)
    record._run = run
    record._name = name
    return record


def saved_at_once(record: Saveable, fields: dict[str, Any]) -> Saveable:
    """The record; system.setting(name, value=…) saves it first."""
    if fields:
        record.save(**fields)
    return record


for _kind in (Record, User, Client, Flow, Setting, File):
    seal(_kind, _kind.__name__)

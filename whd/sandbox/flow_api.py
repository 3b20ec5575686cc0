"""What a flow sees as `system`, `this` and `import flow_api`: thin objects before a Run.

They cannot be made, copied, subclassed or changed by a flow, and hold their Run under a private name, which no flow can
read. Names of FLOW_API.md that are still missing raise an error that names them.
"""

from __future__ import annotations

import datetime
from typing import Any, NoReturn, Self

from .errors import ERRORS, CloudomationException, InvalidInputError
from .modules.facade import Facade, make_facade
from .run import ERROR, SUCCESS, Run

_MISSING = object()


class _Fixed:
    """An object of the API: made by the worker only."""

    __slots__ = ()
    _later: dict[str, str] = {}  # noqa: RUF012  # read only

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        raise TypeError(f"{cls.__name__} objects are given to the handler; a flow cannot make one")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: object) -> Any:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("objects of the flow API cannot be copied")

    def __getattr__(self, name: str) -> Any:
        kind = type(self)
        if name in kind._later:
            what = f"{kind.__name__.lower()}.{name}: {kind._later[name]} not available in this version of whd"

            def missing(*_args: object, **_kwargs: object) -> NoReturn:
                raise CloudomationException(what)

            return missing
        there = ", ".join(sorted(known for known in dir(kind) if not known.startswith("_")))
        raise AttributeError(f"{kind.__name__} has no {name!r}; it has: {there}") from None


def _final(kind: type) -> None:
    def refuse(_cls: type, /, **_kwargs: object) -> NoReturn:
        raise TypeError(f"{kind.__name__} cannot be subclassed")

    kind.__init_subclass__ = classmethod(refuse)  # type: ignore[assignment]
    kind.__module__ = "flow_api"


class ReturnWhen(_Fixed):
    """When wait_for returns."""

    __slots__ = ()
    ALL_SUCCEEDED = "ALL_SUCCEEDED"
    ALL_ENDED = "ALL_ENDED"
    FIRST_ENDED = "FIRST_ENDED"


class Record(_Fixed):
    """A user or client: get('name')."""

    __slots__ = ("_fields",)
    _fields: dict[str, Any]

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        return _several(self._field, name, more)

    load = get

    def _field(self, name: Any) -> Any:
        if type(name) is not str or name not in self._fields:
            raise InvalidInputError(f"there is no field {name!r}; there are: {', '.join(self._fields)}")
        return self._fields[name]


class Setting(_Fixed):
    """A setting of the client, as far as the user may read it."""

    __slots__ = ("_name", "_run")
    _name: str
    _run: Run
    _later = dict.fromkeys(  # read only
        ("save", "delete", "list_append", "acquire", "release"), "saving and locking settings is"
    )

    def get(self, name: str = "value", /, *more: str) -> Any:
        """The field `value` or `name`; several give a tuple. Raises ResourceNotFoundError, PermissionDenied."""
        return _several(self._field, name, more)

    load = get

    def _field(self, name: Any) -> Any:
        if type(name) is str and name == "value":
            return self._run.call("setting.get", {"name": self._name})
        if type(name) is str and name == "name":
            return self._name
        raise InvalidInputError(f"a setting has no field {name!r}; it has: name, value")

    def exists(self) -> bool:
        """Whether there is such a setting."""
        return bool(self._run.call("setting.exists", {"name": self._name}))


class System(_Fixed):
    """What surrounds the execution."""

    __slots__ = ("_run",)
    _run: Run
    _later = {  # noqa: RUF012  # read only
        **dict.fromkeys(("file", "files"), "file records are"),
        **dict.fromkeys(("flow", "flows", "settings", "execution"), "looking up flows, settings and executions is"),
        **dict.fromkeys(("connection", "message", "scheduler", "task"), "this part of the original platform is"),
    }

    @property
    def return_when(self) -> ReturnWhen:
        """The values for wait_for."""
        return RETURN_WHEN

    def setting(self, name: str, /, **fields: Any) -> Setting:
        """A setting by its name; `value=` saves it at once."""
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"system.setting: a setting's name must be text, not {name!r}")
        setting: Setting = object.__new__(Setting)
        setting._run = self._run
        setting._name = str.__str__(name)
        if fields:
            setting.save(**fields)
        return setting

    def get_own_user(self) -> Record:
        """The user with whose permissions the execution runs."""
        return self._record("user_name")

    def get_own_client(self) -> Record:
        """The client that the execution belongs to."""
        return self._record("client_name")

    def _record(self, field: str) -> Record:
        record: Record = object.__new__(Record)
        record._fields = {"name": self._run.field(field)}
        return record

    def get_env_name(self) -> str:
        """The name of this installation."""
        return self._run.env_name


class Execution(_Fixed):
    """This execution."""

    __slots__ = ("_run",)
    _run: Run
    _later = {  # noqa: RUF012  # read only
        **dict.fromkeys(("flow", "wait_for", "run", "run_async", "wait", "cancel"), "child executions are"),
        **dict.fromkeys(("task", "connect"), "outgoing calls are"),
    }

    def get(self, name: str, /, *more: str) -> Any:
        """A field; several give a tuple."""
        if more:
            return _several(self._run.field, name, more)
        return self._run.field(name)

    load = get

    def set(self, name: Any = _MISSING, value: Any = _MISSING, /, **fields: Any) -> None:
        """Changes message, name or output_value: set('message', 'x') or set(message='x')."""
        run = self._run
        run.check_open()
        if name is not _MISSING:
            if value is _MISSING:
                raise InvalidInputError("this.set needs a name and a value")
            run.set_field(name, value)
        for key, item in fields.items():
            run.set_field(key, item)

    def save(self, **fields: Any) -> None:
        """Writes fields: output_value, message, name."""
        self.set(**fields)

    def set_output(self, name: Any = _MISSING, value: Any = _MISSING, /, **members: Any) -> None:
        """Adds to output_value: ('k', v) or (k=v). A single value replaces it."""
        run = self._run
        run.check_open()
        if value is not _MISSING:
            run.set_output(name, value)
        elif name is not _MISSING:
            run.set_field("output_value", name)
        for key, item in members.items():
            run.set_output(key, item)

    def log(self, *args: Any, **kwargs: Any) -> None:
        """A structured log line."""
        self._run.log(args, kwargs)

    def success(self, message: Any = "") -> NoReturn:
        """Ends the flow: all went well."""
        run = self._run
        run.end(SUCCESS, message or run.fields["message"])

    def error(self, message: Any = "") -> NoReturn:
        """Ends the flow: it failed."""
        run = self._run
        run.end(ERROR, message or run.fields["message"])

    def end(self, status: str, message: Any = "") -> NoReturn:
        """Ends the flow with 'success' or 'error'."""
        word = str.__str__(status).lower() if isinstance(status, str) else ""
        if word not in ("success", "error"):
            raise InvalidInputError(f"this.end: 'success' or 'error', not {status!r}")
        self._run.end(SUCCESS if word == "success" else ERROR, message or self._run.fields["message"])

    def sleep(self, seconds: float, /) -> None:
        """Waits; costs no CPU and no place of a running flow."""
        self._run.sleep(seconds)

    def sleep_until(self, time: Any, /) -> None:
        """Waits until a moment: a datetime, ISO 8601 text, or seconds since 1970."""
        self._run.call("sleep", {"until": _epoch_s(time)})

    def webhook_html_response(self, html: Any, /) -> NoReturn:
        """Ends with a page for the webhook's caller."""
        self._run.respond(html if isinstance(html, str) else str(html), 200, None, "text/html; charset=utf-8")

    def webhook_response(self, body: Any = "", status: int = 200, headers: Any = None) -> NoReturn:
        """Ends with this answer for the webhook's caller."""
        self._run.respond(body, status, headers, None)

    def webhook_json_response(self, value: Any, status: int = 200, headers: Any = None) -> NoReturn:
        """Ends with this JSON for the webhook's caller."""
        self._run.respond(value, status, headers, "application/json", is_json=True)


def _several(field: Any, name: Any, more: tuple[Any, ...]) -> Any:
    return tuple(field(each) for each in (name, *more)) if more else field(name)


def _epoch_s(moment: Any) -> float:
    kind = type(moment)
    try:
        if isinstance(moment, str):
            moment = datetime.datetime.fromisoformat(str.__str__(moment))
            kind = datetime.datetime
        if issubclass(kind, datetime.datetime):
            return datetime.datetime.timestamp(moment)
        if issubclass(kind, (int, float)) and kind is not bool:
            return float(moment)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"sleep_until: {error}") from None
    raise InvalidInputError(f"sleep_until: a datetime, ISO 8601 text or seconds since 1970, not {kind.__name__}")


for _kind in (ReturnWhen, Record, Setting, System, Execution):
    _final(_kind)

RETURN_WHEN: ReturnWhen = object.__new__(ReturnWhen)

FLOW_API: Facade = make_facade(
    "flow_api", {"System": System, "Execution": Execution, "ReturnWhen": ReturnWhen, **ERRORS}
)


def api_objects(run: Run) -> tuple[System, Execution]:
    """The two objects that a handler gets."""
    system: System = object.__new__(System)
    system._run = run
    this: Execution = object.__new__(Execution)
    this._run = run
    return system, this

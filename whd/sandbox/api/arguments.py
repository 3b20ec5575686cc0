"""What flows give as arguments, checked and made plain; an error says what, where, and what instead. Pure.

A flow's values may be of classes that lie (SANDBOX, trap 6): texts and numbers are read by their data, past the methods
of a subclass.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any

from ..errors import InvalidInputError, MissingInputError
from ..inputs import Headers, WebhookInput, is_call
from ..outputs import a_kind

# How long a record is kept was for scripts to say on the original platform.
RETENTION_FIELDS = ("retention_time", "expires")
RETENTION = "executions are kept for the operator's retention_minutes, so leave it out"
RETURN_WHEN_NAMES = ("ALL_SUCCEEDED", "ALL_ENDED", "FIRST_ENDED")
# Far beyond any timeout_s, and safe for the clock's arithmetic.
MAX_SECONDS = 1e9
_MOMENTS = "a datetime, ISO 8601 text or seconds since 1970"
# Old scripts give what came in with a form: a number as text. ISO 8601 has no point and at least 8 digits without one.
_NUMBER = re.compile(r"[0-9]{9,12}(?:\.[0-9]*)?")


def shown(value: Any) -> str:
    """A wrong argument in an error: short, and without running code of the flow."""
    kind = type(value)
    if kind in (str, int, float, bool, type(None)):
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:80]}…"
    return a_kind(kind)


def shown_dict(value: Any) -> str:
    """A wrong argument in an error, as `shown` has it; a dict with its members."""
    if not isinstance(value, dict) or len(value) > 10:
        return shown(value)
    return "{" + ", ".join(f"{shown(name)}: {shown(item)}" for name, item in dict.items(value)) + "}"


def text(value: Any, what: str) -> str:
    """A text that is not empty. Raises InvalidInputError."""
    if not isinstance(value, str) or not str.__len__(value):
        raise InvalidInputError(f"{what} must be text, not {shown(value)}")
    return str.__str__(value)


def any_text(value: Any, what: str) -> str:
    """A text, be it empty. Raises InvalidInputError."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{what} must be text, not {shown(value)}")
    return str.__str__(value)


def text_or_none(value: Any, what: str) -> str | None:
    """A text or None. Raises InvalidInputError."""
    return None if value is None else text(value, what)


def flag(value: Any, what: str) -> bool:
    """True or False. Raises InvalidInputError."""
    if type(value) is not bool:
        raise InvalidInputError(f"{what} must be True or False, not {shown(value)}")
    return value


def seconds(value: Any, what: str) -> float:
    """A number of seconds, 0 or more; old scripts give it as text too. Raises InvalidInputError."""
    kind = type(value)
    if kind is bool or not issubclass(kind, (int, float, str)):
        raise InvalidInputError(f"{what} must be a number, not {kind.__name__}")
    try:
        number = float(str.__str__(value) if issubclass(kind, str) else value)
    except (ValueError, OverflowError):
        raise InvalidInputError(f"{what} must be a number, not {shown(value)}") from None
    if not 0 <= number < MAX_SECONDS:
        raise InvalidInputError(f"{what} must be 0 or more, not {number!r}")
    return number


def epoch_s(moment: Any) -> float:
    """A moment in seconds since 1970, from a datetime, ISO 8601 text or a number. Raises InvalidInputError."""
    kind = type(moment)
    try:
        if isinstance(moment, str):
            given = str.__str__(moment)
            if _NUMBER.fullmatch(given):
                return float(given)
            moment = datetime.datetime.fromisoformat(given)
            kind = datetime.datetime
        if issubclass(kind, datetime.datetime):
            return datetime.datetime.timestamp(moment)
        if issubclass(kind, (int, float)) and kind is not bool:
            return float(moment)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(f"this.sleep_until: {_MOMENTS}: {error}") from None
    raise InvalidInputError(f"this.sleep_until: {_MOMENTS}, not {shown(moment)}")


def return_when(value: Any, what: str) -> str:
    """One of system.return_when. Raises InvalidInputError."""
    if isinstance(value, str) and str.__str__(value) in RETURN_WHEN_NAMES:
        return str.__str__(value)
    names = ", ".join(f"system.return_when.{name}" for name in RETURN_WHEN_NAMES)
    raise InvalidInputError(f"{what} must be one of {names}, not {shown(value)}")


# Options of the original platform that whd has no use for, and what to do without.
_NO_OPTIONS = {
    "save": "every execution is kept for retention_minutes",
    "location": "every execution runs on this machine",
    "pass_user_token": "a child runs as its parent's user by itself",
}
_PROTECTED = ("protect_inputs", "protect_outputs")


def check_options(where: str, options: dict[str, Any]) -> None:
    """Takes apart `init=` and refuses what a child has no option for. Raises InvalidInputError."""
    init = options.pop("init", None)
    if init is not None:
        if not isinstance(init, dict):
            raise InvalidInputError(
                f"{where}: init must be a dict such as {{'protect_inputs': ['password']}}, not {shown(init)}"
            )
        for name, value in dict.items(init):
            if name not in (*_PROTECTED, "name", *_NO_OPTIONS):
                raise InvalidInputError(
                    f"{where}: init takes name, protect_inputs and protect_outputs, not {shown(name)}; an input of the "
                    "name init stands in inputs={…}"
                )
            options.setdefault(str.__str__(name), value)
    for name, instead in _NO_OPTIONS.items():
        if name in options:
            # A task has no inputs of such names.
            otherwise = f" (an input of that name is inputs={{'{name}': …}})" if where == "this.flow" else ""
            raise InvalidInputError(f"{where}: {name}= is not available in whd: {instead}; leave it out{otherwise}")


def protected_names(where: str, options: dict[str, Any]) -> dict[str, list[str]]:
    """The options protect_inputs and protect_outputs, those that name something. Raises InvalidInputError."""
    found = {name: _names(options.pop(name, None), f"{where}: {name}") for name in _PROTECTED}
    return {name: names for name, names in found.items() if names}


def _names(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [text(value, what)]
    if type(value) not in (list, tuple, set, frozenset):
        raise InvalidInputError(f"{what} must be a list of names, not {shown(value)}")
    return list(dict.fromkeys(text(name, f"{what}: a name") for name in value))


def merged_inputs(where: str, parts: Iterable[Any], more: dict[str, Any]) -> Any:
    """A child's input_value: its parts (those that are not None), then the further keywords; {} without any.

    A single part may be any JSON value; several must be dicts. Raises InvalidInputError.
    """
    if "retention_time" in more:
        raise InvalidInputError(
            f"{where}: retention_time is not available in whd: {RETENTION}; for an input of that name, inputs={{…}}"
        )
    given = [part for part in parts if part is not None]
    if len(given) == 1 and not more:
        if not isinstance(given[0], dict):
            return given[0]
        if type(given[0]) in (Headers, WebhookInput):
            return given[0].copy()
    merged: dict[str, Any] = {}
    for part in given:
        if not isinstance(part, dict):
            raise InvalidInputError(
                f"{where}: inputs must be a dict where more inputs are given beside it, not {shown(part)}"
            )
        merged.update(dict.items(part))
    merged.update(more)
    if "data_json" in merged and merged["data_json"] is merged.get("json") and is_call(merged):
        # From a copy of a call's input_value: the child gets one that has the other name by itself.
        del merged["data_json"]
    return merged


def check_task_inputs(where: str, inputs: Any) -> None:
    """A task's inputs are a dict, and its `data` is text: bytes become text here. Raises InvalidInputError."""
    if not isinstance(inputs, dict):
        raise InvalidInputError(f"{where}: inputs must be a dict, not {shown(inputs)}")
    data = inputs.get("data")
    if isinstance(data, (bytes, bytearray)):
        try:
            inputs["data"] = data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidInputError(
                f"{where}: data must be text, or bytes in UTF-8; base64.b64encode makes text of others"
            ) from None


def only(where: str, fields: dict[str, Any], name: str) -> Any:
    """The one field that `save` of a record takes. Raises MissingInputError, InvalidInputError."""
    for other in fields:
        if other != name:
            raise InvalidInputError(f"{where}: there is no field {other!r}; it takes {name}=")
    if name not in fields:
        raise MissingInputError(f"{where} needs {name}=")
    return fields[name]


def file_name(value: Any) -> str:
    """A file's full path: relative, without empty, `.` and `..` parts. Raises InvalidInputError."""
    name = text(value, "system.file: a file's name")
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidInputError(
            f"system.file: {shown(name)} cannot be a file's name; give its full path, such as 'reports/today.csv': "
            "no '/' at either end, no empty, '.' or '..' part, no NUL"
        )
    return name


def folder(value: Any) -> str:
    """A folder of files; '.' and '' are all of them. Raises InvalidInputError."""
    if not isinstance(value, str):
        raise InvalidInputError(f"system.files: dir must be text, not {shown(value)}")
    given = str.__str__(value)
    path = given.removeprefix("./").removesuffix("/")
    if given in ("", ".", "./"):
        return ""
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidInputError(
            f"system.files: {shown(given)} cannot be a folder; give its path, such as 'reports/2026'"
        )
    return path


def name_filter(value: Any, where: str) -> dict[str, str]:
    """{'field': 'name', 'op': 'like' or 'eq', 'value': text} as {op: value}. Raises InvalidInputError."""
    if value is None:
        return {}
    if isinstance(value, dict) and set(map(type, dict.keys(value))) == {str}:
        op, wanted = dict.get(value, "op"), dict.get(value, "value")
        if value.keys() == {"field", "op", "value"} and dict.get(value, "field") == "name" and type(wanted) is str:
            for known in ("like", "eq"):
                if op == known:
                    return {known: wanted}
    raise InvalidInputError(
        f"{where}: filter must be {{'field': 'name', 'op': 'like' or 'eq', 'value': 'reports/%'}}, "
        f"not {shown_dict(value)}"
    )


def fits(name: str, wanted: dict[str, str]) -> bool:
    """Whether a name fits name_filter's answer: in `like`, % stands for any characters and _ for one, as in SQL."""
    if "eq" in wanted:
        return name == wanted["eq"]
    if "like" not in wanted:
        return True
    pattern = "".join({"%": ".*", "_": "."}.get(char) or re.escape(char) for char in wanted["like"])
    return re.fullmatch(pattern, name, re.DOTALL) is not None

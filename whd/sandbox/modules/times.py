"""Dates and times. Time zones are read before the wall stands; `time.sleep` is the execution's own sleep."""

from __future__ import annotations

import calendar
import datetime
import pathlib
import time
import zoneinfo
from collections.abc import Callable
from typing import Any

from .facade import Facade, make_facade, pick

# Strong references keep every zone in zoneinfo's own cache: the files are out of reach behind the wall.
_ZONES: dict[str, zoneinfo.ZoneInfo] = {}
# Under a system's folder of zones (zic(8)): the same ones with and without leap seconds, and a default.
_NO_ZONES = frozenset({"posix", "right", "posixrules"})

_TIME = (
    "altzone asctime ctime daylight gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns "
    "process_time process_time_ns strftime strptime struct_time time time_ns timezone tzname"
)
_CALENDAR = (
    "Calendar FRIDAY HTMLCalendar IllegalMonthError IllegalWeekdayError MONDAY SATURDAY SUNDAY THURSDAY "
    "TUESDAY TextCalendar WEDNESDAY calendar day_abbr day_name firstweekday isleap leapdays month month_abbr "
    "month_name monthcalendar monthrange timegm weekday weekheader"
)


def zone(key: str, /) -> zoneinfo.ZoneInfo:
    """zoneinfo.ZoneInfo."""
    name = str.__str__(key) if isinstance(key, str) else repr(key)
    found = _ZONES.get(name)
    if found is None:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {name}") from None
    return found


def load_zones() -> None:
    """Reads all time zones of this machine; about 600 in 0.1 s and 2 MiB."""
    for key in _zones_of_system() or zoneinfo.available_timezones():
        if key not in _ZONES:
            _ZONES[key] = zoneinfo.ZoneInfo(key)


def _zones_of_system() -> set[str]:
    """The names of the system's time zones. zoneinfo.available_timezones would load 1 MiB more, to look for tzdata."""
    keys: set[str] = set()
    for root in map(pathlib.Path, zoneinfo.TZPATH):
        for path in root.rglob("*"):
            key = path.relative_to(root).as_posix()
            if key.partition("/")[0] not in _NO_ZONES and path.is_file():
                with path.open("rb") as file:
                    if file.read(4) == b"TZif":
                        keys.add(key)
    return keys


def make_time(run: Any) -> Facade:
    """The module `time` for one execution: its sleep asks the daemon, as this.sleep does."""

    def sleep(seconds: float, /) -> None:
        run.sleep(seconds)

    return make_facade("time", pick(time, _TIME) | {"sleep": sleep})


def time_facades() -> dict[str, Facade]:
    """The facades of this module, by the name that a flow imports."""
    html_calendar: Any = calendar.HTMLCalendar
    html_calendar.cssclasses = tuple(html_calendar.cssclasses)  # a list that all executions would share
    html_calendar.cssclasses_weekday_head = tuple(html_calendar.cssclasses_weekday_head)
    return {
        "calendar": make_facade("calendar", pick(calendar, _CALENDAR)),
        "datetime": make_facade(
            "datetime", pick(datetime, "MAXYEAR MINYEAR UTC date datetime time timedelta timezone tzinfo")
        ),
        "zoneinfo": make_facade(
            "zoneinfo",
            {
                "ZoneInfo": zone,
                "ZoneInfoNotFoundError": zoneinfo.ZoneInfoNotFoundError,
                "available_timezones": lambda: set(_ZONES),
            },
        ),
    }


def warm_up() -> list[Callable[[], object]]:
    """Calls that load what these modules load late (strptime: _strptime and the locale)."""
    return [
        load_zones,
        time.tzset,
        lambda: time.strptime("2026", "%Y"),
        lambda: datetime.datetime.strptime("2026-01-01 +0000", "%Y-%m-%d %z").isoformat(),
        lambda: datetime.datetime(2026, 1, 1).astimezone().strftime("%c %Z"),
        lambda: calendar.month(2026, 1),
    ]

"""How many fronts there are, and what falls to which of them. Nothing here does I/O.

An execution belongs to the front whose number its id ends with (model/execution.py, use_front_number), taken modulo
the number of fronts: so ids that another number of fronts gave out have an owner too, and a front that replaces
one that died takes over its executions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ..model.options import Options

# An id has one byte for the number. More would not help: docs/processes.md says what bounds the hub.
MAX_FRONTS: Final = 64
# A front with fewer could not keep a quarter for children beside a spare and an idle worker.
LEAST_WORKERS: Final = 4
# What `processes: 0` means: a front and its workers fill about two cores. Both numbers: docs/processes.md.
CORES_PER_FRONT: Final = 2
MOST_BY_CORES: Final = 8


def front_count(options: Options, cores: int) -> int:
    """How many fronts `processes` asks for on so many cores. Never so many that one has fewer than four workers."""
    wanted = options.processes or min(cores // CORES_PER_FRONT, MOST_BY_CORES)
    return max(1, min(wanted, MAX_FRONTS, options.max_workers // LEAST_WORKERS))


def owner(execution_id: str, fronts: int) -> int:
    """The front to which an execution belongs; any one for what is no id."""
    try:
        return int(execution_id[-2:], 16) % fronts
    except ValueError:
        return 0


def share(total: int, front: int, fronts: int) -> int:
    """A front's part of a number, so that the parts add up to it."""
    return total * (front + 1) // fronts - total * front // fronts


def front_options(options: Options, front: int, fronts: int) -> Options:
    """The options as a front's pool sees them: what is kept ahead is divided, what is a limit is counted together."""
    return replace(
        options,
        max_idle_workers=share(options.max_idle_workers, front, fronts),
        spare_workers=min(options.spare_workers, max(1, share(options.spare_workers, front, fronts))),
    )


def fair_slots(total: int, wanted: Mapping[int, int], first: int = 0) -> dict[int, int]:
    """Divides the slots: no front gets more than it wants while another wants more; what nobody wants is spread evenly.

    `first`: whose turn it is, by its position in the order of numbers, to be served before the others.
    """
    given = dict.fromkeys(sorted(wanted), 0)
    turns = list(given)
    if turns:
        first %= len(turns)
        turns = turns[first:] + turns[:first]
    left = total
    for limits in (wanted, dict.fromkeys(given, total)):
        hungry = [front for front in turns if given[front] < limits[front]]
        while left and hungry:
            for front in hungry[:left]:
                given[front] += 1
            left -= min(left, len(hungry))
            hungry = [front for front in hungry if given[front] < limits[front]]
    return given

"""What the zygote has in memory before its first fork: all that flows need, and as little else as may be."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import zoneinfo
from pathlib import Path
from typing import Any

from whd.sandbox.modules import text, times
from whd.sandbox.warming import warm_ways

ROOT = Path(__file__).resolve().parent.parent.parent
# Each would lie in every worker's memory, and has to be mapped at each fork.
UNWANTED = {"ssl", "_ssl", "http.client", "email.message", "urllib.request", "importlib.resources", "tempfile", "lzma"}

LOADED_BY_A_ZYGOTE = """
import sys
sys.path[:0] = [{root!r}]
from whd.sandbox import zygote
before = set(sys.modules)
zygote._warm_up()
print(*sys.modules)
"""


def test_nothing_is_loaded_for_what_no_flow_is_offered() -> None:
    code = LOADED_BY_A_ZYGOTE.format(root=str(ROOT))
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert {"whd.sandbox.worker", "xml.sax.saxutils", "zoneinfo", "yaml"} <= loaded
    assert not UNWANTED & loaded


def test_leaving_out_leaves_modules_as_they_were() -> None:
    saxutils: Any = text.text_facades()["xml.sax.saxutils"]
    assert saxutils.unescape("&lt;a&gt;") == "<a>"
    import urllib.request

    assert callable(urllib.request.urlopen)


def test_every_zone_of_this_machine_is_known() -> None:
    assert set(times._zones_of_system()) == zoneinfo.available_timezones() or not times._zones_of_system()


def test_walking_the_ways_leaves_nothing_behind() -> None:
    warm_ways()
    gc.collect()
    descriptors, objects = len(os.listdir("/proc/self/fd")), len(gc.get_objects())
    for _ in range(3):
        warm_ways()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(gc.get_objects()) - objects < 50

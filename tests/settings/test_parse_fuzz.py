"""Whatever stands in a file, it gives a value or faults: never an exception, never a value that is not JSON."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from whd.model.options import Options
from whd.model.snapshot import Fault
from whd.settings.parse import parse_flow, parse_options, parse_setting, parse_users
from whd.settings.webhooks import parse_webhook

OPTIONS = Options()
ROUNDS_S = float(os.environ.get("FUZZ_S", "0.8"))
# The same in each run, so that a red one is the change's doing; FUZZ_SEED=random FUZZ_S=60 looks further.
SEED = os.environ.get("FUZZ_SEED", "1")

Parser = Callable[[bytes], tuple[Any, Sequence[Fault]]]

PARSERS: dict[str, Parser] = {
    "options": lambda data: parse_options(data, "whd.yaml"),
    "users": lambda data: parse_users(data, "users.yaml"),
    "webhook": lambda data: parse_webhook(data, "w.yaml", "acme", "hook", OPTIONS),
    "setting": lambda data: parse_setting(data, "s.yaml", "app.x"),
    "flow": lambda data: parse_flow(data, "f.py", "acme", "flow"),
}

SEEDS = (
    b"flow_name: signup\nuser_name: kevin\nkey: [k3y-one, k3y-two]\nmethods: [GET]\ntimeout_s: 5\n",
    b"kevin:\n  flows: [a, 'b*']\n  settings: {read: ['*'], write: []}\n  connections: {REST: ['https://a/*']}\n",
    b"listen: ['127.0.0.1:80']\nworkers: 3\nisolation: user\nwait_s: 1.5\n",
    b"a: &x [1, 2.5, ~, yes, 2026-11-23, !!binary aGVs]\nb: *x\n<<: {c: d}\n? [k]\n: v\n",
    b"# coding: latin-1\nx = 1\n",
)
SNIPPETS = (
    b"\t", b"\n", b":", b": ", b"- ", b"? ", b"&a ", b"*a", b"!!int ", b"!!set ", b"!x ", b"<<: ", b"{", b"}", b"[",
    b"]", b"'", b'"', b'"\\ud800"', b'"\\U00110000"', b"|\n", b">-\n ", b"---\n", b"...\n", b"%YAML 1.1\n", b"\x00",
    b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b".nan", b".inf", b"0x", b"0b_", b"1:1", b"9" * 400, b"2026-99-99", b"#",
    b"~", b"\xe2\x80\xa8", b"\xc2\x85", b"=", b"!!timestamp x", b"!!float x", b"!!bool x", b"!!omap [a: b]",
    b"# coding: zip\n", b"key: ", b"limits", b"flows: ", b"listen: ", b"null", b"[[[[[[[[",
)  # fmt: skip


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(data))
        match chance.randint(0, 4):
            case 0:
                data[at:at] = chance.choice(SNIPPETS)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                data += data[at : at + 40]
            case _:
                data[at:at] = chance.choice(SNIPPETS) * chance.randint(1, 5)
    return bytes(data)


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_mutated_files_and_random_bytes_give_a_value_or_faults(kind: str) -> None:
    seed = random.randrange(2**32) if SEED == "random" else int(SEED)
    chance = random.Random(seed)
    end = time.monotonic() + ROUNDS_S
    while time.monotonic() < end:
        data = mutated(chance) if chance.random() < 0.8 else chance.randbytes(chance.randint(0, 60))
        try:
            value, faults = PARSERS[kind](data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error
        assert (value is None) == any(not fault.is_warning for fault in faults), (seed, data)
        for fault in faults:
            assert str(fault).isprintable(), (seed, data)
        if kind == "setting" and value is not None:
            json.dumps(value.value, allow_nan=False)
            json.dumps(value.value, ensure_ascii=False).encode()


def test_no_mutation_of_a_webhook_puts_its_key_into_a_fault() -> None:
    seed = random.randrange(2**32) if SEED == "random" else int(SEED)
    chance = random.Random(seed)
    end = time.monotonic() + ROUNDS_S
    while time.monotonic() < end:
        data = bytearray(b"flow_name: signup\nuser_name: kevin\nkey: ZZZZZZZZZZZZ\n")
        for _ in range(chance.randint(1, 3)):
            # Only what stands around the key changes: a fault may quote a value that stands somewhere else.
            at = chance.choice([data.index(b"Z") - 1, data.index(b"Z"), data.rindex(b"Z") + 1, len(data)])
            data[at:at] = chance.choice((*SNIPPETS, b" ", b"\n ", b"!", b"*", b"&", b"@", b"%", b"`", b",", b"{a: "))
        _, faults = parse_webhook(bytes(data), "w.yaml", "acme", "hook", OPTIONS)
        assert "ZZ" not in "".join(map(str, faults)), (seed, bytes(data))

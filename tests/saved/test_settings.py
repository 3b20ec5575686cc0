"""What flows save as settings: live when the caller is told, there after a restart, one list for all who append."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.settings.test_reload import on_loop
from whd.errors import SaveRefused, WhdError
from whd.model.snapshot import OPERATOR
from whd.saved import read_settings
from whd.saved.database import FILE_NAME, FORMAT
from whd.saved.values import MAX_VALUE_BYTES

from .samples import World, done, world


@on_loop
async def test_a_saved_setting_stands_before_the_operators_and_deleting_it_gives_that_back(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        path = await here.write_setting("app.greeting", "hello")
        await here.save("app.greeting", {"en": "hi"})
        assert here.value("app.greeting") == {"en": "hi"}
        setting = here.client.settings["app.greeting"]
        assert (setting.path, setting.saved and setting.saved.saver) == ("saved by kevin", "kevin")
        hidden = "hidden by the value saved by kevin; `whd settings unset app.greeting --client acme` brings it back"
        assert here.faults == [f"{path}: warning: {hidden}"]
        await here.delete("app.greeting")
        assert here.value("app.greeting") == "hello"
        assert here.client.settings["app.greeting"].saved is None
        assert here.faults == []


@on_loop
async def test_what_was_saved_is_there_after_a_restart_and_for_who_looks_without_a_daemon(tmp_path: Path) -> None:
    value = {"text": "ä\0\U0001f600", "n": [1, 2.5, None, True], "": {}}
    async with world(tmp_path) as here:
        await here.save("one", value)
        await here.save("two", 1)
        await here.delete("two")
        beside = {record.name: record.value for record in read_settings(tmp_path / "state")}
        assert beside == {"one": value}
    async with world(tmp_path) as here:
        assert here.value("one") == value
        assert "two" not in here.client.settings
    alone = read_settings(tmp_path / "state")
    assert [(record.name, record.value, record.saver) for record in alone] == [("one", value, "kevin")]
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["saved.sqlite"]
    assert read_settings(tmp_path / "nowhere") == []


@on_loop
async def test_when_it_was_saved_first_stays(tmp_path: Path) -> None:
    def times(here: World) -> list[int]:
        saved = here.client.settings["app.list"].saved
        assert saved is not None
        return [saved.created_ms, saved.saved_ms]

    async with world(tmp_path) as here:
        await here.save("app.list", [])
        first = times(here)
        assert first[0] == first[1] > 1_700_000_000_000
        await asyncio.sleep(0.002)
        await here.append("app.list", 1)
        later = times(here)
        assert later[0] == first[0] < later[1]
    async with world(tmp_path) as here:
        assert times(here) == later
        await here.delete("app.list")
        await here.save("app.list", [])
        assert times(here)[0] >= later[1]


@on_loop
async def test_what_an_older_whd_saved_is_as_old_as_its_last_change(tmp_path: Path) -> None:
    path = tmp_path / "state" / FILE_NAME
    path.parent.mkdir(mode=0o700)
    older = sqlite3.connect(path)
    older.executescript(
        f"{FORMAT.migrations[0]} PRAGMA application_id={FORMAT.application_id}; PRAGMA user_version=1;"
        "INSERT INTO setting VALUES (1, 'acme', 'one', 'kevin', 1700000000000, '[1]');"
        "INSERT INTO file VALUES (1, 'acme', 'f', 'kevin', 1700000000000, 1, 'x');"
    )
    older.close()
    (before,) = read_settings(tmp_path / "state")
    assert (before.value, before.created_ms) == ([1], 1_700_000_000_000)
    async with world(tmp_path) as here:
        await here.until(lambda client: "one" in client.settings)
        saved = here.client.settings["one"].saved
        assert saved is not None
        assert (saved.value, saved.created_ms, saved.saved_ms) == ([1], 1_700_000_000_000, 1_700_000_000_000)
    (after,) = read_settings(tmp_path / "state")
    assert after.created_ms == 1_700_000_000_000


@on_loop
async def test_a_save_is_live_before_its_callback_and_not_before_it_is_durable(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        seen: list[Any] = []
        finished = asyncio.Event()

        def on_saved(error: WhdError | None) -> None:
            seen.append((error, _value(here, "a"), [record.value for record in read_settings(tmp_path / "state")]))
            finished.set()

        here.saved.setting_save("acme", "a", b"1", "kevin", on_saved)
        assert "a" not in here.client.settings
        await finished.wait()
        assert seen == [(None, 1, [1])]


@on_loop
async def test_a_save_is_live_while_files_are_being_read(tmp_path: Path) -> None:
    """A reload of many files goes on in slices; what is saved meanwhile does not wait for it, nor is it lost in it."""
    async with world(tmp_path) as here:
        for number in range(300):
            here.tree.webhook(f"w{number}")
        await here.until(lambda client: len(client.webhooks) == 300)
        number = 0
        overlapped = False
        while not overlapped:  # how much of a reload one fsync takes is the disk's affair: until a save ends within one
            reload = asyncio.ensure_future(here.reloader.reload())
            await asyncio.sleep(0)
            number += 1
            await here.save("a", number)
            overlapped = not reload.done()
            assert here.value("a") == number
            await reload
            assert here.value("a") == number
        assert len(here.client.webhooks) == 300


@on_loop
async def test_a_payload_is_kept_as_it_came(tmp_path: Path) -> None:
    """Half of a surrogate pair, and as deep as an output may be; over a restart too."""
    value: Any = {"half": ["\ud83d", {"\udc00ä": 1}]}
    for _ in range(397):
        value = [value]
    async with world(tmp_path) as here:
        await here.save("payload", value)
        assert here.value("payload") == value
        await here.save("list", ["\ud800"])
        await here.append("list", "\udfff")
    async with world(tmp_path) as here:
        assert here.value("payload") == value
        assert here.value("list") == ["\ud800", "\udfff"]


@on_loop
async def test_a_setting_of_a_client_without_a_folder_waits_for_it(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await done(lambda f: here.saved.setting_save("other", "a", b"1", "kevin", f))
        assert "other" not in here.reloader.snapshot.clients
        here.tree.write("config/other/users.yaml", "kevin:\n")
        await here.until(lambda _: "other" in here.reloader.snapshot.clients)
        assert here.reloader.snapshot.clients["other"].settings["a"].value == 1


class TestLists:
    """list_append, from many at once."""

    @on_loop
    async def test_no_caller_loses_an_item(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.save("log", [])

            async def append(caller: int) -> None:
                for number in range(20):
                    await here.append("log", [caller, number])

            await asyncio.gather(*(append(caller) for caller in range(50)))
            items = here.value("log")
            assert len(items) == 1000
            for caller in range(50):
                assert [item for item in items if item[0] == caller] == [[caller, number] for number in range(20)]
        async with world(tmp_path) as here:
            assert here.value("log") == items

    @on_loop
    async def test_it_begins_with_the_operators_list_and_leaves_that_alone(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.write_setting("todo", "[ä, {b: 1}]")
            await asyncio.gather(here.append("todo", "two"), here.append("todo", "three"))
            assert here.value("todo") == ["ä", {"b": 1}, "two", "three"]
            await here.delete("todo")
            assert here.value("todo") == ["ä", {"b": 1}]

    @on_loop
    async def test_a_snapshot_that_a_request_holds_does_not_change(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.save("a", [1])
            before = here.client.settings["a"]
            await here.append("a", 2)
            assert (before.value, here.value("a")) == ([1], [1, 2])

    @on_loop
    async def test_what_is_no_list_or_missing_is_refused(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.write_setting("text", "hello")
            await here.save("number", 1.5)
            for name, kind, text in (
                ("text", "InvalidInputError", "holds a text, and only a list"),
                ("number", "InvalidInputError", "holds a number"),
                ("missing", "ResourceNotFoundError", "there is no setting 'missing'"),
            ):
                with pytest.raises(SaveRefused, match=text) as caught:
                    await here.append(name, 1)
                assert caught.value.kind == kind

    @on_loop
    async def test_it_sees_what_is_still_on_its_way(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await asyncio.gather(here.save("a", []), here.append("a", 1), here.delete("a"), here.save("a", ["x"]))
            await asyncio.gather(here.append("a", 2))
            assert here.value("a") == ["x", 2]
            with pytest.raises(SaveRefused):
                await asyncio.gather(here.delete("a"), here.append("a", 3))


NOT_NAMES = [
    "", ".hidden", "a/b", "a\nb", "a\0", "x" * 256, "ä" * 128, "\ud800", "client.webhook.", "client.webhook.a b",
    "client.webhook.x\u200b", "client.webhook.-x",
]  # fmt: skip
NOT_VALUES = [
    (b"NaN", "NaN"),
    (b"[1e999]", "too large"),
    (b'"\xff"', "not JSON"),
    (b"[" * 401 + b"]" * 401, "nested more than 400 deep"),
    (b"[" * 100_000 + b"]" * 100_000, "deep"),
    (b"9" * 5000, "too many digits"),
    (b"{", "not JSON"),
    (b'"' + b"x" * MAX_VALUE_BYTES + b'"', "at most 1048576 bytes"),
    (b'"' + b"x" * 7 * MAX_VALUE_BYTES + b'"', "at most 1048576 bytes"),
]


class TestWhatIsRefused:
    """Like an operator's file: names and values that could not stand in one."""

    @on_loop
    async def test_names(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            for name in NOT_NAMES:
                with pytest.raises(SaveRefused, match="the setting's name") as caught:
                    await here.save(name, 1)
                assert caught.value.kind == "InvalidInputError"
                assert caught.value.detail.isprintable()

    @on_loop
    async def test_values(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            for value_json, text in NOT_VALUES:
                with pytest.raises(SaveRefused, match=text):
                    here.saved.setting_save("acme", "a", value_json, "kevin", lambda error: None)
            assert here.saved.size_bytes("acme") == 0

    @on_loop
    async def test_a_list_cannot_grow_past_a_values_bounds(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            deep: Any = []
            for _ in range(399):
                deep = [deep]
            await here.save("empty", [])
            await here.save("a", [1])
            for name in ("empty", "a"):
                with pytest.raises(SaveRefused, match="deeper than 400"):
                    await here.append(name, deep)
            await here.append("a", "x" * (MAX_VALUE_BYTES - 10))
            with pytest.raises(SaveRefused, match="at most 1048576 bytes"):
                await here.append("a", "and more")

    @on_loop
    async def test_a_webhook_is_as_a_file_could_hold_it(self, tmp_path: Path) -> None:
        webhook = '{"flow_name":"a","user_name":"kevin","key":%s}'
        async with world(tmp_path) as here:
            for key, text in (('"\\ud800"', "surrogate"), ("[" * 100 + "]" * 100, "deeper than 100")):
                with pytest.raises(SaveRefused, match=text):
                    here.saved.setting_save(
                        "acme", "client.webhook.a", (webhook % key).encode(), OPERATOR, lambda error: None
                    )

    @on_loop
    async def test_deleting_what_is_not_saved(self, tmp_path: Path) -> None:
        async with world(tmp_path) as here:
            await here.write_setting("a", "1")
            for name, why in (("a", "operator's file"), ("b", "there is no such setting")):
                with pytest.raises(SaveRefused, match=why) as caught:
                    await here.delete(name)
                assert caught.value.kind == "ResourceNotFoundError"
            assert here.value("a") == 1


@on_loop
async def test_random_changes_end_where_a_dict_does(tmp_path: Path) -> None:
    """Whatever comes together in a commit: the last of each name holds, in memory and on disk."""
    chance = random.Random(7)
    expected: dict[str, Any] = {}
    async with world(tmp_path) as here:
        waiting = []
        for _ in range(600):
            name = chance.choice("abcdef")
            match chance.randrange(4):
                case 0:
                    expected[name] = [chance.random()]
                    waiting.append(asyncio.ensure_future(_started(here, "save", name, expected[name])))
                case 1 if name in expected:
                    expected[name] = [*expected[name], "more"]
                    waiting.append(asyncio.ensure_future(_started(here, "append", name, "more")))
                case 2 if name in expected:
                    del expected[name]
                    waiting.append(asyncio.ensure_future(_started(here, "delete", name)))
                case _:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert {name: here.value(name) for name in here.client.settings} == expected
        size = here.saved.size_bytes("acme")
        assert size == sum(len(name) + len(json.dumps(v, separators=(",", ":"))) for name, v in expected.items())
    async with world(tmp_path) as here:
        assert {name: here.value(name) for name in here.client.settings} == expected
        assert here.saved.size_bytes("acme") == size


def _value(here: World, name: str) -> Any:
    setting = here.client.settings.get(name)
    return None if setting is None else setting.value


async def _started(here: World, what: str, *arguments: Any) -> None:
    await getattr(here, what)(*arguments)

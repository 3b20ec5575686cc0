"""The store finds by id, finds what has not ended, and lists, newest first."""

import asyncio
import re
from dataclasses import fields
from pathlib import Path

import pytest

from whd.model.execution import Execution, Status, new_id
from whd.store.interface import Stored

from .store_samples import FULL, SOURCE, make, opened


class TestFinding:
    """By id, unfinished ones, and the list, newest first."""

    def test_an_unknown_or_malformed_id_is_none(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                store.save_nowait(make(), SOURCE)
                for wrong in (new_id(), "", "x", "' OR 1=1", new_id().upper()):
                    assert await store.get(wrong) is None

        asyncio.run(main())

    def test_unfinished_are_the_pending_and_running_ones_with_their_scripts(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                some = [make(status=status, created_ms=n) for n, status in enumerate(list(Status) * 3)]
                for execution in some:
                    store.save_nowait(execution, SOURCE)
                expected = [Stored(each, SOURCE) for each in some if not each.status.is_ended]
                assert await store.unfinished() == expected
                for stored in expected:
                    stored.execution.status = Status.ENDED_CANCELLED
                    store.save_nowait(stored.execution, None)
                assert await store.unfinished() == []

        asyncio.run(main())

    def test_the_list_is_what_a_plain_filter_gives(self, tmp_path: Path) -> None:
        """Against a model: every mix of filters, limits and pages."""
        some = [
            make(
                created_ms=1_700_000_000_000 + number,
                client_name=("acme", "other")[number % 3 == 0],
                webhook_name=("signup", "push", "")[number % 5 % 3],
                script_hash=str(number % 7),
                status=list(Status)[number % 4],
            )
            for number in range(300)
        ]

        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                for execution in some:
                    store.save_nowait(execution, SOURCE)
                for client in (None, "acme", "nobody"):
                    for status in (None, Status.PENDING, Status.ENDED_CANCELLED):
                        for webhook in (None, "signup", "", "nothing"):
                            for limit, before in ((50, None), (7, some[100].id), (1000, some[299].id), (0, None)):
                                expected = [
                                    execution.id
                                    for execution in reversed(some)
                                    if client in (None, execution.client_name)
                                    and status in (None, execution.status)
                                    and webhook in (None, execution.webhook_name)
                                    and (before is None or execution.id < before)
                                ][:limit]
                                found = await store.list(client, status, webhook, limit, before)
                                assert [execution.id for execution in found] == expected

        asyncio.run(main())

    def test_a_summary_has_all_but_payload_and_log(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                store.save_nowait(FULL, SOURCE)
                (found,) = await store.list()
                for field in fields(Execution):
                    if field.name not in ("input_json", "output_json", "response_json", "log"):
                        assert getattr(found, field.name) == getattr(FULL, field.name)
                assert (found.input_json, found.output_json, found.response_json, found.log) == (b"", b"", b"", [])

        asyncio.run(main())

    def test_a_cursor_that_is_no_id_is_refused(self, tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "store") as store:
                with pytest.raises(ValueError, match="no id"):
                    await store.list(before="yesterday")

        asyncio.run(main())

    def test_no_search_reads_the_whole_table(self, tmp_path: Path) -> None:
        """Whatever is asked for, SQLite goes through an index: a rare name costs no more than a common one."""

        async def main() -> None:
            plans: list[str] = []
            async with opened(tmp_path / "store") as store:
                for number in range(2000):
                    store.save_nowait(make(webhook_name=str(number % 20)), SOURCE)
                await store.flush()
                reader = store._reader
                assert reader is not None
                statements: list[str] = []
                reader._connection.set_trace_callback(statements.append)
                await store.list(webhook="none")
                await store.list(webhook="3", client="acme", status=Status.ENDED_SUCCESS)
                await store.list(status=Status.RUNNING)
                await store.list(before=new_id())
                await store.unfinished()
                await store.get(new_id())
                reader._connection.set_trace_callback(None)
                for statement in statements:
                    plans += [row[3] for row in reader._connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert plans
            assert not [plan for plan in plans if re.match("SCAN (e|x|execution)\\b", plan)]

        asyncio.run(main())

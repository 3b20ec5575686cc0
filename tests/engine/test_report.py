"""Reports add up, travel as JSON, and are said in one way for one process and for several."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from whd.engine.report import (
    NOT_ADDED,
    ExecutionsReport,
    Report,
    SettingsReport,
    WorkersReport,
    fault_texts,
    settings_report,
)
from whd.engine.state import Paths
from whd.engine.status import DaemonFacts, executions_row, readiness, service_line, status_document
from whd.model.options import Options
from whd.model.snapshot import BrokenWebhook, Client, Fault, Snapshot
from whd.pool.worker import WorkerState
from whd.store.interface import StoreCounters

LAYERS = ({"name": "seccomp", "engaged": True, "reason": ""},)
FACTS = DaemonFacts(7, 1.26, "serving", ("127.0.0.1:8080",), 1, Paths(Path("/c"), Path("/f"), Path("/s")))


def filled(part: Any, start: int = 1) -> Any:
    """Another number in every field that has one."""
    numbers: dict[str, Any] = {}
    for member in fields(part):
        value = getattr(part, member.name)
        if is_dataclass(value):
            numbers[member.name] = filled(value, start + len(numbers) * 100)
        elif type(value) in (int, float):
            numbers[member.name] = type(value)(start + len(numbers))
    return replace(part, **numbers)


# Counted and not said: with one node it is always 0.
UNSAID = {"executions.fenced"}

FULL: Report = replace(filled(Report()), faults=("a: wrong", "b: wrong"), layers=LAYERS)


def numbers_of(part: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for member in fields(part):
        value = getattr(part, member.name)
        if is_dataclass(value):
            found.update({f"{member.name}.{name}": number for name, number in numbers_of(value).items()})
        elif type(value) is int:
            found[member.name] = value
    return found


class TestAdding:
    def test_every_number_is_added(self) -> None:
        twice = numbers_of(FULL + FULL)
        assert twice == {name: 2 * number for name, number in numbers_of(FULL).items()}
        assert len(twice) > 20
        assert min(twice.values()) > 0

    def test_an_empty_report_adds_nothing(self) -> None:
        assert Report() + FULL == FULL + Report() == FULL
        assert sum([FULL], Report()) == FULL

    def test_what_all_find_alike_is_said_once_by_the_first_that_looked(self) -> None:
        other = Report(faults=(), layers=())
        assert (FULL + other).faults == ("a: wrong", "b: wrong")
        assert ((other + FULL).faults, (other + FULL).layers) == ((), ())
        assert (Report() + FULL).layers == LAYERS

    def test_of_two_stores_the_fault_and_the_longer_commit_stand(self) -> None:
        one = Report(store=StoreCounters(last_commit_ms=2.5))
        other = Report(store=StoreCounters(last_commit_ms=1.5, fault="the disk"))
        for both in (one + other, other + one):
            assert both.store == StoreCounters(last_commit_ms=2.5, fault="the disk")

    def test_what_is_not_added_is_there(self) -> None:
        named = {member.name for part in (Report, StoreCounters) for member in fields(part)}
        assert set(NOT_ADDED) <= named

    def test_a_front_leaves_out_what_the_hub_says_for_all(self) -> None:
        said = FULL.of_front()
        assert (said.settings, said.store, said.executions.slots) == (SettingsReport(), StoreCounters(), 0)
        assert (said.workers, said.faults, said.layers) == (FULL.workers, FULL.faults, FULL.layers)
        hub = Report(FULL.settings, ExecutionsReport(slots=FULL.executions.slots), store=FULL.store, watch=FULL.watch)
        assert said + hub == FULL


@pytest.mark.parametrize("report", [Report(), FULL, Report(faults=())], ids=["empty", "full", "no faults"])
def test_a_report_travels_as_json(report: Report) -> None:
    assert Report.from_dict(json.loads(json.dumps(report.as_dict()))) == report


def test_workers_are_counted_in_every_state() -> None:
    named = {member.name for member in fields(WorkersReport)}
    assert {state.name.lower() for state in WorkerState} <= named


def test_settings_are_counted_and_warnings_are_no_faults() -> None:
    broken = BrokenWebhook("a", "hook", "hook.yaml")
    clients = {name: Client(name, {}, {}, {}, {"hook": broken}) for name in "ab"}
    faults = (Fault("x.yaml", 1, "", "wrong"), Fault("y.yaml", 1, "", "odd", is_warning=True))
    snapshot = Snapshot(Options(), clients, faults, serial=3)
    assert settings_report(snapshot) == SettingsReport(clients=2, webhooks=2, snapshot=3)
    assert fault_texts(snapshot) == (str(faults[0]),)


class TestStatusDocument:
    def test_every_number_of_a_report_is_in_it_but_for_those_that_are_not_said(self) -> None:
        document = status_document(FULL, FACTS)
        said = [document[name] for name in ("clients", "webhooks", "snapshot", "refused_calls", "buffered_bytes")]
        for part in ("executions", "workers", "calls", "store", "watch"):
            said += document[part].values()
        numbers = numbers_of(FULL)
        assert numbers.keys() >= UNSAID
        expected = [number for name, number in numbers.items() if name not in UNSAID]
        assert sorted(expected) == sorted(value for value in said if type(value) is int)

    def test_its_keys_are_public(self) -> None:
        document = status_document(FULL, FACTS)
        assert (
            list(document)
            == (
                "version pid uptime_s state addresses processes config flows state_folder clients webhooks snapshot "
                "watch faults executions workers refused_calls calls buffered_bytes store saved sandbox"
            ).split()
        )
        assert list(document["executions"]) == "started live running waiting places".split()
        assert list(document["workers"]) == (
            "total forking spare idle busy dead forked killed handed taken_back".split()
        )
        assert list(document["store"]) == [member.name for member in fields(StoreCounters)]
        assert json.loads(json.dumps(document)) == document

    def test_what_is_known_without_counting_is_said(self) -> None:
        document = status_document(Report(), FACTS)
        assert (document["pid"], document["uptime_s"], document["state"]) == (7, 1.3, "serving")
        assert (document["addresses"], document["config"]) == (["127.0.0.1:8080"], "/c")
        assert (document["faults"], document["sandbox"]) == ([], [])

    def test_several_fronts_add_their_rows_and_nothing_else(self) -> None:
        one, several = status_document(FULL, FACTS), status_document(FULL, FACTS, [{"number": 0}])
        assert several.pop("fronts") == [{"number": 0}]
        assert one == several


def test_a_front_s_row_says_the_same_of_executions() -> None:
    row = executions_row(FULL.executions)
    assert row.items() <= status_document(FULL, FACTS)["executions"].items()
    assert set(row) == {"started", "live", "running", "waiting"}


@pytest.mark.parametrize(
    ("warnings", "state_faults", "document"),
    [
        ([], 0, {"status": "ready"}),
        ([True], 0, {"status": "ready"}),
        ([False, True, False], 0, {"status": "degraded", "faults": 2}),
        ([False], 1, {"status": "degraded", "faults": 2}),
        ([], 1, {"status": "degraded", "faults": 1}),
    ],
)
def test_readiness_counts_the_faults_of_settings_and_store(
    warnings: list[bool], state_faults: int, document: dict[str, Any]
) -> None:
    faults = tuple(Fault("a.yaml", 1, "", "wrong", is_warning=is_warning) for is_warning in warnings)
    assert readiness(Snapshot(Options(), {}, faults), state_faults) == (200, document)
    assert readiness(Snapshot(Options(), {}, faults), 1, is_detached=True)[0] == 503, "no start would find its records"


def test_the_service_manager_s_line() -> None:
    report = Report(executions=ExecutionsReport(started=5, active=3, running=2, waiting=1, slots=4))
    assert service_line(report, ["a:1", "b:2"]) == "serving on a:1, b:2; 5 executions started, 2 running, 1 waiting"

"""bench/scale.py: its sections with next to nothing to measure, and what it refuses."""

from __future__ import annotations

import io
import json

import pytest

from bench import parked as parked_flows
from bench import runs, scale, sheet
from bench.progress import Progress
from bench.scaling import accepts, cold, connections, history, parked, payloads, soak, webhooks
from bench.scaling.context import Context


@pytest.fixture
def context() -> Context:
    common = runs.Common(rounds=1, seconds=0.3, warm_s=0.1, pin=False, options=(), quick=True)
    return Context(common, sheet.Noise(), Progress(1, io.StringIO()))


def goals(section: sheet.Section) -> dict[str, sheet.Goal]:
    return {goal.text: goal for goal in section.goals}


def test_webhooks(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "counts", lambda context: (1, 40))
    section = webhooks.measure(context)
    assert [line[0] for line in section.table[1]] == ["1", "40"]
    assert all(rate > 0 for rates in section.figures["throughput"].values() for rate in rates)
    assert len(section.figures["reload_s"][40]) == webhooks.RELOADS
    assert len(section.goals) == 4


def test_history(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "counts", lambda context: (0, 300))
    section = history.measure(context)
    assert section.figures["status_ms"][300]["p50"] > 0, "what was filled in is found by its id"
    assert [line[0] for line in section.table[1]] == ["0", "300"]


def test_payloads(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "sizes", lambda context: (1024, 200_000))
    section = payloads.measure(context)
    assert [line[0] for line in section.table[1]] == ["1 KiB, json", "195 KiB, json", "1 KiB, text", "195 KiB, text"]
    assert section.figures["beside"][0]["large_per_s"] > 0


def test_connections(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "counts", lambda context: (1, 8))
    section = connections.measure(context)
    assert set(section.charts[0].series) == {"whd", "floor"}


def test_cold(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "count", lambda context: 4)
    monkeypatch.setattr(cold, "REST_S", 0.0)
    section = cold.measure(context)
    assert len(section.figures["a changed flow's first call"]) == 2
    assert len(section.goals) == 3


def test_accepts(context: Context) -> None:
    section = accepts.measure(context)
    cell = section.figures["cells"][0]
    assert cell["checked"] == cell["checked_in_full"] > 0
    assert goals(section)["p99 under 100 ms"].met in (True, False)


def test_parked(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "settings", lambda context: parked_flows.Settings((3, 6), 0.2, 1, memory=False))
    section = parked.measure(context)
    assert [line[0] for line in section.table[1]] == ["3", "6"]
    assert all(seconds >= 0.2 for _, seconds in section.charts[0].series["whd"])
    assert not section.goals, "of 1,000 callers nothing is known"


def test_soak(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "soak_s", lambda context: 0.5)
    monkeypatch.setattr(soak, "SAMPLE_EVERY_S", 0.1)
    section = soak.measure(context)
    assert section.figures["growth_mib"] is None, "half a second is too short to tell"
    assert len(section.figures["memory_mib"]) > 1


def test_growth_counts_from_when_memory_has_settled() -> None:
    assert soak.growth_mib([(0.0, 10.0), (10.0, 50.0), (30.0, 52.5)]) == 2.5
    assert soak.growth_mib([(0.0, 10.0), (9.0, 50.0)]) is None


def test_a_report_has_table_goals_json_and_a_page() -> None:
    section = sheet.Section(
        "one",
        "One",
        "how to read it",
        (["n", "per s"], [["1", "2"]]),
        goals=[sheet.Goal("fast", "2/s", False), sheet.Goal("calm", "?", None)],
        charts=[sheet.Chart("Rate", "n", "per s", {"<whd>": [(1.0, 2.0), (10.0, 3.0)]}, log_x=True)],
    )
    noise = sheet.Noise()
    noise.add({"steal": 0.0, "others_cores": 0.4})
    document = sheet.build(runs.about("A title"), [("settings", "none")], [section], noise)
    text = sheet.markdown(document)
    assert "| n | per s |" in text
    assert "- goal: fast: 2/s: missed" in text
    assert "- goal: calm: ?: cannot be told" in text
    assert "noise: noisy" in text
    page = sheet.html_page(json.loads(json.dumps(document)))
    assert "<svg" in page
    assert "&lt;whd&gt;" in page


def test_options_of_whd_reach_parked_flows_too() -> None:
    lines = parked_flows.options_for(10, ("max_queue: 5000", "workers: 3"))
    assert "max_queue: 5000" in lines
    assert "workers: 3" in lines
    assert not [line for line in lines if line == "max_queue: 1000"]


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"], ["--seconds", "0"], ["--option", "x"]])
def test_what_cannot_be_measured_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        scale.main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_option_of_whd_reaches_the_daemon_and_a_wrong_one_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["accepts", "--quick", "--option", "no_such_option=1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "not reported" in err
    assert "no_such_option" in err

"""`tidal doctor` on a real Prometheus that scrapes one exporter, which speaks every system's names, whole and broken."""

import json

import pytest
from exporter import BROKEN, LATENCY_S, RPS, RUNNING, SYSTEMS

from runtime.__main__ import main
from runtime.doctor.systems import nearest


def doctor(scraped, capsys, setup, *arguments):
    """Exit code, and the JSON."""
    code = main(["doctor", "--prometheus", scraped.url, "--select", f"job={setup}", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    return code, told, {row["role"]: row for row in told["roles"]}


def wrong(told):
    return [row for row in (*told["findings"], *told["roles"]) if row["status"] == "bad"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_is_told_by_its_metrics_and_healthy(scraped, capsys, system):
    code, told, roles = doctor(scraped, capsys, system)
    assert (code, told["system"], wrong(told)) == (0, system, [])
    assert roles["offered"]["value"] == pytest.approx(RPS, rel=0.2)
    assert roles["latency"]["value"] == pytest.approx(LATENCY_S, rel=0.05)
    assert roles["offered"]["age_s"] < 10 and roles["replicas"]["value"] == 1
    if "running" in roles and roles["running"]["metric"]:
        assert roles["running"]["value"] == RUNNING


@pytest.mark.parametrize("setup", BROKEN)
def test_what_is_missing_in_a_broken_set_up_is_named(scraped, capsys, setup):
    system, missing = BROKEN[setup]
    code, told, _ = doctor(scraped, capsys, setup)
    assert (code, told["system"]) == (1, system)
    named = {name for row in wrong(told) for name in row.get("missing", ())}
    assert any(name.startswith(missing) for name in named), told


def test_units_that_cannot_be_are_told(scraped, capsys):
    code, _, roles = doctor(scraped, capsys, "milliseconds")
    assert code == 1 and "is not in units of 1 s" in roles["latency"]["text"]
    _, _, roles = doctor(scraped, capsys, "percent")
    assert "percent" in roles["memory"]["text"] and roles["memory"]["status"] == "note"


def test_a_prometheus_without_any_and_one_with_several(scraped, capsys):
    code, told, _ = doctor(scraped, capsys, "nobody")
    assert code == 1 and told["system"] is None and "no metrics of a known system" in wrong(told)[0]["text"]
    assert main(["doctor", "--prometheus", scraped.url, "--system", "nonsense"]) == 1
    assert "there are kserve, " in capsys.readouterr().err
    main(["doctor", "--prometheus", scraped.url, "--json"])
    assert "choose with --system" in capsys.readouterr().out


def test_the_table_tells_it_in_words(scraped, capsys):
    assert main(["doctor", "--prometheus", scraped.url, "--select", "job=no-counter"]) == 1
    out = capsys.readouterr().out
    assert "vLLM: --system vllm" in out and "vllm:request_success_total" in out


def test_nobody_there_and_wrong_arguments(capsys):
    assert main(["doctor", "--prometheus", "http://127.0.0.1:9"]) == 1
    assert "reachable" in capsys.readouterr().out
    for arguments in (["--scrape", "http://127.0.0.1:9"], ["--prometheus", "http://127.0.0.1:9", "--control", "http://x"]):
        with pytest.raises(SystemExit) as caught:
            main(["doctor", *arguments])
        assert caught.value.code == 2
        assert "without --scenario" in capsys.readouterr().err


def test_of_a_system_that_counts_no_requests_the_nearest_is_told():
    assert [a.name for a in nearest({"nv_inference_pending_request_count"})] == ["triton"]
    assert nearest({"up"}) == []

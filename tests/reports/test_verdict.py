"""The verdict says what made-up numbers say, and no more."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import WEIGHTS

from envs.episode import Episode
from envs.scenario_file import load
from reports.comparison import compare
from reports.html_tables import results_table
from reports.measures import COST, DECISION_P50, REWARD, VIOLATIONS, cost_of
from reports.table import WIDTH, frame, terminal_table
from reports.verdict import tied_for_best, verdict

WINDOWS = 8
MIXED = Path(__file__).parents[2] / "examples" / "mixed_devices" / "scenario.yaml"


def made(policy, reward, violations=0.01, accuracy=0.75, cost=0.5, windows=WINDOWS, calibrated=None, traces=1):
    """One episode per window; numbers are one for all windows, or one each."""
    found = []
    for w in range(windows):

        def at(values, w=w):
            return float(values[w]) if np.ndim(values) else float(values)

        totals = {
            "violation_ratio": at(violations),
            "accuracy": at(accuracy),
            "cost": at(cost),
            "change": 0.1,
            "reward": at(reward),
            "p99_s": 0.5,
            "decision_p50_s": 0.001,
            "decision_p99_s": 0.002,
        }
        intervals = pd.DataFrame({"violation_ratio": [at(violations)] * 3})
        found.append(
            Episode(
                policy,
                "made-up",
                f"trace {w % traces}",
                0,
                600.0 * w,
                intervals,
                pd.DataFrame(),
                pd.DataFrame(),
                totals,
                {"calibrated": calibrated},
            )
        )
    return found


def compared(*groups, **options):
    return compare([e for group in groups for e in group], WEIGHTS, np.random.default_rng(0), resamples=400, **options)


def noise(key, size=0.001):
    return size * np.random.default_rng(key).normal(size=WINDOWS)


def test_a_clear_winner_is_named_with_its_margin():
    said = verdict(compared(made("good", 0.7 + noise(1)), made("poor", 0.6 + noise(2), violations=0.05)))
    assert said.headline == "good earns the most reward."
    assert said.evidence.startswith("Reward 0.7") and "more than poor" in said.evidence
    assert any(
        s.startswith("good has the fewest violations. Violations 1.00 %") and "4.00" in s and "less than poor" in s
        for s in said.findings
    )
    assert "poor is dominated by good: worse on violations, and better on nothing." in said.findings


def test_a_difference_within_the_noise_makes_no_winner():
    said = verdict(compared(made("one", 0.7 + noise(1, 0.05)), made("other", 0.7 + noise(2, 0.05))))
    assert said.headline.startswith("On reward no policy is told apart from the best, ")
    assert "+" in said.evidence and "−" in said.evidence  # the interval has both signs
    assert not any("dominated" in s for s in said.findings)


def test_two_leaders_and_one_behind():
    comparison = compared(made("a", 0.70 + noise(1)), made("b", 0.70 + noise(2)), made("c", 0.5))
    assert set(tied_for_best(comparison, REWARD)) == {"a", "b"}
    said = verdict(comparison)
    best, tied = comparison.ranking(REWARD)[:2]
    assert said.headline == f"{best} earns the most reward, but is not told apart from {tied}."
    assert f"against it {tied} −0.00017 [" in said.evidence and "told apart from c, −0.20" in said.evidence


def test_a_leader_that_hangs_on_the_price_of_violations_is_told():
    # reward of "cheap" falls by 0.04 per unit of w_slo, that of "safe" by 0.001: they cross at w_slo 1 + 0.02 / 0.039 = 1.5
    comparison = compared(made("cheap", 0.72 + noise(1), violations=0.04), made("safe", 0.70 + noise(2), violations=0.001))
    (told,) = [s for s in verdict(comparison).findings if "price of a violation" in s]
    assert told == "The leader hangs on the price of a violation: at w_slo 0.3, 1 cheap; at w_slo 3, 10 safe."
    steady = compared(made("best", 0.8 + noise(1), violations=0.001), made("rest", 0.6, violations=0.05))
    assert any(
        s == "Whatever the price of a violation, from w_slo 0.3 to 10, best is first." for s in verdict(steady).findings
    )


def test_caveats_name_few_windows_uncalibrated_policies_and_interruptions():
    few = verdict(compared(made("a", 0.7, windows=3, calibrated=False), made("b", 0.6, windows=3, calibrated=True)))
    assert any("Only 3 windows" in c for c in few.caveats)
    assert any(c.startswith("a runs with uncalibrated settings") for c in few.caveats)
    old = verdict(compared(made("a", 0.7, calibrated="outdated"), made("b", 0.6, calibrated=True)))
    (told,) = (c for c in old.caveats if "calibrat" in c)
    assert told.startswith("a runs with settings that were calibrated for another form of the scenario")
    two = verdict(compared(made("a", 0.7, windows=2), made("b", 0.6, windows=2)))
    assert any("too few for intervals" in c for c in two.caveats) and "no policy is told apart" in two.headline
    one = verdict(compared(made("a", 0.7, windows=1), made("b", 0.6, windows=1)))
    assert any("One window per trace" in c for c in one.caveats)
    cut = verdict(compared(made("a", 0.7), made("b", 0.6)[:-1]))
    assert any("Episodes left out: 1;" in c for c in cut.caveats)
    assert verdict(compared(made("a", 0.7), made("b", 0.6))).caveats == ()


def test_one_policy_alone_is_reported_without_rivals():
    said = verdict(compared(made("a", 0.7)))
    assert said.headline.startswith("a, with nothing to compare") and "reward" in said.evidence.lower() and said.findings == ()


def test_equal_policies_are_equal():
    said = verdict(compared(made("a", 0.7), made("b", 0.7)))
    assert said.headline == "On reward all are equal." and said.evidence == "Reward 0.7000 [0.7000, 0.7000]."


def test_the_table_fits_110_columns_and_shows_every_policy(played):
    console = Console(width=WIDTH, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(compare(played, WEIGHTS, np.random.default_rng(0), resamples=100)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= WIDTH and not any("…" in line for line in lines)
    for policy in ("infadapter", "hpa", "static", "ppo"):
        assert any(line.startswith(policy) for line in lines)


@pytest.mark.parametrize("width", [80, 90, 110])
def test_a_narrow_terminal_gets_fewer_columns_and_no_cut_numbers(played, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(compare(played, WEIGHTS, np.random.default_rng(0), resamples=100), width))
    text = console.export_text()
    assert "…" not in text and "infadapter" in text and "reward" in text
    assert ("against" in text) == (width == 110) and ("decision" in text) == (width >= 85)


def test_long_names_are_folded_so_that_no_number_is_cut():
    name = "model-switching-plus-with-a-forecast"
    small = compared(made(name, 0.70012 + noise(1, 1e-4), violations=0.12), made("b", 0.7 + noise(2, 1e-4), violations=0.34))
    console = Console(width=WIDTH, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(small))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= WIDTH and "…" not in text and name[:16] in text and name[16:32] in text


def test_costs_are_shown_in_money_where_the_scenario_has_a_currency(played):
    mixed = load(MIXED)
    priced = compare(played, WEIGHTS, np.random.default_rng(0), resamples=100, cost=cost_of(mixed))
    console = Console(width=WIDTH, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal_table(priced))
    text, stored = console.export_text(), priced.estimate("cost", "hpa").value
    money = f"{stored * (24 * 0.0425 + 2 * 0.526):.{2 if stored * 2.072 >= 1 else 4}f}"
    assert "USD/h" in text and "of budget" not in text and money in next(line for line in text.splitlines() if "hpa" in line)
    assert f" {money}<" in results_table(priced, "").replace(">", "> ") and "<small>USD/h</small>" in results_table(priced, "")
    (costs,) = [sentence for sentence in verdict(priced).findings if "Cost " in sentence]
    assert "USD/h" in costs and "%" not in costs and "points" not in costs
    assert cost_of(load(MIXED.parents[1] / "own_scenario.yaml")) is COST


def test_the_frame_holds_stored_units(played):
    comparison = compare(played, WEIGHTS, np.random.default_rng(0), resamples=100)
    table = frame(comparison)
    assert table.loc["hpa", "violations"] == comparison.estimate("violations", "hpa").value
    assert (table["cost low"] <= table["cost"]).all() and (table["cost"] <= table["cost high"]).all()


def test_numbers_are_written_as_people_read_them():
    assert VIOLATIONS.show(0.0123) == "1.23 %" and COST.show(0.456) == "45.6 %"
    assert REWARD.show(-0.01, sign=True) == "−0.0100" and REWARD.show(0.00027, sign=True) == "+0.00027"
    assert REWARD.show(0.0) == "0.0000"
    assert (
        DECISION_P50.show(0.00612) == "6.12 ms"
        and DECISION_P50.show(4.2e-6) == "4 µs"
        and DECISION_P50.show(float("nan")) == "–"
    )
    assert VIOLATIONS.interval(0.001, 0.2) == "[0.1, 20.0]" and VIOLATIONS.interval(float("nan"), float("nan")) == ""

"""The protocol's standings and verdicts on made outcomes whose answer is known, and what they become on the page."""

import json

import numpy as np
import pytest

from reports.learning_curves import curves_of, drawing
from reports.protocol import BETTER, NOT_INFERIOR, REFERENCE, UNDECIDED, WORSE, figures, standings, summary
from reports.protocol_leaders import leaders
from reports.protocol_markdown import markdown
from reports.protocol_page import page
from reports.protocol_statistics import holm
from reports.protocol_table import tables
from reports.record import record

WINDOWS = 24
SOURCE = {"name": "twitter", "train": "twitter_2021", "val": "twitter_2021", "judged": True}


def outcome(row, kind, rewards, cold_start_s=60.0, source=SOURCE, trained_on=(), settings=None, refused=""):
    """An outcome; rewards (members, windows)."""
    episodes = [{"member": m, "start_s": 3600.0 * w, "seed": 0, "reward": float(r), "violation_ratio": 0.01, "accuracy": 0.75,
                 "cost": 0.5} for m, row_ in enumerate(np.atleast_2d(rewards)) for w, r in enumerate(row_)]
    return {"cell": {"scenario": "resnet-variants", "source": source, "cold_start_s": cold_start_s}, "row": row, "kind": kind,
            "members": [row] * len(np.atleast_2d(rewards)), "refused": refused, "settings": settings, "load": "made",
            "trained_on": list(trained_on), "episodes": [] if refused else episodes}


def cell(rng, cold_start_s=60.0, source=SOURCE, **agents):
    """A cell with static 0.4, a hold planner 0.6, hpa 0.5, oracle 0.7, and agents this much above the hold planner."""
    level = 0.6 + rng.normal(0, 0.1, WINDOWS)
    rows = [outcome("static", "planner", level - 0.2, cold_start_s, source, settings={}),
            outcome("hpa", "planner", level - 0.1, cold_start_s, source, settings={"target": 0.5}),
            outcome("hold", "planner", level, cold_start_s, source, settings={"release": 4}),
            outcome("oracle", "hindsight", level + 0.1, cold_start_s, source),
            outcome("perfect-forecast", "hindsight", level + 0.05, cold_start_s, source)]
    return rows + [outcome(name, "reward-trained", level + rng.normal(gain, 0.01, WINDOWS), cold_start_s, source, ("nasa",))
                   for name, gain in agents.items()]


def found(*cells, judge=True):
    return standings(cells, np.random.default_rng(0), 4000, judge)


def one(standings_, row, cold_start_s=60.0):
    return next(s for s in standings_ if s.row == row and s.cell["cold_start_s"] == cold_start_s)


def test_verdicts_where_the_answer_is_known():
    """The margin is 2 % of 0.7 - 0.4, so -0.006; the noise of a mean is 0.002."""
    told = found(cell(np.random.default_rng(1), ahead=0.03, behind=-0.05, tied=0.001))
    assert one(told, "hold").verdict == REFERENCE and one(told, "hpa").verdict == WORSE
    assert [one(told, row).verdict for row in ("ahead", "behind", "tied")] == [BETTER, WORSE, NOT_INFERIOR]
    assert one(told, "oracle").verdict == "" and one(told, "oracle").p == {}
    assert one(told, "ahead").seen is False and one(told, "hold").seen is None


def test_windows_without_requests_tell_no_violations_and_the_others_do():
    rows = cell(np.random.default_rng(1))
    for row in rows:
        for episode in row["episodes"]:
            quiet = episode["start_s"] < 6 * 3600.0
            episode["violation_ratio"] = None if quiet else 0.02 + 0.01 * (episode["start_s"] / 3600.0 % 2)
    measured = one(found(rows), "hold").measured
    violations, cost = measured["violations"], measured["cost"]
    assert violations.value == pytest.approx(0.025) and 0.02 < violations.low < 0.025 < violations.high < 0.03
    assert cost.value == cost.low == cost.high == 0.5


def test_the_margin_is_a_fiftieth_of_oracle_minus_static():
    """A row exactly 2 % of the gap behind on every window is at the margin; one half as far behind is not inferior."""
    for ratio, stands in ((0.0201, False), (0.0199, True)):
        rows = cell(np.random.default_rng(2))
        level = [e["reward"] for e in rows[2]["episodes"]]
        told = found([*rows, outcome("agent", "reward-trained", np.array(level) - ratio * 0.3)])
        assert (one(told, "agent").p[NOT_INFERIOR] < 0.025) is stands


def test_the_margin_is_that_of_the_better_constant():
    rows = cell(np.random.default_rng(2))
    level = np.array([e["reward"] for e in rows[2]["episodes"]])
    rows.append(outcome("static-fast", "planner", level - 0.05, settings={}))
    for behind, stands in ((0.0201 * 0.15, False), (0.0199 * 0.15, True)):
        told = found([*rows, outcome("agent", "reward-trained", level - behind)])
        assert (one(told, "agent").p[NOT_INFERIOR] < 0.025) is stands


def test_without_an_oracle_the_perfect_forecast_gives_a_smaller_margin():
    rows = cell(np.random.default_rng(3))
    level = np.array([e["reward"] for e in rows[2]["episodes"]])
    rows[3] = outcome("oracle", "hindsight", level, refused="no ladder")
    for behind, stands in ((0.02 * 0.249, True), (0.02 * 0.251, False)):
        told = found([*rows, outcome("agent", "reward-trained", level - behind)])
        assert (one(told, "agent").p[NOT_INFERIOR] < 0.025) is stands
    assert np.isnan(one(told, "agent").of_oracle.value) and one(told, "oracle").refused == "no ladder"


def test_shares_of_the_gaps():
    rows = cell(np.random.default_rng(4))
    level = np.array([e["reward"] for e in rows[2]["episodes"]])
    agent = one(found([*rows, outcome("agent", "reward-trained", level + 0.02)]), "agent")
    assert (agent.of_oracle.value, agent.of_oracle.low) == pytest.approx((0.2, 0.2))
    assert agent.of_perfect.value == pytest.approx(0.4) and agent.against.value == pytest.approx(0.02)


def test_claims_are_corrected_over_the_cells_of_a_row_and_no_others():
    rng = np.random.default_rng(5)
    times = (10.0, 30.0, 60.0, 120.0, 300.0)
    told = found(*(cell(rng, t, agent=0.004, other=0.0) for t in times))
    for row in ("agent", "other"):
        raw = [one(told, row, t).p[BETTER] for t in times]
        assert [one(told, row, t).corrected[BETTER] for t in times] == pytest.approx(holm(raw))
    assert {one(told, "other", t).verdict for t in times} <= {UNDECIDED, NOT_INFERIOR}


def test_no_verdict_where_validation_is_short_or_the_size_is_small():
    short = {**SOURCE, "name": "azure", "judged": False}
    rng = np.random.default_rng(6)
    told = found(cell(rng, agent=0.05), cell(rng, source=short, agent=0.05))
    assert [s.verdict for s in told if s.row == "agent"] == [BETTER, ""]
    assert [s.verdict for s in found(cell(rng, agent=0.05), judge=False) if s.row == "agent"] == [""]
    assert "1 judged cell: better in 1" in " ".join(summary(told))


def test_seeds_of_training_are_members_of_one_row():
    rows = cell(np.random.default_rng(7))
    level = np.array([e["reward"] for e in rows[2]["episodes"]])
    agent = one(found([*rows, outcome("agent", "reward-trained", level + np.array([[0.01], [0.03]]))]), "agent")
    assert agent.members == 2 and agent.against.value == pytest.approx(0.02)
    assert agent.against.low == pytest.approx(0.01) and agent.against.high == pytest.approx(0.03)


def test_violations_are_held_against_planners_of_the_same_cost_and_accuracy():
    """Of all planners 1 % of requests are violated, at half of the budget; the noise is the windows'."""
    rows = cell(np.random.default_rng(9), half=0.0, cheaper=0.0)
    for row in rows[-2:]:
        for window, episode in enumerate(row["episodes"]):
            episode["violation_ratio"] = 0.004 + 0.002 * (window % 2)  # 0.5 % on average
            episode["accuracy"] = 0.75 / 0.99 * 0.995  # answers as accurate as the planners'
            episode["cost"] = {"half": 0.5, "cheaper": 0.4}[row["row"]]
    told = found(rows)
    ratio = one(told, "half").of_front
    assert ratio.value == pytest.approx(0.5) and 0.4 < ratio.low < 0.5 < ratio.high < 0.6
    assert one(told, "cheaper").of_front is None and np.isnan(one(told, "hpa").of_front.value)
    sentences = " ".join(summary(told))
    assert "half, violations at equal cost and accuracy: at most half of the planners' in 1 of 1 cells" in sentences
    assert "in 1 more no planners are as cheap and as accurate" in sentences


def test_the_page_and_the_record_tell_the_same(tmp_path):
    told = found(cell(np.random.default_rng(8), ahead=0.03))
    document = record(figures(told), ["evaluate.py", "--protocol"], scenario={"name": "resnet-variants"}, size="small",
                      leaders=leaders(told), summary=summary(told), notes=["<note>"], loads=["made"], made="today")
    text = json.dumps(document, allow_nan=False)
    shown = page(told, document, {})
    assert "better in 1" in shown and "&lt;note&gt;" in shown and "<note>" not in shown.split("<script")[0]
    ahead = next(r for r in document["rows"] if r["policy"] == "ahead" and r["figure"].startswith("reward against"))
    assert ahead["peer"] == "hold" and f"{ahead['value']:+.4f}" in shown and ahead["verdict"] in text
    assert len(list(tables(told, 110))) == 1
    kept = markdown(told, document, {"ahead": [[(0.0, 0.1), (100.0, 0.5)]]})
    own = f"{one(told, 'ahead').measured['reward'].value:.4f}<br>{ahead['value']:+.4f} ["
    assert f"| `ahead` (reward-trained, source not trained on) | {own}" in kept and ahead["verdict"] in kept
    assert "- `ahead`, run 0: 0.1000 (0), 0.5000 (100)" in kept and "<note>" in kept


def test_who_leads_is_said_first():
    """A planner stands at 0.6 or so; agents that much above it lead, those below do not, and hindsight never does."""
    rng = np.random.default_rng(9)
    first, *each = leaders(found(cell(rng, behind=-0.03), cell(rng, 120.0, ahead=0.03, behind=-0.05), cell(rng, 300.0)))
    assert first == "A planner leads in 2 of 3 cells (told from zero in 1), an agent in 1 (told from zero in 1)."
    assert each[0].startswith("twitter, 60 s: hold (planner, 0.") and "the best agent, behind (reward-trained, 0." in each[0]
    assert each[1].startswith("twitter, 120 s: ahead (reward-trained, 0.") and "against the best planner, hold" in each[1]
    assert each[2].endswith("no agent played.") and not any("oracle" in told for told in each)


def test_learning_curves_of_runs_that_are_there(tmp_path):
    for seed, last in ((0, 0.5), (1, 0.7)):
        (tmp_path / f"run{seed}" / "best").mkdir(parents=True)
        (tmp_path / f"run{seed}" / "evaluations.csv").write_text(f"steps,reward\n0,0.1\n100,{last}\n")
    curves = curves_of([tmp_path / "run0/best", tmp_path / "run1/best", "infadapter"])
    assert curves == [[(0.0, 0.1), (100.0, 0.5)], [(0.0, 0.1), (100.0, 0.7)]]
    drawn = drawing({"ppo": curves, "none": []})
    assert drawn.count("<polyline") == 3 and "2 runs" in drawn and "none" not in drawn

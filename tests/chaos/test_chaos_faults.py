"""The faults of a seed: the same each time, all sorts in enough of them; and the table that is made of what became of them."""

import pytest

from runtime.chaos.clients import arrivals
from runtime.chaos.faults import BURST, LAST_S, SORTS, drawn, on_ray, with_workers
from runtime.chaos.harm import OTHERS, TO_A_PROCESS
from runtime.chaos.problem import RATE_RPS
from runtime.chaos.table import BEGIN, END, put_into, table


def test_a_seed_has_the_same_faults_and_arrivals_each_time_and_another_has_others():
    assert drawn(3, 30.0) == drawn(3, 30.0) != drawn(5, 30.0)
    assert list(arrivals(3, 30.0)) == list(arrivals(3, 30.0)) != list(arrivals(5, 30.0))


def test_every_sort_comes_and_ends_within_the_trial():
    trials = {seed: drawn(seed, 30.0) for seed in range(60)}
    assert {fault.name for faults in trials.values() for fault in faults} == set(SORTS)
    assert all(on_ray(seed) or not SORTS[fault.name].ray for seed, faults in trials.items() for fault in faults)
    for seed, faults in trials.items():
        assert all(fault.at_s < 30.0 - LAST_S and fault.at_s + fault.for_s <= 30.0 for fault in faults)
        assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
        assert all(with_workers(seed) or not SORTS[fault.name].workers for fault in faults)


def test_a_burst_is_ten_times_the_load():
    seed, burst = next((seed, fault) for seed in range(99) for fault in drawn(seed, 30.0) if fault.name == BURST)
    within = sum(burst.at_s <= at_s < burst.at_s + burst.for_s for at_s in arrivals(seed, 30.0))
    mean = 10 * RATE_RPS * burst.for_s
    assert abs(within - mean) < 5 * mean**0.5


def test_every_sort_is_known_how_to_be_done():
    for name in SORTS:
        whom, _, what = name.partition(" ")
        of_a_process = whom.removesuffix("'s") in ("cluster", "autoscaler", "Prometheus") and what in TO_A_PROCESS
        assert "worker" in name or SORTS[name].ray or name in OTHERS or of_a_process


RESULT = {"seed": 1, "seconds": 30.0, "replicas": "workers", "broken": [], "requests": 1000, "answered": 999,
          "at_once": 900, "refused": 1, "lost": 0, "doubled": 0, "faults": [
              {"name": "worker hung", "requests": 90, "again": 2, "unanswered": 1, "noticed_s": 0.5, "noticed_net_s": 0.5,
               "back_s": 3.9, "back_net_s": 3.25, "back_last_s": 3.4, "load_s": 0.5},
              {"name": "worker hung", "requests": 10, "again": 1, "unanswered": 0, "noticed_s": 0.6, "noticed_net_s": 0.55,
               "back_s": None, "back_net_s": None, "back_last_s": None, "load_s": None}]}


def test_the_table_says_what_became_of_each_sort():
    told = table([RESULT, RESULT | {"replicas": "emulated", "broken": ["x"], "faults": []}])
    for said in ("2 trials of 30 s (1 with worker processes, 0 of them on Ray",
                 "2 faults: 2000 requests, of which 99.900% answered within retries (90.0% at the first",
                 "2 refused with a reason, 0 lost, 0 answered twice; 1 trials broke",
                 "and 3 s 1 of 1 times, counted from the last fault that kept it away; 0 times, counted"):
        assert said in told
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == list(SORTS) and {len(row) for row in rows} == {8}
    [row] = [row for row in rows if row[0] == "worker hung"]
    assert row[1:2] + row[3:6] == ["2", "100", "3", "1"]
    assert row[6:] == ["600 ms, at most 600 ms (net 550 ms)", "3900 ms, at most 3900 ms (net 3250 ms)"]


def test_the_table_takes_its_place_in_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="put <!-- chaos table -->"):
        put_into(page, "new")
    assert page.read_text() == "no marks"

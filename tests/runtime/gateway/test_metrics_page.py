"""The gateway's page where a live cluster's replicas come and go."""

from emulation import Live, made
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics as m
from runtime.gateway.page import Page
from runtime.serving.census import Census


def test_replicas_are_told_by_state_and_a_lost_one_until_it_is_gone():
    live, census = Live(made({"v": 0.1}, [{"variants": ["v"], "cores": [1], "max_count": 3}])), Census()
    (kind,) = live.scenario.kinds
    page = Page(live.dispatcher, census, lambda: 1)

    def states():
        families = {family.name: family for family in text_string_to_metric_families(page.text().decode())}
        return {s.labels["state"]: s.value for s in families[m.REPLICAS.name].samples if s.labels["kind"] == str(kind)}

    for number in range(4):
        census.started(number, kind, 0.0, 0.0)
    census.ready(0, 0.1)
    census.leaves(1, "draining")
    census.leaves(2, "failed")
    assert states() == {"pending": 1, "ready": 1, "draining": 1, "failed": 1}
    census.gone(2, 1.0)
    assert states()["failed"] == 0

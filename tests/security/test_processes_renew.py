"""Whole processes: tokens, certificates and policies that are replaced under a `tidal serve` and a `tidal autoscale`."""

import shutil
import signal

import pytest
import requests
import yaml
from running import Processes, until
from test_policy_files import copied
from test_tls_and_tokens import made, needs_openssl, shown

pytestmark = [pytest.mark.slow, needs_openssl]
TOKENS = [{"operator": f"operator number {n}", "scrape": f"scraper number {n}",
           "tenants": {"default": f"the tenant number {n}"}} for n in range(2)]


@pytest.fixture
def processes():
    started = Processes()
    yield started
    started.close()


def test_what_is_replaced_is_taken_up_and_what_is_bad_is_not(processes, tmp_path):
    pairs = [made(tmp_path, name) for name in ("first", "second")]
    files = [shutil.copy(file, tmp_path / f"server{file.suffix}") for file in pairs[0]]
    both, tokens, agent = tmp_path / "both.pem", tmp_path / "tokens.yaml", copied("live-demo-proposals-network", tmp_path)
    both.write_bytes(pairs[0][0].read_bytes() + pairs[1][0].read_bytes())
    tokens.write_text(yaml.safe_dump(TOKENS[0]))
    served = processes.tidal("serve", "--scenario", "live-demo", "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0",
                             "--tokens", tokens, "--certificate", files[0], "--key", files[1])
    [gateway, control] = served.waits_for(r"requests (https://\S+), control (https://\S+)")

    def asked(n):
        return requests.get(f"{control}/v1/deployment", headers={"Authorization": f"Bearer {TOKENS[n]['operator']}"},
                            verify=str(both), timeout=20).status_code

    assert (asked(0), asked(1)) == (200, 401)
    token_file = tmp_path / "operator.token"
    token_file.write_text(TOKENS[0]["operator"])
    scaler = processes.tidal("autoscale", "--scenario", "live-demo", "--policy", agent, "--fallback", "static",
                             "--source", "prometheus", "--url", "http://127.0.0.1:9", "--actuator", "cluster",
                             "--control", control, "--token-file", token_file, "--journal", tmp_path / "journal",
                             "--interval", "1", REQUESTS_CA_BUNDLE=str(both))
    scaler.waits_for(r"unchanged: 1 x large")  # it sees what is in force, over TLS
    weights = agent / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1])
    scaler.send(signal.SIGHUP)
    scaler.waits_for(r"last good ones stay: AgentError: .*sha256")
    weights.write_bytes(good)
    scaler.send(signal.SIGHUP)
    scaler.waits_for(r"other policies and limits are taken up")

    tokens.write_text("operator: short\n")
    served.waits_for(r"tokens.yaml: not taken up, what was there stays: .*")
    assert (asked(0), asked(1)) == (200, 401)
    tokens.write_text(yaml.safe_dump(TOKENS[1]))
    served.waits_for(r"tokens.yaml: taken up")
    token_file.write_text(TOKENS[1]["operator"])
    assert (asked(0), asked(1)) == (401, 200)
    before = shown(gateway)
    shutil.copy(pairs[1][0], files[0])
    served.waits_for(r"server.key: not taken up, what was there stays: .*no certificate and its key")
    assert shown(gateway) == before
    shutil.copy(pairs[1][1], files[1])
    until(lambda: shown(gateway) != before, "the new certificate is shown")
    at = len(scaler.lines)
    scaler.waits_for(r"unchanged: 1 x large", after=at)  # with the new token, over the new certificate
    assert scaler.end() == 0 and served.end() == 0

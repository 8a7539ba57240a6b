"""The control API against its own description: schemathesis makes the requests, good and bad."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import Processes

SCHEMATHESIS = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}") or shutil.which("schemathesis")
DESCRIPTION = Path(__file__).parents[2] / "runtime" / "control" / "openapi.yaml"
OPERATOR = "an operator's token"
ENDLESS = "/v1/live"  # a stream
CONDITIONAL = "positive_data_acceptance"  # a change for another version than is in force is refused, however well written


@pytest.mark.slow
@pytest.mark.skipif(SCHEMATHESIS is None, reason="no schemathesis: make fuzz installs it")
def test_answers_are_what_the_description_says(tmp_path):
    processes = Processes()
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(yaml.safe_dump({"operator": OPERATOR, "tenants": {"default": "the only tenant's"}}))
    try:
        served = processes.tidal("serve", "--scenario", "live-demo", "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0",
                                 "--tokens", tokens)
        [control] = served.waits_for(r"control (http://\S+)")
        found = subprocess.run(
            [SCHEMATHESIS, "run", DESCRIPTION, "--url", control, "-H", f"Authorization: Bearer {OPERATOR}", "--exclude-path",
             ENDLESS, "--exclude-checks", CONDITIONAL, "--max-examples", "40", "--max-time", "60", "--seed", "1", "--no-color",
             "--no-shrink", "--request-timeout", "20"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert found.returncode == 0, found.stdout
        assert "Traceback" not in served.text
    finally:
        processes.close()

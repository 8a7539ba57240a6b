"""The commands of docs/dropin/tutorial.md, copied literally, in order, in one shell."""

import json
import re
import shutil
import socket
from contextlib import suppress

import pytest
from running import ROOT

PORTS = (9200, 9290)  # that the tutorial names
LINKED = ("evaluate.py", "train.py", "examples", ".venv")
LIMIT_S = 1500.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1700),
              pytest.mark.skipif(not (shutil.which("prometheus") and (ROOT / ".venv/bin/tidal").exists()),
                                 reason="no prometheus, or no .venv/bin/tidal: install the package prometheus; make setup")]


def commands():
    """All of them, as one script."""
    text = (ROOT / "docs/dropin/tutorial.md").read_text()
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


def test_the_tutorials_commands_work_in_order(system, tmp_path):
    for port in PORTS:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            pytest.skip(f"somebody listens at port {port}")
    for name in LINKED:  # so that nothing is written into the checkout
        (tmp_path / name).symlink_to(ROOT / name)
    script = tmp_path / "tutorial.sh"
    script.write_text(f"set -eu\ncd {tmp_path}\n{commands()}")
    shell = system.processes.start("bash", script)
    assert shell.wait(LIMIT_S) == 0, shell.text[-4000:]

    out = tmp_path / "out/tutorial"
    assert "mlp,cpu,1,1,1,1,0," in (out / "latency.csv").read_text()
    assert re.search(r"answered +[1-9]", (out / "load.txt").read_text())
    assert len((out / "load.csv").read_text().splitlines()) > 120
    assert "HTTP: --system http" in shell.text and "as recorded" in shell.text
    for journal, policy in (("journal", "hpa"), ("journal-agent", "runs/tutorial/best")):
        lines = [json.loads(line) for file in (out / journal).glob("*.jsonl") for line in file.read_text().splitlines()]
        decided = [line for line in lines if line["type"] == "intent"]
        assert any(line["by"] == policy for line in decided), decided[-1:]
        assert any(line["observation"]["applications"]["predict"][0] is not None for line in decided)

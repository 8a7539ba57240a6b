"""`tidal serve --launcher ray` where it cannot be. What it does with a cluster: `tests/system/test_ray_cluster.py`."""

import socket
import sys

import pytest

from runtime.__main__ import main

SERVE = ["serve", "--scenario", "live-demo", "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0", "--launcher", "ray"]
MODELS = ["--models", "examples/live_models.yaml"]


def test_where_no_cluster_answers(capsys):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    assert main([*SERVE, *MODELS, "--ray-address", address]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(f"tidal: no Ray cluster answers at {address}: ") and len(said) == 1


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "runtime.serving.ray_launcher", raising=False)
    assert main([*SERVE, *MODELS]) == 1
    assert capsys.readouterr().err == "tidal: --launcher ray: ray is not installed; pip install ray (the extra `ray`)\n"


def test_emulated_replicas_are_not_launched(capsys):
    with pytest.raises(SystemExit):
        main(SERVE)
    assert "emulated replicas are no processes; give --models" in capsys.readouterr().err

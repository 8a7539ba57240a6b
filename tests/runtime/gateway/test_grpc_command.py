"""`tidal serve --grpc`: beside HTTP, off unless it is asked for, and what can be wrong with it in one line."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="the extra grpc is not installed")

import grpc
import requests
from grpc_web import SERVICE, payload

from runtime.__main__ import main
from runtime.gateway import grpc_predict_v2_pb2 as pb

ROOT = Path(__file__).resolve().parents[3]
HERE = "127.0.0.1:0"


SERVE = ["serve", "--scenario", "live-demo", "--gateway", HERE, "--control", HERE, "--grpc"]


def command(address):
    return subprocess.Popen([sys.executable, "-m", "runtime", *SERVE, address], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})


def test_it_serves_beside_http():
    serving = command(HERE)
    try:
        said = []
        while not (said and "ready: after" in said[-1] and any("gRPC" in line for line in said)):
            line = serving.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        address, url = re.search(r"gRPC (\S+), requests (\S+),", "".join(said)).groups()
        over_http = requests.get(f"{url}/v2/models/classify", timeout=10).json()
        with grpc.insecure_channel(address) as channel:
            asked = channel.unary_unary(SERVICE + "ModelMetadata", response_deserializer=pb.ModelMetadataResponse.FromString)
            model = asked(pb.ModelMetadataRequest(name="classify").SerializeToString(), timeout=10)
            assert [*model.versions] == over_http["versions"] and model.inputs[0].name == over_http["inputs"][0]["name"]
            infer = channel.unary_unary(SERVICE + "ModelInfer", response_deserializer=pb.ModelInferResponse.FromString)
            answer = infer(payload(model="classify", id="one").SerializeToString(), timeout=10)
            assert answer.id == "one" and answer.model_version in model.versions
        page = requests.get(f"{url}/metrics", timeout=10).text  # what it served is counted where all is
        assert re.search(r'^tidal_requests_offered_total\{application="classify"\} 1(\.0)?$', page, re.MULTILINE)

        second = command(address)
        text, _ = second.communicate(timeout=60)
        assert second.returncode == 1
        assert text.splitlines()[-1].startswith(f"tidal: {address} cannot be had for gRPC") and "Traceback" not in text
        serving.send_signal(signal.SIGTERM)
        text, _ = serving.communicate(timeout=30)
        assert serving.returncode == 0, text
    finally:
        serving.kill()
        serving.communicate()


def test_an_address_that_cannot_be(capsys):
    assert main([*SERVE, "0.0.0.0:0"]) == 1
    assert "give the tenants tokens" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        main([*SERVE, "nowhere"])
    assert "--grpc nowhere: give HOST:PORT" in capsys.readouterr().err.splitlines()[-1]


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "runtime.gateway.grpc_front", raising=False)
    assert main([*SERVE, HERE]) == 1
    assert capsys.readouterr().err == (
        "tidal: --grpc: grpc is not installed; pip install grpcio protobuf (the extra `grpc`)\n")

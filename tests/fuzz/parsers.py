"""Every parser of what comes from outside, as a function of bytes: what it may answer with, and good inputs to begin from.

A parser that raises anything but its own refusals has a fault; so has one that takes more than `SLOW_S`.
"""

import asyncio
import contextlib
import gzip
import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import requests
import torch
from requests.adapters import BaseAdapter

from agents import registry
from agents.manifest import AgentError
from envs.contract import Deployment
from envs.profiles import Profile, ProfileError
from envs.scenario_file import FOLDER, check, load
from runtime import serve_command
from runtime.actuators.actuator import ActuatorError
from runtime.actuators.cluster import ClusterActuator
from runtime.actuators.ray_serve import RayServeWorkload
from runtime.autoscaler import records
from runtime.autoscaler.journal import Journal, newest_first
from runtime.autoscaler.limits_file import read_limits
from runtime.autoscaler.observation_json import observation_to_json
from runtime.bearers import Bearers
from runtime.control.bodies import BodyError, Change, Decided, Hold, Rollback, parsed
from runtime.control.live import Place
from runtime.control_reader import ControlReader, ControlUnreachable
from runtime.deployment_json import DeploymentError, from_json, to_json
from runtime.gateway.crowd import Crowd
from runtime.gateway.json_tensors import read_request
from runtime.gateway.limits import Limits
from runtime.gateway.reader import BadRequest, Heads, Reader
from runtime.gateway.tensors import ProtocolError
from runtime.models.model import TensorSpec
from runtime.serving.acceptance import DeploymentRefused
from runtime.serving.acceptance import check as accept
from runtime.serving.desired import Desired
from runtime.serving.state_file import Remembered, StateFile
from runtime.sources.adapted import AdaptedSource
from runtime.sources.adapter import named
from runtime.sources.page import SourceError
from runtime.sources.page import parsed as parsed_page
from runtime.sources.prometheus import PrometheusReader
from runtime.sources.window import Window
from runtime.worlds import frames
from runtime.worlds.handshake import HEAD_BYTES, Introduction, Refused, body_bytes, decode, encode, shake_hands
from traces.errors import TraceError
from traces.readers import read as read_trace

SLOW_S = 2.0
SCENARIO = load("live-demo")
LIMITS = Limits(body_bytes=1 << 20)
SPECS = [TensorSpec("x", "FP32", (-1, 2)), TensorSpec("n", "INT64", (-1,))]


@dataclass(frozen=True)
class Parser:
    """One of them.

    Attributes:
        parse: raises where it refuses.
        corpus: good inputs.
        refusals: what it may raise.
        weight: share of the inputs, for those that are quick.
    """

    parse: Callable[[bytes], object]
    corpus: list[bytes]
    refusals: tuple[type[Exception], ...] = ()
    weight: int = 1


def _text(*values):
    return [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]


# ---- the gateway

def http(data):
    reader = Reader(LIMITS, Heads(), Crowd(LIMITS))
    step = 1 + data[0] if data else 1  # cut where the input says
    for at in range(0, len(data), step * 16):
        reader.feed(data[at : at + step * 16])


INFER = {"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1.5, -2]]},
                               {"name": "n", "datatype": "INT64", "shape": [1], "data": [3]}],
         "outputs": [{"name": "x", "parameters": {"binary_data": True}}], "parameters": {"binary_data_output": True}}
BINARY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
                     {"name": "n", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}]}
HTTP = [
    b"POST /v2/models/s/infer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"POST /v2/models/a%20b/infer?x=1#y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n{"]


def json_request(data):
    read_request(data, None, SPECS, SPECS)
    read_request(data, None, (), ())


def binary_request(data):
    size = int.from_bytes(data[:2], "little")
    read_request(data[2:], size, SPECS, SPECS)


def _binary(said, tail):
    text = json.dumps(said).encode()
    return struct.pack("<H", len(text)) + text + tail


# ---- worlds

LOOP = asyncio.new_event_loop()


class _Nowhere:
    def write(self, data):
        pass


def _run(coroutine):
    """To its end without a loop: all that it reads is there."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        coroutine.close()


def _reader(data):
    reader = asyncio.StreamReader(loop=LOOP)
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def frame(data):
    if len(data) >= HEAD_BYTES:
        decode(data[HEAD_BYTES : HEAD_BYTES + body_bytes(data)])


def handshake(data):
    me = Introduction("us", "127.0.0.1:1", "control")
    _run(shake_hands(_reader(data), _Nowhere(), me, "secret", accepting=bool(data[-1:] > b"\x7f")))


HELLO = {"tidal-worlds": 2, "uid": "a" * 32, "address": "127.0.0.1:5", "kind": "control", "nonce": "b" * 32}


def message(data):
    """A head, a description and a body, as they come."""
    size = frames.read_head(data[: frames.HEAD.size].ljust(frames.HEAD.size, b"\0"), 0)
    rest = data[frames.HEAD.size :]
    layout = frames.read_layout(rest[: size or 0])
    if layout.body_bytes <= 1 << 20:
        body = np.zeros(layout.body_bytes, np.uint8)
        found = np.frombuffer(rest[size or 0 :][: layout.body_bytes], np.uint8)
        body[: len(found)] = found
        frames.unpack(body, layout)


def _message(*forms):
    layout = frames.lay_out(tuple(forms))
    return frames.head_of(layout, None, 0) + bytes(range(200))[: layout.body_bytes]


# ---- the control API, and who asks it

class _Answer(BaseAdapter):
    """Answers with what is to be tried."""

    def __init__(self):
        super().__init__()
        self.data, self.status = b"", 200

    def send(self, request, **_):
        response = requests.Response()
        response.status_code, response.request, response.url = self.status, request, request.url
        response._content, response.encoding = self.data, "utf-8"
        return response

    def close(self):
        pass


ANSWER = _Answer()


def _answered(client):
    client._session.mount("http://127.0.0.1:9", ANSWER)
    return client


ACTUATOR = _answered(ClusterActuator("http://127.0.0.1:9"))
ACTUATOR._thread = type("Here", (), {"call": staticmethod(lambda ask, _: ask()), "close": staticmethod(lambda: None)})
READER = _answered(ControlReader("http://127.0.0.1:9"))
PROMETHEUS = _answered(PrometheusReader("http://127.0.0.1:9"))
PROMETHEUS._thread = ACTUATOR._thread
RAY_SERVE = _answered(RayServeWorkload("http://127.0.0.1:9", "app/llm"))


def control_bodies(data):
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):  # `runtime.control.api._body`
        return
    for form in (Change, Decided, Rollback, Hold):
        with contextlib.suppress(BodyError):
            body = parsed(form, said)
            if isinstance(body, Change):
                accept(from_json(body.deployment), SCENARIO)


def control_answers(data):
    ANSWER.data = data
    ANSWER.status = 200
    with contextlib.suppress(ControlUnreachable):
        READER.ask("/v1/deployment")
    for ANSWER.status in (200, 412, 400):
        ACTUATOR.apply(SCENARIO.initial_deployment, "1", "a/1")
    ANSWER.status = 200
    ACTUATOR.current()


def headers(data):
    text = data.decode("latin-1")
    Bearers([("a", "alpha")]).bearer(text)
    Place.read(text)


# ---- metrics

def exposition(data):
    page = parsed_page(data.decode("utf-8"))
    window = Window(SCENARIO)
    for t_s in (5.0, 10.0):
        window.take({"a": page}, t_s, SCENARIO.initial_deployment)


def prometheus(data):
    ANSWER.data, ANSWER.status = data, 200
    pages = PROMETHEUS.pages()
    Window(SCENARIO).take(pages, 5.0, SCENARIO.initial_deployment)


def _adapted():
    source = _answered(AdaptedSource(SCENARIO, named("vllm"), "http://127.0.0.1:9", {}, 5.0))
    source._thread = ACTUATOR._thread

    def parse(data):
        ANSWER.data, ANSWER.status = data, 200
        source.read(20.0, Deployment({SCENARIO.kinds[0]: 2}))
        if source.trouble:
            raise SourceError(source.trouble)

    return Parser(parse, _text(VLLM), (SourceError,), 2)


# ---- systems that are scaled

def ray_serve(data):
    ANSWER.data = data
    for ANSWER.status in (400, 200):
        RAY_SERVE.scale(2, 1)
    RAY_SERVE.replicas()


def _kubernetes():
    import kubernetes

    from runtime.actuators.kubernetes import KubernetesWorkload, Place

    workload = KubernetesWorkload(kubernetes.client.ApiClient(), Place.read("serving/deployments/llm"))

    def parse(data):
        refused = kubernetes.client.exceptions.ApiException(status=409)
        refused.body = data

        def conflict(**_):
            raise refused

        workload._api.get_namespaced_custom_object_scale = lambda **_: json.loads(data)
        workload._api.replace_namespaced_custom_object_scale = conflict
        workload.scale(2, 1)
        refused.status = 403
        workload.scale(2, 1)
        workload.replicas()

    scale = {"kind": "Scale", "metadata": {"resourceVersion": "5"}, "spec": {"replicas": 1}, "message": "no"}
    return Parser(parse, _text(scale), (ActuatorError,), 5)


# ---- files

class Files:
    """Parsers of files; each input is written to the same place."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("live-demo-latency.csv", "live-demo-load.csv"):
            shutil.copy(FOLDER / name, folder)
        self.agent = folder / "agent"
        shutil.copytree(registry.PRETRAINED / "live-demo-proposals-network", self.agent)
        self.weights = (self.agent / "weights.safetensors").read_bytes()
        self.manifest = (self.agent / "manifest.json").read_bytes()

    def at(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def scenario(self, data):
        check(self.at("scenario.yaml", data))

    def limits(self, data):
        read_limits(self.at("limits.yaml", data), SCENARIO)

    def callers(self, data):
        serve_command._callers(self.at("tokens.yaml", data))

    def models(self, data):
        serve_command._models(self.at("models.yaml", data))

    def trace(self, data):
        read_trace(self.at("trace.csv", data))

    def mooncake(self, data):
        read_trace(self.at("trace.jsonl", data))

    def profile(self, data):
        Profile.read(self.at("profile.csv", data))

    def journal(self, data):
        folder = self.folder / "journal"
        folder.mkdir(exist_ok=True)
        (folder / "journal-00000001.jsonl").write_bytes(data)
        list(newest_first(folder))
        records.remembered(newest_first(folder), SCENARIO, 5)
        Journal(folder).close()

    def state(self, data):
        StateFile(self.at("state.json", data)).close()

    def policy_manifest(self, data):
        (self.agent / "weights.safetensors").write_bytes(self.weights)
        (self.agent / "manifest.json").write_bytes(data)
        registry.make(str(self.agent), SCENARIO)

    def policy_weights(self, data):
        """With a digest that fits, as somebody would who means harm."""
        (self.agent / "weights.safetensors").write_bytes(data)
        said = json.loads(self.manifest) | {"weights_sha256": hashlib.sha256(data).hexdigest()}
        (self.agent / "manifest.json").write_text(json.dumps(said))
        registry.make(str(self.agent), SCENARIO)


def _state(folder):
    file = StateFile(folder / "first.json")
    file.write(Remembered(Desired.first(SCENARIO.initial_deployment), 1, ()))
    file.close()
    return (folder / "first.json").read_bytes()


def _journal():
    from envs.observation import missing_observation

    seen = observation_to_json(missing_observation(SCENARIO, SCENARIO.kinds, SCENARIO.initial_deployment, 5.0), SCENARIO)
    intent = {"type": "intent", "decision_id": "a/1", "t_s": 5.0, "at_s": 5.0, "mode": "act", "scenario": SCENARIO.name,
              "version": "1", "observation": seen, "by": "policy", "failure": "", "bounds": [], "acts": True, "shadow": None,
              "deployment": to_json(SCENARIO.initial_deployment), "history": [
                  {"t_s": 5.0, "before": to_json(SCENARIO.initial_deployment)}, {"t_s": 5.0, "panic": "classify"}],
              "proposal": {"deployment": to_json(SCENARIO.initial_deployment), "reason": "", "details": {}}}
    lines = [{"type": "journal", "format": 1, "id": "a"}, intent, {"type": "outcome", "decision_id": "a/1", "at_s": 5.0,
             "status": "applied", "version": "2", "detail": ""}, {"type": "stop", "at_s": 6.0}]
    return b"\n".join(_text(*lines)) + b"\n"


PAGE = b"""# TYPE tidal_exposition_timestamp_seconds gauge
tidal_exposition_timestamp_seconds 4.5
tidal_exposition_start_timestamp_seconds 0
tidal_requests_offered_total{application="classify"} 12
tidal_requests_settled_total{application="classify",fate="answered"} 1e3
tidal_request_latency_seconds_bucket{application="classify",le="0.25"} 4
tidal_service_requests_offered_total{service="classify",tenant="default"} 12 1700000
tidal_service_queue_requests{service="classify",tenant="default"} NaN
tidal_kind_replicas{kind="large @1c",state="ready",variant="large",device="cpu"} 1
tidal_replica_pending_start_timestamp_seconds{kind="large @1c",replica="3",variant="large",device="cpu"} 1
tidal_kind_cold_start_seconds{kind="large @1c",variant="large",device="cpu"} 0.5
"""
ROWS = {"status": "success", "data": {"resultType": "vector", "result": [
    {"metric": {"__name__": "up", "instance": "a:1", "job": "tidal"}, "value": [5.0, "1"]},
    {"metric": {"__name__": "tidal_exposition_timestamp_seconds", "instance": "a:1"}, "value": [5.0, "4.5"]},
    {"metric": {"__name__": "tidal_requests_offered_total", "instance": "a:1", "exported_application": "classify"},
     "value": [5.0, "+Inf"]}]}, "warnings": []}
VLLM = {"status": "success", "data": {"resultType": "matrix", "result": [
    {"metric": {"__name__": name, "model_name": "m", **labels}, "values": [[t, str(value * t)] for t in (10.0, 15.0, 20.0)]}
    for name, labels, value in [
        ("vllm:request_success_total", {"finished_reason": "stop"}, 4), ("vllm:num_requests_running", {}, 0.1),
        ("vllm:num_requests_waiting", {}, 0.2), ("vllm:e2e_request_latency_seconds_sum", {}, 1.5),
        ("vllm:e2e_request_latency_seconds_count", {}, 4), ("vllm:e2e_request_latency_seconds_bucket", {"le": "0.5"}, 3),
        ("vllm:e2e_request_latency_seconds_bucket", {"le": "+Inf"}, 4)]]}}
SERVE = {"applications": {"app": {"deployments": {"llm": {"status": "HEALTHY", "target_num_replicas": 1}}}}, "error": "no"}
DEPLOYMENT = to_json(SCENARIO.deployment((1, 1, 0), {"classify": {(SCENARIO.kinds[0], "small"): 0.5,
                                                                 (SCENARIO.kinds[1], "medium"): 0.5}}))
CHANGE = {"deployment": DEPLOYMENT, "decision_id": "a/1", "policy": "hpa", "reason": "load", "bounds": ["a"]}
DECIDED = {"decision_id": "a/1", "t_s": 5.0, "interval_s": 5.0, "mode": "act", "status": "applied", "deployment": "x",
           "policy": "p", "reason": "r", "bounds": [], "trouble": ""}
YAML_LIMITS = b"max_rise: 2\nmin_levels: [0, 0, 1]\nchange_window_s: 12.5\npanic_violation_ratio: 0.1\n"
TRACES = [b"arrival_s,model,input_tokens\n0.5,a,3\n1.5,b,\n", b"t_s,requests\n0,3\n60,4\n120,5\n",
          b"t_s,model,requests,cv\n0,a,3,1.5\n60,b,4,\n", b"3\n4\n5\n",
          b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.1,11,2\n",
          b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n",
          b"app,func,end_timestamp,duration\na,b,0.078,0.078\na,c,0.079,0.01\n",
          gzip.compress(b"arrival_s\n0.5\n1.5\n")]
MOONCAKE = [b'{"timestamp": 0, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n'
            b'{"timestamp": 3000, "input_length": 1, "output_length": 2, "hash_ids": []}\n']


def all_parsers(folder):
    """By name; files are written to a folder."""
    files = Files(folder)
    scenarios = [path.read_bytes() for name in ("live-demo", "video", "tenants", "cascade")
                 if (path := FOLDER / f"{name}.yaml").is_file()]
    callers = b"operator: an operator's token\nscrape: abc\ntenants: {gold: token of gold, tin: 5}\n"
    parsers = {
        "http": Parser(http, HTTP, (BadRequest,), 40),
        "infer-json": Parser(json_request, _text(INFER), (ProtocolError,), 40),
        "infer-binary": Parser(binary_request, [_binary(BINARY, bytes(16)), _binary(INFER, b"")], (ProtocolError,), 40),
        "headers": Parser(headers, [b"Bearer alpha", b"Basic alpha", b"0123abcd-1-2-3"], (), 10),
        "world-frame": Parser(frame, [encode(HELLO), encode({"type": "bye"})], (Refused, asyncio.IncompleteReadError), 40),
        "world-handshake": Parser(handshake, [encode(HELLO) + encode({"proof": "c" * 64}) + encode({"ok": True})],
                                  (Refused, asyncio.IncompleteReadError), 10),
        "world-message": Parser(message, [_message((torch.float32, (2, 3)), (torch.uint8, (5,))), _message((torch.bool, ()))],
                                (RuntimeError,), 20),
        "control-bodies": Parser(control_bodies, _text(CHANGE, DECIDED, {"for_s": 5.0, "why": "freeze"}, {"decision_id": ""}),
                                 (DeploymentError, DeploymentRefused), 5),
        "control-answers": Parser(control_answers, _text({"deployment": DEPLOYMENT, "version": "7", "decision_id": "a/1"}),
                                  (ActuatorError,), 2),
        "metrics-page": Parser(exposition, [PAGE], (ValueError,), 2),
        "prometheus": Parser(prometheus, _text(ROWS), (SourceError,), 2),
        "adapted": _adapted(),
        "ray-serve": Parser(ray_serve, _text(SERVE), (ActuatorError,), 2),
        "scenario": Parser(files.scenario, scenarios, ()),
        "limits": Parser(files.limits, [YAML_LIMITS, b"{}"], (ValueError,), 2),
        "tokens": Parser(files.callers, [callers], (ValueError,), 2),
        "models": Parser(files.models, [b"variants: {a: b}\ndevice: cpu\ndtype: float32\n"], (ValueError,), 2),
        "trace": Parser(files.trace, TRACES, (TraceError,), 2),
        "trace-mooncake": Parser(files.mooncake, MOONCAKE, (TraceError,), 2),
        "profile": Parser(files.profile, [(FOLDER / "live-demo-latency.csv").read_bytes()], (ProfileError,)),
        "journal": Parser(files.journal, [_journal()], (ValueError, KeyError, TypeError), 2),
        "state-file": Parser(files.state, [_state(folder)], (ValueError,), 2),
        "policy-manifest": Parser(files.policy_manifest, [files.manifest], (AgentError,)),
        "policy-weights": Parser(files.policy_weights, [files.weights], (AgentError,)),
    }
    with contextlib.suppress(ImportError):  # the extra `grpc`
        parsers["infer-grpc"] = _grpc()
    with contextlib.suppress(ImportError):  # the extra `kubernetes`
        parsers["kubernetes"] = _kubernetes()
    return parsers


def _grpc():
    from google.protobuf.message import DecodeError

    from runtime.gateway import grpc_predict_v2_pb2 as pb
    from runtime.gateway.grpc_tensors import read_request as read_grpc

    def parse(data):
        asked = pb.ModelInferRequest.FromString(data)
        read_grpc(asked, SPECS, SPECS)
        read_grpc(asked, (), ())

    def asked(raw=(), **contents):
        x, n = (pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
                for name, datatype, shape in (("x", "FP32", [1, 2]), ("n", "INT64", [1])))
        if contents:
            x.contents.fp32_contents.extend([1.5, 2.5])
            n.contents.int64_contents.append(3)
        return pb.ModelInferRequest(model_name="s", id="7", inputs=[x, n], raw_input_contents=raw).SerializeToString()

    return Parser(parse, [asked(typed=True), asked(raw=[bytes(8), bytes(8)])], (DecodeError, ProtocolError), 20)

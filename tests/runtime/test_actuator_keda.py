"""KEDA's external scaler by a generated client, of the current protocol and of the old one."""

import time

import pytest
import requests

pytest.importorskip("grpc", reason="the extra grpc is not installed")

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from offering import KINDS, Decider
from running import free_port, until
from simulated_service import SimulatedService, serve
from test_autoscale_command import Process, argv

from envs.scenario_file import load
from runtime.actuators import external_scaler_pb2
from runtime.actuators.keda import ExternalScaler
from runtime.actuators.offer import REPLICAS

SOON_S = 60.0
SCENARIO = load("live-demo")


@pytest.fixture
def decider():
    return Decider()


def messages(old):
    """The messages of a generated client, by name; `old`: as they were before July 2026, without fields of type double."""
    file = descriptor_pb2.FileDescriptorProto()
    external_scaler_pb2.DESCRIPTOR.CopyToProto(file)
    if old:
        for message in file.message_type:
            for field in [f for f in message.field if f.name.endswith("Float")]:
                message.field.remove(field)
        (service,) = file.service
        service.method.remove(next(m for m in service.method if m.name == "StreamMetricSpec"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {m.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"externalscaler.{m.name}"))
             for m in file.message_type}
    methods = {m.name: (found[m.input_type.split(".")[-1]], found[m.output_type.split(".")[-1]], m.server_streaming)
               for m in file.service[0].method}
    return found, methods


class Keda:
    """A client as KEDA is one."""

    def __init__(self, address, old):
        self.messages, methods = messages(old)
        self.channel = grpc.insecure_channel(address)
        for name, (takes, gives, streams) in methods.items():
            make = self.channel.unary_stream if streams else self.channel.unary_unary
            setattr(self, name, make(f"/externalscaler.ExternalScaler/{name}", request_serializer=takes.SerializeToString,
                                     response_deserializer=gives.FromString))

    def ref(self, **metadata):
        return self.messages["ScaledObjectRef"](name="llm", namespace="serving", scalerMetadata=metadata)

    def value(self, **metadata):
        request = self.messages["GetMetricsRequest"](scaledObjectRef=self.ref(**metadata), metricName="s0-tidal")
        (value,) = self.GetMetrics(request, timeout=SOON_S).metricValues
        return value


@pytest.fixture(params=["current", "old"])
def keda(request, decider):
    scaler = ExternalScaler(decider.offer)
    client = Keda(scaler.address, request.param == "old")
    yield client
    client.channel.close()
    scaler.close()


def test_keda_is_told_what_is_wanted(keda, decider):
    decider.decides(3, 0)
    small, large = ({"kind": "+".join(kind.variants)} for kind in KINDS)
    assert keda.value(**small).metricValue == 3 and keda.IsActive(keda.ref(**small), timeout=SOON_S).result
    assert keda.value(**large).metricValue == 0 and not keda.IsActive(keda.ref(**large), timeout=SOON_S).result
    (spec,) = keda.GetMetricSpec(keda.ref(**small), timeout=SOON_S).metricSpecs
    assert spec.targetSize == 1 and spec.metricName == keda.value(**small).metricName
    if hasattr(spec, "targetSizeFloat"):
        assert (spec.targetSizeFloat, keda.value(**small).metricValueFloat) == (1, 3)
        stream = keda.StreamMetricSpec(keda.ref(**small), timeout=SOON_S)
        assert list(next(stream).metricSpecs) == [spec]
        stream.cancel()


def test_while_nobody_stands_by_a_number_there_is_an_error_and_no_zero(keda, decider):
    metadata = {"kind": str(KINDS[0])}
    for call in (lambda: keda.value(**metadata), lambda: keda.IsActive(keda.ref(**metadata), timeout=SOON_S)):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    decider.decides(3, 0)
    assert keda.value(**metadata).metricValue == 3


def test_a_stream_tells_at_once_and_then_each_change(keda, decider):
    decider.decides(0, 0)
    stream = keda.StreamIsActive(keda.ref(kind=str(KINDS[0])), timeout=SOON_S)
    assert not next(stream).result
    decider.decides(0, 2)  # of another kind: nothing is told
    decider.decides(1, 2)
    assert next(stream).result
    decider.decides(0, 2)
    assert not next(stream).result
    stream.cancel()


def test_a_stream_that_begins_before_the_first_decision_waits_for_it(keda, decider):
    stream = keda.StreamIsActive(keda.ref(kind=str(KINDS[0])), timeout=SOON_S)
    time.sleep(0.05)
    decider.decides(2, 0)
    assert next(stream).result
    stream.cancel()


@pytest.mark.parametrize("metadata, told", [({}, "name one of several kinds"), ({"kind": "huge"}, "no kind named 'huge'")])
def test_a_trigger_of_no_kind_is_told_which_there_are(keda, decider, metadata, told):
    decider.decides(2, 0)
    with pytest.raises(grpc.RpcError) as caught:
        keda.GetMetricSpec(keda.ref(**metadata), timeout=SOON_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert told in caught.value.details() and str(KINDS[1]) in caught.value.details()


def test_a_port_that_is_taken_is_told(decider):
    first = ExternalScaler(decider.offer)
    with pytest.raises(OSError, match="cannot be had for gRPC"):
        ExternalScaler(decider.offer, port=int(first.address.rpartition(":")[2]))
    first.close()


@pytest.mark.slow
def test_the_command_offers_what_is_in_force_to_keda_and_on_its_page(tmp_path):
    kind = SCENARIO.kinds[0]
    gauge = f'{REPLICAS}{{device="cpu",kind="{kind}",variant="{"+".join(kind.variants)}"}} '
    keda_listen = f"127.0.0.1:{free_port()}"
    with serve(SimulatedService(SCENARIO, {})) as url, Process(*argv(
            url=f"{url}/metrics", actuator="keda", keda_listen=keda_listen, target=kind, journal=tmp_path,
            interval=0.5)) as process:
        until(lambda: gauge in requests.get(f"{process.url}/metrics", timeout=SOON_S).text, "it decides")
        keda = Keda(keda_listen, old=False)
        told = keda.value().metricValue
        keda.channel.close()
        page = requests.get(f"{process.url}/metrics", timeout=SOON_S).text
        code, err = process.end()
    assert (code, told) == (0, SCENARIO.initial_deployment.replicas.get(kind, 0)) and f"{gauge}{float(told)}" in page
    assert f"keda changes numbers of replicas only, of {kind}" in err

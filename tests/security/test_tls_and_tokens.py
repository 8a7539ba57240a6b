"""TLS of the gateway and the control API, and tokens: in constant time, changed without a restart."""

import asyncio
import hmac
import shutil
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest
import requests
from test_policy_safety import SCENARIO

from runtime import bearers
from runtime.__main__ import main
from runtime.bearers import Bearers
from runtime.certificate import Certificate, CertificateError
from runtime.control_reader import ControlReader, ControlUnreachable
from runtime.serving.renewal import Renewal
from runtime.serving.service import Callers, Service

OPERATOR, TENANT, SCRAPE = "an operator's token", "default's own token", "a scraper's token"
CALLERS = Callers(OPERATOR, {"default": TENANT}, SCRAPE)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here to make certificates with")


def made(folder, name, days=2):
    """A certificate of 127.0.0.1 that signs itself."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    str(days), "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[1], "-out",
                    files[0]], check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return made(tmp_path_factory.mktemp("certificates"), "one")


@asynccontextmanager
async def serving(callers=CALLERS, certificate=None):
    service = Service(SCENARIO, callers=callers)
    await service.start(("127.0.0.1", 0), ("127.0.0.1", 0), None, certificate)
    try:
        yield service
    finally:
        await service.close()


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def asked(url, token="", trust=True):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return (await asyncio.to_thread(requests.get, url, headers=headers, verify=str(trust) if trust else trust,
                                    timeout=20)).status_code


@needs_openssl
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_all_fronts_over_tls_and_nothing_in_the_clear(pair, tmp_path, monkeypatch):
    token_file = tmp_path / "token"
    token_file.write_text(OPERATOR)

    async def play():
        async with serving(certificate=Certificate(*pair)) as service:
            urls = [f"{service.gateway.url}/v2/health/live", f"{service.control.url}/v1/deployment"]
            for url in urls:
                assert url.startswith("https://127.0.0.1:")
                assert await asked(url, OPERATOR, pair[0]) == 200
                with pytest.raises(requests.exceptions.SSLError):  # nobody vouches for it
                    await asyncio.to_thread(requests.get, url, timeout=20)
                with pytest.raises(requests.RequestException):
                    await asyncio.to_thread(requests.get, url.replace("https", "http"), timeout=20)
            assert await asked(urls[1], "", pair[0]) == 401
            reader = ControlReader(service.control.url, token_file)
            with pytest.raises(ControlUnreachable, match="REQUESTS_CA_BUNDLE"):
                await asyncio.to_thread(reader.get, "/v1/deployment")
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair[0]))
            trusting = ControlReader(service.control.url, token_file)
            assert (await asyncio.to_thread(trusting.get, "/v1/deployment"))["version"] == "1"
            for each in (reader, trusting):
                each.close()
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.to_thread(shown, service.gateway.url, old)
    run(play())


def shown(url, context=None):
    """The certificate that a server shows, whoever it is."""
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = url.removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port)), 20) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


async def until(holds):
    for _ in range(3000):
        if await holds() if asyncio.iscoroutinefunction(holds) else holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to pass")


@needs_openssl
def test_a_certificate_is_replaced_while_connections_go_on(pair, tmp_path):
    files = [shutil.copy(file, tmp_path) for file in pair]
    other = made(tmp_path, "two")

    async def play():
        certificate = Certificate(*[tmp_path / file.name for file in pair])
        async with serving(certificate=certificate) as service:
            url = service.gateway.url
            before = await asyncio.to_thread(shown, url)
            with requests.Session() as session:
                def asks():
                    return session.get(f"{url}/v2/health/live", verify=str(pair[0]), timeout=20).status_code

                assert await asyncio.to_thread(asks) == 200
                shutil.copy(other[0], files[0])  # the certificate first, and for a moment it is not of this key
                with pytest.raises(CertificateError, match="no certificate and its key"):
                    certificate.renew()
                assert await asyncio.to_thread(shown, url) == before
                shutil.copy(other[1], files[1])
                certificate.renew()
                after = await asyncio.to_thread(shown, url)
                assert after != before
                assert await asyncio.to_thread(asks) == 200  # on the connection of before
                assert await asked(f"{service.control.url}/healthz", "", other[0]) == 200
    run(play())


def live_over(channel):
    """Asks over gRPC whether it lives."""
    from runtime.gateway import grpc_predict_v2_pb2 as pb

    call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive", pb.ServerLiveRequest.SerializeToString,
                               pb.ServerLiveResponse.FromString)
    return call(pb.ServerLiveRequest(), timeout=20)


@asynccontextmanager
async def serving_grpc(certificate):
    service = Service(SCENARIO, callers=CALLERS)
    await service.start(("127.0.0.1", 0), ("127.0.0.1", 0), ("127.0.0.1", 0), certificate)
    try:
        yield service.grpc.address
    finally:
        await service.close()


@needs_openssl
def test_a_certificate_over_grpc(pair):
    grpc = pytest.importorskip("grpc")

    async def play():
        async with serving_grpc(Certificate(*pair)) as address:
            async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(pair[0].read_bytes())) as trusting:
                assert (await live_over(trusting)).live
            async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials()) as other:
                with pytest.raises(grpc.aio.AioRpcError):
                    await live_over(other)
    run(play())


@needs_openssl
def test_a_certificate_is_replaced_while_grpc_connections_go_on(pair, tmp_path):
    grpc = pytest.importorskip("grpc")
    files = [shutil.copy(file, tmp_path) for file in pair]
    other = made(tmp_path, "two")

    def trusting(address, root):
        apart = (("grpc.use_local_subchannel_pool", 1),)  # a connection of its own
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(root.read_bytes()), apart)

    async def play():
        certificate = Certificate(*[tmp_path / file.name for file in pair])
        async with serving_grpc(certificate) as address, trusting(address, pair[0]) as before:
            assert (await live_over(before)).live
            shutil.copy(other[0], files[0])
            with pytest.raises(CertificateError):  # not of this key
                certificate.renew()
            async with trusting(address, pair[0]) as channel:
                assert (await live_over(channel)).live
            shutil.copy(other[1], files[1])
            certificate.renew()
            assert await asyncio.to_thread(shown, address) == ssl.PEM_cert_to_DER_cert(other[0].read_text())
            async with trusting(address, other[0]) as channel:
                assert (await live_over(channel)).live
            async with trusting(address, pair[0]) as late:
                with pytest.raises(grpc.aio.AioRpcError):  # whom it trusts is not shown any more
                    await live_over(late)
            assert before.get_state() == grpc.ChannelConnectivity.READY
            assert (await live_over(before)).live
    run(play())


@needs_openssl
def test_what_is_no_certificate_is_refused_and_nobody_is_asked_for_a_password(pair, tmp_path):
    locked = tmp_path / "locked.key"
    subprocess.run(["openssl", "ec", "-in", pair[1], "-aes256", "-passout", "pass:secret", "-out", locked], check=True,
                   capture_output=True)
    for files in ((pair[0], locked), (pair[1], pair[1]), (pair[0], pair[0]), (tmp_path / "none", pair[1]),
                  (tmp_path, tmp_path)):
        with pytest.raises(CertificateError, match="no certificate and its key") as caught:
            Certificate(*files)
        assert "\n" not in str(caught.value)


def test_the_command_takes_both_or_none(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--scenario", "live-demo", "--certificate", "x"])
    assert "--certificate and --key go together" in capsys.readouterr().err
    assert main(["serve", "--scenario", "live-demo", "--certificate", str(tmp_path / "x"), "--key", str(tmp_path / "y")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_tokens_change_without_a_restart_and_bad_ones_are_not_taken_up(tmp_path):
    async def play():
        async with serving() as service:
            control, metrics = f"{service.control.url}/v1/deployment", f"{service.gateway.url}/metrics"
            infer = f"{service.gateway.url}/v2/models/classify"
            assert [await asked(control, OPERATOR), await asked(infer, TENANT), await asked(metrics, SCRAPE)] == [200] * 3
            service.let_in(Callers("another operator's", {"default": "another token of it"}, "another scraper's"))
            assert [await asked(control, OPERATOR), await asked(infer, TENANT), await asked(metrics, SCRAPE)] == [401] * 3
            now = [await asked(control, "another operator's"), await asked(infer, "another token of it"),
                   await asked(metrics, "another scraper's")]
            assert now == [200] * 3
            for bad in (Callers(), Callers("another operator's", {}, SCRAPE), Callers("short", {"default": TENANT}, SCRAPE),
                        Callers(OPERATOR, {"nobody": TENANT}, SCRAPE), Callers(OPERATOR, {"default": OPERATOR}, SCRAPE),
                        Callers("", {"default": TENANT}, SCRAPE), Callers(OPERATOR, {"default": TENANT}, "")):
                with pytest.raises(ValueError):
                    service.let_in(bad)
            assert await asked(control, "another operator's") == await asked(infer, "another token of it") == 200
            assert await asked(control, OPERATOR) == await asked(infer, TENANT) == 401
    run(play())


def test_files_are_read_again_when_they_change_and_only_then(tmp_path, caplog):
    path, read = tmp_path / "tokens.yaml", []

    def renew():
        read.append(path.read_text())
        if "bad" in read[-1]:
            raise ValueError("two\nlines")

    async def play():
        path.write_text("first")
        renewal = Renewal(look_s=0.005)
        renewal.watch([path], renew)
        running = asyncio.create_task(renewal.run())
        await asyncio.sleep(0.05)
        assert not read
        for text in ("second", "bad", "third"):
            (tmp_path / "new").write_text(text)
            (tmp_path / "new").replace(path)
            await until(lambda text=text: read[-1:] == [text])
        path.unlink()
        await until(lambda: "tokens.yaml: not taken up, what was there stays: [Errno 2]" in caplog.text)
        running.cancel()
    run(play())
    assert read == ["second", "bad", "third"] and "two lines" in caplog.text


def test_a_token_is_compared_in_a_time_that_says_nothing_of_it(monkeypatch):
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(bearers.hmac, "compare_digest", lambda a, b: compared.append(len(a)) or compare(a, b))
    all_ = Bearers([("a", "alpha"), ("b", "beta"), ("c", "gamma")])
    found = []
    for said in ("Bearer alpha", "Bearer gamma", "Bearer nobody's", "Basic alpha", "", "Bearer " + "x" * 10**5,
                 "Bearer \udcff"):
        found.append(all_.bearer(said))
    assert found == ["a", "c", None, None, None, None, None]
    assert compared == [32] * 3 * len(found)  # each with each, over digests of one length

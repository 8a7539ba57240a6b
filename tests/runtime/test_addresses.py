"""Addresses on a command line."""

import argparse

import pytest

from runtime import addresses


@pytest.mark.parametrize("text, host, port, loopback", [
    ("127.0.0.1:8000", "127.0.0.1", 8000, True), ("localhost:0", "localhost", 0, True), ("[::1]:9464", "::1", 9464, True),
    ("0.0.0.0:80", "0.0.0.0", 80, False), ("[::]:80", "::", 80, False), ("gpu-3.example:443", "gpu-3.example", 443, False)])
def test_an_address_and_whether_others_reach_it(text, host, port, loopback):
    assert addresses.read(argparse.ArgumentParser(), "--listen", text) == (host, port)
    assert addresses.is_loopback(host) is loopback


@pytest.mark.parametrize("text", ["", "8000", ":8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "[]:1"])
def test_what_is_no_address_names_the_option(text, capsys):
    with pytest.raises(SystemExit, match="2"):
        addresses.read(argparse.ArgumentParser(), "--listen", text)
    assert f"--listen {text}: give HOST:PORT" in capsys.readouterr().err

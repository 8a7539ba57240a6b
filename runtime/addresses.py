"""Addresses to listen on: read from a command line, and whether others can reach them."""

from __future__ import annotations

import argparse
import ipaddress

Address = tuple[str, int]
LARGEST_PORT = 65535


def read(parser: argparse.ArgumentParser, option: str, text: str) -> Address:
    """Host and port of an option's `HOST:PORT` or `[HOST]:PORT`; what is neither ends the command and names it."""
    host, _, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isdecimal() or int(port) > LARGEST_PORT:
        parser.error(f"{option} {text}: give HOST:PORT, 127.0.0.1:9464 say")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

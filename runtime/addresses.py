"""Addresses to listen on: read from a command line, and whether others can reach them."""

from __future__ import annotations

import argparse
import ipaddress

Address = tuple[str, int]
LARGEST_PORT = 65535


def read(parser: argparse.ArgumentParser, option: str, text: str) -> Address:
    """Host and port of an option's `HOST:PORT`; what is none ends the command with a line that names the option."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > LARGEST_PORT:
        parser.error(f"{option} {text}: give HOST:PORT, 127.0.0.1:9464 say")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

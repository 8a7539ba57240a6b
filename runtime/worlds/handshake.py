"""How two processes meet: each proves to the other that it knows the token, before anything else is read.

Challenge and response (HMAC-SHA256 over both nonces and both names), so that the token never crosses the wire.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import struct
from dataclasses import dataclass
from typing import Any

import orjson

PROTOCOL = 3
MAX_FRAME_BYTES = 1 << 20
HELLO_BYTES = 4096  # of a frame from somebody who has not yet proved anything
_LENGTH = struct.Struct("!I")
HEAD_BYTES = _LENGTH.size


class Refused(Exception):
    """The other side does not want us, or is not one of ours."""


@dataclass(frozen=True)
class Introduction:
    """Who speaks.

    Attributes:
        uid: the process (one worlds manager).
        address: where it listens, `host:port`.
        kind: `control`, `pulse`, or `stream ` and its name.
    """

    uid: str
    address: str
    kind: str


def encode(frame: dict[str, Any]) -> bytes:
    """A frame of the control link: length, then JSON."""
    body = orjson.dumps(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a control frame of {len(body)} bytes; at most {MAX_FRAME_BYTES} fit")
    return _LENGTH.pack(len(body)) + body


def body_bytes(data: bytes, at: int = 0, limit: int = MAX_FRAME_BYTES) -> int:
    """How long the frame is whose head lies there. Raises `Refused` where it is too long for one."""
    (length,) = _LENGTH.unpack_from(data, at)
    if length > limit:
        raise Refused(f"what answers does not speak our protocol (a frame of {length} bytes)")
    return int(length)


def decode(body: bytes) -> dict[str, Any]:
    """A frame without its head. Raises `Refused` where it is none."""
    try:
        frame = orjson.loads(body)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        raise Refused("what answers does not speak our protocol (a frame that is no JSON object)")
    return frame


async def _read_hello(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The next frame of somebody who has proved nothing yet.

    Raises:
        Refused: what came is no frame.
        asyncio.IncompleteReadError, OSError: the connection is gone.
    """
    length = body_bytes(await reader.readexactly(HEAD_BYTES), limit=HELLO_BYTES)
    return decode(await reader.readexactly(length))


def _proof(token: str, role: str, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """What only someone with the token can say; `ours` and `theirs` are both hellos, the speaker's first."""
    text = json.dumps([role, ours, theirs], sort_keys=True)
    return hmac.new(token.encode(), text.encode(), "sha256").hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


async def shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, me: Introduction, token: str, *, accepting: bool
) -> Introduction:
    """Introduce ourselves and learn who is there.

    Raises:
        Refused: wrong token, another protocol, or no process of ours.
        asyncio.IncompleteReadError, OSError: the connection is gone.
    """
    hello = {"tidal-worlds": PROTOCOL, "uid": me.uid, "address": me.address, "kind": me.kind, "nonce": os.urandom(16).hex()}
    writer.write(encode(hello))
    theirs = await _read_hello(reader)
    if theirs.get("tidal-worlds") != PROTOCOL:
        raise Refused(f"it speaks {theirs.get('tidal-worlds')!r}, we speak worlds protocol {PROTOCOL}")
    if not hello.keys() <= theirs.keys() or not all(isinstance(word, str | int) for word in theirs.values()):
        raise Refused("what answers does not speak our protocol (a strange hello)")
    role, other = ("accept", "connect") if accepting else ("connect", "accept")
    writer.write(encode({"proof": _proof(token, role, hello, theirs)}))
    proof = (await _read_hello(reader)).get("proof")
    if not isinstance(proof, str) or not hmac.compare_digest(_bytes(proof), _bytes(_proof(token, other, theirs, hello))):
        raise Refused("wrong token")
    # The last word is the accepting side's, so that a connecting one knows that it is in.
    if accepting:
        writer.write(encode({"ok": True}))
    else:
        try:
            await _read_hello(reader)
        except asyncio.IncompleteReadError:
            raise Refused("wrong token") from None
    return Introduction(str(theirs["uid"]), str(theirs["address"]), str(theirs["kind"]))

"""The door over a bare socket: what is refused, and that nobody keeps it open for ever."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE, Process
from tests.serving import SECRET, message, update_ids

MEBIBYTE = 1 << 20
DOOR_TIMEOUT_S = 1.0
SLACK_S = 1.0
# The time to hear a refusal, and a moment more.
STOPS_WITHIN_S = 5.0


@pytest.fixture
async def process(start: Start, database_url: str) -> Process:
    return await start(database_url, SERVICE, DOOR_TIMEOUT=str(DOOR_TIMEOUT_S))


def head(length: int, secret: str = SECRET) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: ballast", f"{SECRET_HEADER}: {secret}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


async def connected(process: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(process.base)
    return await asyncio.open_connection(url.hostname, url.port)


async def answer_to(process: Process, sent: bytes) -> tuple[int, bytes]:
    """The status and the body that come back, over a connection of its own."""
    reader, writer = await connected(process)
    writer.write(sent)
    try:
        return await read(reader)
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(DOOR_TIMEOUT_S + SLACK_S):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length"))
        return int(lines[0].split()[1]), await reader.readexactly(length)


def code(body: bytes) -> Any:
    return json.loads(body)["error"]["code"]


async def test_what_is_refused_and_what_is_taken(process: Process) -> None:
    status, body = await answer_to(process, head(5, "another") + b"hello")
    assert (status, code(body)) == (401, "forged")
    status, body = await answer_to(process, head(5) + b"hello")
    assert (status, code(body)) == (400, "invalid")
    status, body = await answer_to(process, head(2 * MEBIBYTE) + b" " * 2 * MEBIBYTE)
    assert (status, code(body)) == (413, "too_large")
    unknown = json.dumps({"update_id": next(update_ids), "what_comes_next_year": {}}).encode()
    assert await answer_to(process, head(len(unknown)) + unknown) == (200, b"")
    start = json.dumps(message(PAYER, "/start")).encode()
    status, body = await answer_to(process, head(len(start)) + start)
    assert (status, json.loads(body)["method"]) == (200, "sendMessage")
    status, _ = await answer_to(process, b"this is no HTTP\r\n\r\n")
    assert status == 400


async def test_a_wrong_secret_is_refused_without_waiting_for_the_body(process: Process) -> None:
    status, body = await answer_to(process, head(MEBIBYTE, "another"))
    assert (status, code(body)) == (401, "forged")


@pytest.mark.parametrize("drip", [b"", b" "], ids=["nothing", "a byte at a time"])
async def test_a_body_that_does_not_come_holds_the_door_no_longer_than_an_update_may_take(
    process: Process, drip: bytes
) -> None:
    reader, writer = await connected(process)
    writer.write(head(MEBIBYTE))
    started = time.monotonic()
    dripping = asyncio.create_task(drips(writer, drip))
    status, _ = await read(reader)
    assert status == 503
    assert DOOR_TIMEOUT_S <= time.monotonic() - started < DOOR_TIMEOUT_S + SLACK_S
    assert (await process.says(PAYER, "/start")).status == 200
    process.terminate()
    assert await process.ended(STOPS_WITHIN_S) == 0, "nor does it hold up the end"
    dripping.cancel()
    writer.close()


async def drips(writer: asyncio.StreamWriter, drip: bytes) -> None:
    with suppress(OSError):
        while drip:
            writer.write(drip)
            await writer.drain()
            await asyncio.sleep(0.05)


async def test_what_is_no_http_is_no_error_of_ours(start: Start, database_url: str) -> None:
    """Nobody who can reach the port can fill the log with errors; `start` looks for them at the end."""
    process = await start(database_url)
    parts = urlsplit(process.base)
    head = b"POST /payments/polar HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Encoding: "
    for sent in (b"garbage\r\n\r\n", head + b"gzip\r\n\r\nhello", head + b"br\r\n\r\nhello"):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(sent)
        assert (await reader.readline()).split()[1] in (b"400", b"415", b"503")
        writer.close()
    assert await process.is_ready()

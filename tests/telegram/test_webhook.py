"""The bot's door, over a real socket: what it lets in, and with which status it sends the rest away."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from service.errors import Forged
from service.telegram.webhook import BODY_MAX, PATH, SECRET_HEADER, door
from tests.cast import FRIEND, PAYER
from tests.serving import SECRET, Served, config_for, message

HELLO = {"update_id": 1, "poll": {"id": "of a kind that nobody knows"}}


async def post(served: Served, body: Any, **headers: str) -> tuple[int, bytes]:
    headers = {SECRET_HEADER: SECRET, **headers}
    async with served.http.post(served.base + PATH, data=body, headers=headers) as response:
        return response.status, await response.read()


async def refused(served: Served, body: Any, status: int, code: str, **headers: str) -> None:
    got, answer = await post(served, body, **headers)
    assert got == status
    error = json.loads(answer)["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"]


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody tells beforehand."""
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), "й", "\udcff"])
async def test_a_wrong_secret_is_refused_before_the_body_is_looked_at(served: Served, secret: str) -> None:
    await refused(served, b"not even JSON", 401, "forged", **{SECRET_HEADER: secret})


async def test_a_missing_secret_is_refused(served: Served) -> None:
    async with served.http.post(served.base + PATH, json=HELLO) as response:
        assert response.status == 401


async def test_without_a_secret_of_our_own_nobody_comes_in() -> None:
    receive = door(None, "")  # nothing is dispatched
    with pytest.raises(Forged):
        await receive(make_mocked_request("POST", PATH))


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"{", b"[1]", b"{}", b'{"update_id": "x"}', b"\xff\xfe", b"[" * 500_000],
    ids=lambda body: repr(body[:20]),
)
async def test_what_is_no_update_is_malformed(served: Served, body: bytes) -> None:
    await refused(served, body, 400, "invalid")


async def test_two_mebibytes_are_too_many(served: Served) -> None:
    await refused(served, b" " * (2 << 20), 413, "too_large")


async def test_two_mebibytes_are_too_many_without_a_content_length(served: Served) -> None:
    await refused(served, in_chunks(*[b" " * 65536] * 32), 413, "too_large")


async def test_a_mebibyte_is_not_too_many(served: Served) -> None:
    body = json.dumps(HELLO).encode()
    assert await post(served, body + b" " * (BODY_MAX - len(body))) == (200, b"")
    assert await post(served, in_chunks(body, b" " * (BODY_MAX - len(body)))) == (200, b"")


async def test_a_small_body_that_unpacks_into_a_big_one_is_too_large(served: Served) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    assert len(bomb) < BODY_MAX
    await refused(served, bomb, 413, "too_large", **{"Content-Encoding": "gzip"})


async def test_a_packed_update_is_unpacked(served: Served) -> None:
    body = gzip.compress(json.dumps(message(PAYER, "/help")).encode())
    status, answer = await post(served, body, **{"Content-Encoding": "gzip"})
    assert (status, json.loads(answer)["method"]) == (200, "sendMessage")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_what_is_packed_badly_is_malformed(served: Served, encoding: str) -> None:
    status, _ = await post(served, b'{"update_id": 1}', **{"Content-Encoding": encoding})
    assert status == 400


async def test_an_unknown_kind_is_acknowledged(served: Served) -> None:
    assert await post(served, json.dumps(HELLO)) == (200, b"")


async def test_text_that_is_no_utf8_is_acknowledged_and_kept(served: Served) -> None:
    body = json.dumps(message(PAYER, "hi")).encode().replace(b'"hi"', b'"\xff\xfe"')
    assert await post(served, body) == (200, b"")


async def test_the_longest_text_is_understood(served: Served) -> None:
    answer = await served.says(FRIEND, "🎉" * 4096)
    assert (answer["method"], answer["chat_id"]) == ("sendMessage", FRIEND.user_id)


async def test_only_post(served: Served) -> None:
    async with served.http.get(served.base + PATH) as response:
        assert response.status in (404, 405)


async def test_an_answer_is_a_method_call(served: Served) -> None:
    async with served.http.post(
        served.base + PATH, json=message(PAYER, "/start"), headers={SECRET_HEADER: SECRET}
    ) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert (await response.json())["method"] == "sendMessage"


def test_the_secret_is_not_in_the_settings_repr() -> None:
    assert SECRET not in repr(config_for("postgresql://nowhere/x"))

"""The stand-ins refuse what the real ones refuse, and answer in their words."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from service import development
from service.sandbox.generation import FAILED, REFUSED, Generation
from tests.sandbox.world import serving
from tests.serving import config_for
from tests.waiting import until

KEY = "sk-sandbox"
SAID = [{"role": "user", "content": "Hello"}]
CHAT = {"model": "gpt-5-mini", "messages": SAID}
IMAGE = {"model": "gpt-image-1", "prompt": "a cat"}
MADE = {"version": "acme/fine", "input": {"prompt": "a cat"}}


@dataclass
class Client:
    sandbox: Generation
    base: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, key: str = KEY, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
        async with self.http.request(method, f"{self.base}/v1{path}", headers=headers, **more) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: Any, **more: Any) -> tuple[int, Any]:
        return await self.ask("POST", path, json=body, **more)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    sandbox, app = Generation(KEY, takes_s=None), web.Application()
    sandbox.mount(app)
    async with serving(app) as address, aiohttp.ClientSession() as http:
        yield Client(sandbox, f"{address}/sandbox/generation", http)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"),
        ("POST", "/images/generations"),
        ("POST", "/predictions"),
        ("GET", "/predictions/x"),
    ],
)
async def test_without_the_key_nothing(client: Client, method: str, path: str) -> None:
    status, body = await client.ask(method, path, key="sk-another", json={})
    assert status == 401
    replicate = path.startswith("/predictions")
    assert (body["title"] if replicate else body["error"]["code"]) == (
        "Unauthenticated" if replicate else "invalid_api_key"
    )


async def test_other_paths_are_none(client: Client) -> None:
    for method, path in (("GET", "/chat/completions"), ("POST", "/completions"), ("DELETE", "/predictions/x")):
        assert (await client.ask(method, path))[0] == 404


@pytest.mark.parametrize(("said", "heard"), [("Hello", "You wrote: “Hello”."), ("Привет", "Вы написали: «Привет».")])
async def test_a_chat(client: Client, said: str, heard: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": said}]
    status, body = await client.post("/chat/completions", {**CHAT, "messages": messages})
    assert (status, body["object"]) == (200, "chat.completion")
    assert body["choices"][0]["message"]["content"].startswith(heard)
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": None}, 400, "model"),
        ({"model": "nobody"}, 404, "model"),
        ({"model": "gpt-image-1"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "Hello"}, 400, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages"),
        ({"temperature": 3}, 400, "temperature"),
        ({"temperature": "1"}, 400, "temperature"),
        ({"stream": True}, 400, "stream"),
        ({"prompt": "x"}, 400, "prompt"),
    ],
)
async def test_a_chat_that_is_refused(client: Client, change: dict[str, Any], status: int, param: str) -> None:
    answered, body = await client.post("/chat/completions", {**CHAT, **change})
    assert (answered, body["error"]["param"]) == (status, param)


@pytest.mark.parametrize("path", ["/chat/completions", "/images/generations", "/predictions"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_json_is_refused(client: Client, path: str, body: bytes) -> None:
    assert (await client.ask("POST", path, data=body))[0] in (400, 422)


async def test_an_image(client: Client) -> None:
    status, body = await client.post("/images/generations", IMAGE)
    assert status == 200
    with Image.open(BytesIO(base64.b64decode(body["data"][0]["b64_json"]))) as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))
        picture.load()


async def test_an_image_at_an_address(client: Client) -> None:
    status, body = await client.post("/images/generations", {"model": "dall-e-3", "prompt": "кот / 5%?"})
    assert status == 200
    async with client.http.get(body["data"][0]["url"]) as response:
        assert (response.status, response.content_type) == (200, "image/png")
        with Image.open(BytesIO(await response.read())) as picture:
            picture.load()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "gpt-5-mini"}, 404),
        ({"size": "1x1"}, 400),
        ({"n": 2}, 400),
        ({"prompt": ""}, 400),
        ({"response_format": "url"}, 400),
        ({"model": "dall-e-3", "background": "opaque"}, 400),
        ({"colour": "red"}, 400),
    ],
)
async def test_an_image_that_is_refused(client: Client, change: dict[str, Any], status: int) -> None:
    assert (await client.post("/images/generations", {**IMAGE, **change}))[0] == status


async def test_rules_are_kept(client: Client) -> None:
    said = [{"role": "user", "content": f"Something {REFUSED}"}]
    _, body = await client.post("/chat/completions", {**CHAT, "messages": said})
    assert body["choices"][0]["message"]["content"] is None
    assert body["choices"][0]["message"]["refusal"]
    status, body = await client.post("/images/generations", {**IMAGE, "prompt": f"something {REFUSED}"})
    assert (status, body["error"]["code"]) == (400, "moderation_blocked")


async def test_a_prediction_goes_its_way(client: Client) -> None:
    status, made = await client.post("/predictions", MADE)
    assert (status, made["status"], made["output"]) == (201, "starting", None)
    client.sandbox.advance(made["id"], 30)
    _, now = await client.ask("GET", f"/predictions/{made['id']}")
    assert now["status"] == "processing"
    assert now["logs"].splitlines()[-1].startswith("30%|###|")
    client.sandbox.finish(made["id"])
    _, now = await client.ask("GET", f"/predictions/{made['id']}")
    assert now["status"] == "succeeded"
    async with client.http.get(now["output"][0]) as response:
        assert (await response.read()).startswith(b"\x89PNG")
    status, after = await client.ask("POST", f"/predictions/{made['id']}/cancel")
    assert (status, after["status"]) == (200, "succeeded"), "what has ended stays"


@pytest.mark.parametrize("word", [REFUSED, FAILED])
async def test_a_prediction_may_fail(client: Client, word: str) -> None:
    _, made = await client.post("/predictions", {**MADE, "input": {"prompt": f"something {word}"}})
    client.sandbox.finish(made["id"])
    _, now = await client.ask("GET", f"/predictions/{made['id']}")
    assert (now["status"], now["output"]) == ("failed", None)
    assert now["error"]


async def test_a_prediction_is_cancelled(client: Client) -> None:
    _, made = await client.post("/predictions", MADE)
    assert (await client.ask("POST", f"/predictions/{made['id']}/cancel"))[1]["status"] == "canceled"
    client.sandbox.finish(made["id"])
    client.sandbox.advance(made["id"], 50)
    assert (await client.ask("GET", f"/predictions/{made['id']}"))[1]["status"] == "canceled"


async def test_the_same_key_is_the_same_prediction(client: Client) -> None:
    ids = [(await client.post("/predictions", MADE, headers={"Idempotency-Key": key}))[1]["id"] for key in "aab"]
    assert ids[0] == ids[1] != ids[2]
    assert len(client.sandbox.predictions) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"version": "fine"},
        {"input": "a cat"},
        {"input": {}},
        {"input": {"prompt": 5}},
        {"webhook": "somewhere"},
        {"webhook_events_filter": ["never"]},
    ],
)
async def test_a_prediction_that_is_refused(client: Client, change: dict[str, Any]) -> None:
    status, body = await client.post("/predictions", {**MADE, **change})
    assert (status, body["status"], body["title"]) == (422, 422, "Input validation failed")


async def test_a_deadline_is_a_duration(client: Client) -> None:
    assert (await client.post("/predictions", MADE, headers={"Cancel-After": "soon"}))[0] == 422
    assert (await client.post("/predictions", MADE, headers={"Cancel-After": "600s"}))[0] == 201


async def test_what_is_not_known_is_not_found(client: Client) -> None:
    assert (await client.ask("GET", "/predictions/x"))[0] == 404
    assert (await client.ask("POST", "/predictions/x/cancel"))[0] == 404


async def test_faults(client: Client) -> None:
    faults = client.sandbox.faults
    faults.flood("POST /chat/completions")
    client.sandbox.told_to_wait("9")
    headers = {"Authorization": f"Bearer {KEY}"}
    async with client.http.post(f"{client.base}/v1/chat/completions", json=CHAT, headers=headers) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "9")
    faults.fail("POST /predictions", status=502, after=True)
    assert (await client.post("/predictions", MADE))[0] == 502
    assert len(client.sandbox.predictions) == 1, "it was done nevertheless"
    faults.drop("*")
    with pytest.raises(aiohttp.ClientError):
        await client.post("/chat/completions", CHAT)
    faults.hang("*")
    hanging = asyncio.create_task(client.post("/chat/completions", CHAT))
    await until(lambda: not faults._asked["*"])
    assert not hanging.done()
    faults.clear()
    with pytest.raises(aiohttp.ClientError):
        await hanging
    assert [call.status for call in client.sandbox.calls] == [429, 502, 0, 0]


async def test_by_itself_it_takes_some_seconds_and_calls_back() -> None:
    sandbox, app, told = Generation(KEY, takes_s=0.2), web.Application(), list[Any]()
    sandbox.mount(app)

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    app.router.add_post("/news", take)
    async with serving(app) as address, aiohttp.ClientSession() as http:
        client = Client(sandbox, f"{address}/sandbox/generation", http)
        await client.post("/predictions", {**MADE, "webhook": f"{address}/news"})
        (prediction,) = sandbox.predictions
        await until(lambda: prediction.status == "processing")
        await until(lambda: prediction.called == [200])
    assert [(one["id"], one["status"]) for one in told] == [(prediction.id, "succeeded")]


async def test_a_stop_lets_go() -> None:
    sandbox, app = Generation(KEY, takes_s=3_600), web.Application()
    sandbox.mount(app)
    async with serving(app) as address, aiohttp.ClientSession() as http:
        await Client(sandbox, f"{address}/sandbox/generation", http).post("/predictions", MADE)
    assert sandbox.predictions[0].status == "starting"


def test_development_gets_it_where_nothing_else_is_named(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1/nobody"
    with development.prepared(config_for(url, TELEGRAM_BOT_TOKEN="", PORT="8099"), tmp_path) as config:
        assert config.generation_api_base == "http://127.0.0.1:8099/sandbox/generation/v1"
        assert config.generation_api_key == config.predictions_api_key == development.SANDBOX_KEY
        assert config.predictions_api_base == config.generation_api_base
    named = config_for(url, TELEGRAM_BOT_TOKEN="", GENERATION_API_BASE="http://127.0.0.1:9/v1")
    with development.prepared(named, tmp_path) as config:
        assert (config.generation_api_base, config.generation_api_key) == ("http://127.0.0.1:9/v1", None)
    with development.prepared(config_for(url), tmp_path) as config:
        assert config.generation_api_base is None, "with a bot of its own nothing is made up"

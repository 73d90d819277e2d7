"""The door at which providers call back: who may come in, and what it does to the job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web

from service.features.generation import callback
from service.features.generation.callback import callback_url
from service.features.generation.providers import task
from service.features.generation.queue.bell import Bell
from service.sandbox.generation import Generation
from tests.cast import PAYER
from tests.outage import away
from tests.serving import Served, config_for, listening, serving
from tests.waiting import until

KEY = "sk-nobody-may-see-this"
PUBLIC = "https://shop.example.org"
CATALOG = """
[[categories]]
id = "art"
title = { en = "Art", ru = "Искусство" }
[[models]]
id = "fine"
title = { en = "Fine", ru = "Изящное" }
category = "art"
price_rub = 0
provider = "task"
params = { version = "acme/fine" }
"""
# Held by an instance that is alive, so that no worker of the test takes it.
HELD = """
WITH person AS (INSERT INTO users (user_id) VALUES ($2) ON CONFLICT DO NOTHING),
instance AS (INSERT INTO instances (instance_id, name, beat_at) VALUES ($1, 'elsewhere', now() + interval '1 hour'))
INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, place, status, instance_id,
    lease, deadline_at, finished_at)
VALUES ($1, $2, $2, 'fine', 'a cat', 600, now(), $3, $1, 1, now() + interval '1 hour',
    CASE WHEN $3 = 'success' THEN now() END)
"""
QUEUED = """
INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, place)
VALUES ($1, $2, $2, 'fine', 'a cat', 600, now())
"""
MARKED = "SELECT called_back_at IS NOT NULL FROM generation_jobs WHERE job_id = $1"


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Served]:
    async with serving(
        database_url, PUBLIC_URL=PUBLIC, PREDICTIONS_API_BASE="http://127.0.0.1:9", PREDICTIONS_API_KEY=KEY
    ) as served:
        yield served


def path(served: Served, job_id: UUID, provider: str = "task") -> str:
    """Where the provider would call."""
    url = callback_url(served.operations.config, provider, job_id)
    assert url is not None
    return url.removeprefix(PUBLIC)


async def called(served: Served, where: str, **more: Any) -> tuple[int, str]:
    async with served.http.post(served.base + where, **({"data": b"{}"} | more)) as response:
        return response.status, await response.text()


async def held(raw: asyncpg.Connection, status: str = "running") -> UUID:
    job_id = uuid4()
    await raw.execute(HELD, job_id, PAYER.user_id, status)
    return job_id


def test_the_address() -> None:
    config = config_for("postgresql://nobody@127.0.0.1/nobody", PUBLIC_URL=PUBLIC, GENERATION_API_KEY=KEY)
    job_id = uuid4()
    url = callback_url(config, "task", job_id)
    assert url is not None
    assert url.startswith(f"{PUBLIC}/generation/callback/task?job={job_id}&token=")
    assert KEY not in url
    tokens = {
        callback_url(config, "task", uuid4()),
        callback_url(replace(config, generation_api_key="another"), "task", job_id),
        callback_url(replace(config, generation_api_key=None), "task", job_id),
        url,
    }
    assert len(tokens) == 4, "each job and each key has its own"


def test_without_an_address_or_a_secret_nobody_can_call() -> None:
    config = config_for("postgresql://nobody@127.0.0.1/nobody", PUBLIC_URL=PUBLIC)
    assert callback_url(config, "task", uuid4()), "the operators' token will do"
    assert callback_url(replace(config, public_url=None), "task", uuid4()) is None
    assert callback_url(replace(config, admin_token=None), "task", uuid4()) is None


async def test_news_of_a_job_mark_it(opened: Served, raw: asyncpg.Connection) -> None:
    job_id = await held(raw)
    assert await called(opened, path(opened, job_id), data=b"not even JSON") == (200, "")
    assert await raw.fetchval(MARKED, job_id)
    assert (await called(opened, path(opened, job_id)))[0] == 200, "as often as it likes"


async def test_news_of_what_has_ended_are_taken(opened: Served, raw: asyncpg.Connection) -> None:
    job_id = await held(raw, "success")
    assert (await called(opened, path(opened, job_id)))[0] == 200
    assert not await raw.fetchval(MARKED, job_id)


async def test_a_job_that_is_not_known_may_be_on_its_way(opened: Served) -> None:
    status, body = await called(opened, path(opened, uuid4()))
    assert (status, orjson.loads(body)["error"]["code"]) == (503, "unavailable")


async def test_strangers_are_kept_out(opened: Served, raw: asyncpg.Connection) -> None:
    job_id, another = await held(raw), uuid4()
    right = path(opened, job_id)
    door = right.partition("?")[0]
    for wrong in (
        right[:-1],
        right[:-1] + ("0" if right[-1] != "0" else "1"),
        right + "0",
        right.replace(str(job_id), str(another)),
        right.replace(str(job_id), str(job_id).upper()),
        right.replace("token=", "token=ю"),
        door,
        f"{door}?job={job_id}",
        f"{door}?job={job_id}&token=",
        f"{door}?token=x",
        f"{door}?job=&token=",
    ):
        assert (await called(opened, wrong))[0] == 401, wrong
    assert not await raw.fetchval(MARKED, job_id)


async def test_a_provider_that_is_none(opened: Served, raw: asyncpg.Connection) -> None:
    assert (await called(opened, path(opened, await held(raw), "nobody")))[0] == 404


async def test_a_body_has_bounds(opened: Served, raw: asyncpg.Connection) -> None:
    job_id = await held(raw)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(callback.BODY_MAX // 65_536 + 1):
            yield b"x" * 65_536

    assert (await called(opened, path(opened, job_id), data=b"x" * (callback.BODY_MAX + 1)))[0] == 413
    assert (await called(opened, path(opened, job_id), data=endless()))[0] == 413
    assert not await raw.fetchval(MARKED, job_id)
    assert (await called(opened, path(opened, job_id), data=b"x" * (callback.BODY_MAX - 1)))[0] == 200


async def test_only_post(opened: Served, raw: asyncpg.Connection) -> None:
    async with opened.http.get(opened.base + path(opened, await held(raw))) as response:
        assert response.status in (404, 405)


async def test_with_the_database_away_it_is_to_come_again(
    opened: Served, raw: asyncpg.Connection, database_url: str
) -> None:
    job_id = await held(raw)
    async with away(database_url):
        status, _ = await called(opened, path(opened, job_id))
        assert status == 503


@asynccontextmanager
async def reachable() -> AsyncIterator[tuple[str, list[str]]]:
    """A public address, and where it leads: the last of the list."""
    leads, app = list[str](), web.Application()

    async def pass_on(request: web.Request) -> web.Response:
        async with aiohttp.ClientSession() as http:
            url = leads[-1] + str(request.rel_url)
            async with http.request(request.method, url, data=await request.read()) as response:
                return web.Response(status=response.status, body=await response.read())

    app.router.add_route("*", "/{path:.*}", pass_on)
    async with listening(app) as base:
        yield base, leads


async def test_a_task_ends_by_its_callback(
    database_url: str, raw: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks for an hour, so that it can only be the callback."""
    monkeypatch.setattr(task, "CHECK_AFTER_S", 3_600.0)
    (tmp_path / "catalog.toml").write_text(CATALOG)
    sandbox, app, job_id = Generation(KEY, takes_s=None), web.Application(), uuid4()
    sandbox.mount(app)
    async with listening(app) as base, reachable() as (public, leads):
        settings = {
            "CATALOG": str(tmp_path / "catalog.toml"),
            "PUBLIC_URL": public,
            "PREDICTIONS_API_BASE": f"{base}/sandbox/generation/v1",
            "PREDICTIONS_API_KEY": KEY,
        }
        async with serving(database_url, **settings) as served:
            leads.append(served.base)
            await raw.execute("INSERT INTO users (user_id) VALUES ($1)", PAYER.user_id)
            await raw.execute(QUEUED, job_id, PAYER.user_id)
            served.operations.switchboard.mounted.rooms.of(Bell).ring()
            await until(lambda: status_of(raw, job_id, "waiting"))
            (prediction,) = sandbox.predictions
            assert urlsplit(prediction.webhook or "").path == "/generation/callback/task"
            sandbox.finish(prediction.id)
            await until(lambda: status_of(raw, job_id, "success"))
            await until(lambda: prediction.called == [200])


async def status_of(raw: asyncpg.Connection, job_id: UUID, status: str) -> bool:
    return bool(await raw.fetchval("SELECT status = $2 FROM generation_jobs WHERE job_id = $1", job_id, status))

"""What every HTTP route has in common: its request id, its errors as answers, its line in the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service import errors, http
from service.kernel import metrics
from tests.serving import listening

SECRET_DETAIL = "relation secret_plans does not exist"


@asynccontextmanager
async def answering(outcome: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """One route, /thing, that raises or returns the outcome."""

    async def handle(_request: web.Request) -> web.StreamResponse:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    app = web.Application()
    app.router.add_routes([http.observed(web.get("/thing", handle))])
    app.router.add_routes([http.observed(web.route("*", "/{path:.*}", http.not_found))])
    async with listening(app) as base, aiohttp.ClientSession() as session:
        yield session, base


async def get(outcome: Any, path: str = "/thing", **headers: str) -> tuple[aiohttp.ClientResponse, Any]:
    async with (
        answering(outcome) as (session, base),
        session.get(base + path, headers=headers, allow_redirects=False) as response,
    ):
        return response, await response.json(content_type=None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Invalid("a sentence"), 400, "invalid"),
        (errors.Unauthorized(), 401, "unauthorized"),
        (errors.Forged(), 401, "forged"),
        (errors.NotFound(), 404, "not_found"),
        (errors.Conflict(), 409, "conflict"),
        (errors.TooLarge(), 413, "too_large"),
        (errors.Upstream(), 502, "upstream"),
        (errors.DatabaseAway(), 503, "database_away"),
        (errors.SchemaDrift(SECRET_DETAIL), 503, "schema_drift"),
        (errors.FeatureOff("a reason"), 503, "feature_off"),
        (errors.TransactionConflict(), 503, "transaction_conflict"),
        (errors.UserMissing(), 503, "user_missing"),
        (errors.ServiceError(SECRET_DETAIL), 500, "internal"),
        (RuntimeError(SECRET_DETAIL), 500, "internal"),
        (web.HTTPRequestEntityTooLarge(1), 413, "too_large"),
        (web.HTTPUnsupportedMediaType(), 415, "http"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_an_error_is_an_answer(error: BaseException, status: int, code: str) -> None:
    response, body = await get(error)
    assert (response.status, body["error"]["code"]) == (status, code)
    assert body["error"]["message"]
    assert body["error"]["request_id"]
    assert ("Retry-After" in response.headers) is (status == 503)
    assert SECRET_DETAIL not in str(body)


async def test_every_error_of_the_tree_has_an_answer() -> None:
    def below(kind: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    statuses = {
        kind.__name__: http.status_of(kind()) for kind in below(errors.ServiceError) if "errors" in kind.__module__
    }
    unplanned = {name for name, status in statuses.items() if status == 500}
    assert unplanned == {"ServiceError", "ConnectionShared"}, "faults of ours"


async def test_what_the_caller_may_know_is_told() -> None:
    assert (await get(errors.Invalid("a sentence")))[1]["error"]["message"] == "a sentence"
    assert (await get(errors.FeatureOff("a reason")))[1]["error"]["message"] == "a reason"


async def test_what_is_not_there() -> None:
    for path in ("/", "/another", "/thing/", "/" + "x" * 500):
        response, body = await get(web.Response(), path)
        assert (response.status, body["error"]["code"]) == (404, "not_found")


async def test_a_redirect_is_an_answer(recwarn: pytest.WarningsRecorder) -> None:
    response, _ = await get(web.HTTPSeeOther("/there"))
    assert (response.status, response.headers["Location"]) == (303, "/there")
    assert not [warning for warning in recwarn if "HTTPException" in str(warning.message)]


@pytest.mark.parametrize("given", ["abc-1.Z_9", "x" * 64])
async def test_a_request_id_of_a_proxy_is_kept(given: str) -> None:
    _, body = await get(errors.NotFound(), **{"X-Request-Id": given})
    assert body["error"]["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<b>", "й"])
async def test_a_request_id_that_is_no_id_is_replaced(given: str) -> None:
    _, body = await get(errors.NotFound(), **{"X-Request-Id": given})
    assert body["error"]["request_id"] not in ("", given)


async def test_request_ids_differ() -> None:
    async with answering(errors.NotFound()) as (session, base):
        seen = set()
        for _ in range(20):
            async with session.get(f"{base}/thing") as response:
                seen.add((await response.json())["error"]["request_id"])
    assert len(seen) == 20


async def test_one_line_and_one_figure_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    def count() -> float:
        histograms = metrics.HTTP_SECONDS.collect()[0].samples
        ours = [one for one in histograms if one.name.endswith("_count") and one.labels["route"] == "/thing"]
        return sum(one.value for one in ours if one.labels["status"] == "200")

    http.observations.settle()  # what earlier tests left
    before = count()
    with caplog.at_level(logging.INFO, logger="http"):
        await get(web.Response(body=b"1"))
        http.observations.settle()
    assert count() == before + 1
    assert [record.getMessage() for record in caplog.records if record.name == "http"] == ["request"]


async def test_an_error_is_logged_whole_and_told_dully(caplog: pytest.LogCaptureFixture) -> None:
    await get(RuntimeError(SECRET_DETAIL))
    record = next(record for record in caplog.records if record.getMessage() == "request failed")
    assert record.exc_info is not None
    assert SECRET_DETAIL in str(record.exc_info[1])


async def test_values_as_json() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    _, body = await get(http.answer({"at": moment, "amount": Decimal("150.00"), "who": "Друг"}))
    assert body == {"at": "2026-01-02T03:04:05Z", "amount": "150.00", "who": "Друг"}

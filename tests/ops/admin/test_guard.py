"""Who gets past the guard, and who does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from service.ops.admin import session
from tests.serving import ADMIN_TOKEN, Served, serving

PAGES = ("/admin", "/admin/features", "/admin/tables", "/admin/users", "/admin/updates/failed", "/admin/nothing/here")
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def ask(served: Served, method: str, path: str, **headers: str) -> aiohttp.ClientResponse:
    async with served.http.request(method, served.base + path, headers=headers, allow_redirects=False) as response:
        await response.read()
        return response


async def log_in(served: Served, token: str = ADMIN_TOKEN, **headers: str) -> aiohttp.ClientResponse:
    given = {"Origin": served.base} | headers
    form = {"token": token}
    url = f"{served.base}/admin/login"
    async with served.http.post(url, data=form, headers=given, allow_redirects=False) as response:
        await response.read()
        return response


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_looks_without_the_token(served: Served, path: str) -> None:
    """Not even whether there is anything."""
    status, body = await served.get(path)
    assert (status, body["error"]["code"]) == (401, "unauthorized")
    assert body["error"]["request_id"]
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": ADMIN_TOKEN}):
        response = await ask(served, "GET", path, **headers)
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_nobody_changes_anything_without_the_token(served: Served) -> None:
    for path in ("/admin/features/refresh", "/admin/updates/1/replay", "/admin/logout"):
        assert (await ask(served, "POST", path)).status == 401


async def test_with_the_token_what_is_not_there_is_not_found(served: Served) -> None:
    assert (await served.get("/admin/nothing/here", admin=True))[0] == 404
    assert (await served.get("/admin/features", admin=True))[0] == 200
    assert (await ask(served, "GET", "/admin/features", Authorization=f"bearer {ADMIN_TOKEN}")).status == 200


async def test_without_a_token_in_the_settings_there_are_no_operators(database_url: str) -> None:
    async with serving(database_url, ADMIN_TOKEN="") as served:
        for token in ("", "None", ADMIN_TOKEN):
            assert (await ask(served, "GET", "/admin/features", Authorization=f"Bearer {token}")).status == 401
            assert (await log_in(served, token)).status == 401
        forged = session.opened("", datetime.now(UTC))
        assert (await ask(served, "GET", "/admin/features", Cookie=f"ballast_operator={forged}")).status == 401


async def test_bytes_that_are_no_text_are_just_wrong(served: Served) -> None:
    headers = {"Authorization": b"Bearer \xff\xfe".decode(errors="surrogateescape")}
    async with served.http.get(f"{served.base}/admin/features", headers=headers) as response:
        assert response.status == 401


async def test_a_log_in_makes_a_cookie_that_is_not_the_token(served: Served) -> None:
    response = await log_in(served)
    assert (response.status, response.headers["Location"]) == (303, "/admin")
    cookie = response.cookies["ballast_operator"]
    assert ADMIN_TOKEN not in cookie.value
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/admin")
    assert not cookie["secure"]
    assert (await log_in(served, **{"X-Forwarded-Proto": "https"})).cookies["ballast_operator"]["secure"]
    response = await ask(served, "GET", "/admin", Cookie=f"ballast_operator={cookie.value}", **BROWSER)
    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


async def test_a_browser_is_shown_the_form(served: Served) -> None:
    for path, status in (("/admin", 401), ("/admin/users", 401), ("/admin/login", 200)):
        response = await ask(served, "GET", path, **BROWSER)
        assert (response.status, response.content_type) == (status, "text/html")
        assert 'action="/admin/login"' in await response.text()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_another_site_cannot_use_the_cookie(served: Served, headers: dict[str, str]) -> None:
    value = (await log_in(served)).cookies["ballast_operator"].value
    cookie = {"Cookie": f"ballast_operator={value}"}
    assert (await ask(served, "POST", "/admin/features/refresh", **cookie, **headers)).status == 401
    assert (await ask(served, "POST", "/admin/logout", **cookie, **headers)).status == 401
    for own in ({"Origin": served.base}, {"Sec-Fetch-Site": "same-origin"}):
        assert (await ask(served, "POST", "/admin/features/refresh", **cookie, **own)).status == 200


async def test_another_site_cannot_log_somebody_in(served: Served) -> None:
    response = await log_in(served, Origin="https://example.com")
    assert response.status == 401
    assert "ballast_operator" not in response.cookies


async def test_logging_out_takes_the_cookie_away(served: Served) -> None:
    value = (await log_in(served)).cookies["ballast_operator"].value
    response = await ask(served, "POST", "/admin/logout", Cookie=f"ballast_operator={value}", Origin=served.base)
    assert (response.status, response.headers["Location"]) == (303, "/admin/login")
    assert response.cookies["ballast_operator"].value == ""


async def test_wrong_tokens_are_few(served: Served) -> None:
    """Then the right one is not looked at either, or a search would go on; who is logged in stays so."""
    value = (await log_in(served)).cookies["ballast_operator"].value
    for number in range(session.TRIES):
        assert (await log_in(served, f"guess {number}")).status == 401
    assert (await log_in(served)).status == 429
    assert (await served.get("/admin/features", admin=True))[0] == 429
    assert (await ask(served, "GET", "/admin/features", Cookie=f"ballast_operator={value}")).status == 200


def test_tries_come_back_after_the_pause() -> None:
    now = [0.0]
    tries = session.Tries(lambda: now[0])
    for _ in range(session.TRIES):
        assert not tries.are_used_up("a")
        tries.count_wrong("a")
    assert tries.are_used_up("a")
    assert not tries.are_used_up("b")
    now[0] = session.PAUSE_S + 1
    assert not tries.are_used_up("a")


def test_a_log_in_ends() -> None:
    value = session.opened("token", NOON)
    assert session.is_open("token", value, NOON + session.LASTS - timedelta(seconds=1))
    assert not session.is_open("token", value, NOON + session.LASTS)


def test_a_log_in_cannot_be_made_up() -> None:
    ends, _, signature = session.opened("token", NOON).partition(".")
    for value in ("", ".", ends, f"{ends}.", f"{int(ends) + 1}.{signature}", f"x.{signature}", f"{ends}.é", "\udcff.a"):
        assert not session.is_open("token", value, NOON)
    assert not session.is_open("another token", f"{ends}.{signature}", NOON)

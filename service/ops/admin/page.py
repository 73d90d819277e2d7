"""GET /admin: the operators' page, made whole by the server.

It knows how things are shown, and which of them; where they come from is told by `look`. It has no script: a
button is a form, and the page that follows is the news.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from aiohttp import hdrs, web

from service import development, http
from service.errors import ServiceError
from service.feature import Feature, State
from service.ops import health
from service.ops.admin.html import Html, document, tag
from service.ops.admin.updates import described, parked
from service.ops.operations import Operations
from service.telegram.inbox import FailedUpdate
from service.users import repo
from service.users.user import User

# The page shows the newest; the lists behind its links have all.
SHOWN = 10
# Less than a door's budget: a page that says what is missing, soon, beats one that waits for it.
LOOK_TIMEOUT_S = 2.0
LINKS = (
    ("Features", "/admin/features"),
    ("Tables", "/admin/tables"),
    ("Users", "/admin/users"),
    ("Payments", "/admin/payments"),
    ("Payments to review", "/admin/payments/review"),
    ("Parked updates", "/admin/updates/failed"),
    ("Health", "/health"),
    ("Metrics", "/metrics"),
)

T = TypeVar("T")
Handler = Callable[[web.Request, Operations], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many people there are, and who came last."""

    total: int
    active: int
    newest: Sequence[User]


async def show(_request: web.Request, operations: Operations) -> web.Response:
    return await page(operations)


def from_form(handler: Handler) -> Handler:
    """The same for a pressed button: success and refusal are both shown on the page."""

    async def handle(request: web.Request, operations: Operations) -> web.StreamResponse:
        if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
            return await handler(request, operations)
        try:
            await handler(request, operations)
        except ServiceError as error:
            return await page(operations, note=error.message, status=http.status_of(error))
        return web.Response(status=303, headers={hdrs.LOCATION: "/admin"})

    return handle


async def page(operations: Operations, note: str | None = None, status: int = 200) -> web.Response:
    """The page as of now. What cannot be read says so in its place; the rest is shown all the same."""
    crowd = await _look(_crowd(operations))
    waiting = await _look(_waiting(operations))
    return document(
        "Ballast",
        _header(operations),
        tag(
            "main",
            tag("p", note, class_="note", role="alert") if note else None,
            tag(
                "div",
                _features(operations),
                _people(crowd),
                _database(operations),
                _updates(waiting),
                class_="cards",
            ),
        ),
        _footer(operations),
        status=status,
    )


async def _look(reading: Awaitable[T]) -> T | str:
    """What is read, or why it cannot be."""
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await reading
    except TimeoutError:
        return "The database did not answer in time."
    except ServiceError as error:
        return error.message


async def _crowd(operations: Operations) -> Crowd:
    async with operations.database.acquire() as conn:
        total = await repo.count_users(conn, is_active=None)
        active = await repo.count_users(conn, is_active=True)
        return Crowd(total, active, await repo.list_users(conn, page=SHOWN))


async def _waiting(operations: Operations) -> list[FailedUpdate]:
    return await parked(operations).page(size=SHOWN)


def _header(operations: Operations) -> Html:
    status = health.status(operations)
    return tag(
        "header",
        tag("h1", "Ballast"),
        tag("span", status, class_=f"pill {status}"),
        tag("span", _at(operations.clock.now()), class_="soft"),
        _button("Log out", "/admin/logout"),
    )


def _features(operations: Operations) -> Html:
    switchboard = operations.switchboard
    rows = [_feature(feature, switchboard.states[feature.name]) for feature in switchboard.features]
    probed = ("Looked at ", _at(switchboard.probed_at)) if switchboard.probed_at else ("Not looked at yet.",)
    probe = _button("Probe now", "/admin/features/refresh")
    return _card("Features", tag("ul", *rows, class_="rows"), tag("p", *probed, class_="soft"), action=probe)


def _feature(feature: Feature, state: State) -> Html:
    return tag(
        "li",
        tag(
            "div",
            tag("span", feature.title.en, " ", tag("code", feature.name, class_="soft")),
            tag("span", state.state, class_=f"pill {state.state}"),
            class_="row",
        ),
        tag("div", state.reason, class_="off") if state.reason else None,
    )


def _database(operations: Operations) -> Html:
    status = operations.database.status()
    state, word = ("on", "reachable") if status.reachable else ("off", f"away: {status.reason}")
    return _card(
        "Database",
        _figures(
            ("connections in use", status.connections - status.idle),
            ("idle", status.idle),
            ("at most", status.maximum),
        ),
        tag("p", "Since ", _at(status.since), class_="soft"),
        action=tag("span", word, class_=f"pill {state}"),
    )


def _people(crowd: Crowd | str) -> Html:
    if isinstance(crowd, str):
        return _card("Users", tag("p", crowd, class_="off"))
    rows = [_person(user) for user in crowd.newest]
    newest = tag("ul", *rows, class_="rows") if rows else tag("p", "Nobody has come yet.", class_="soft")
    figures = _figures(("users", crowd.total), ("active", crowd.active))
    return _card("Users", figures, newest)


def _person(user: User) -> Html:
    name = tag("a", user.display_name, href=f"/admin/users/{user.user_id}")
    gone = None if user.is_active else tag("span", " (left)", class_="soft")
    return tag("li", tag("span", name, gone), tag("span", _at(user.created_at), class_="soft fixed"), class_="row")


def _updates(waiting: Sequence[FailedUpdate] | str) -> Html:
    title = "Updates that could not be handled"
    if isinstance(waiting, str):
        return _card(title, tag("p", waiting, class_="off"), wide=True)
    rows = [_update(failed) for failed in waiting]
    none = tag("p", "None waits for you.", class_="soft")
    return _card(title, tag("ul", *rows, class_="rows") if rows else none, wide=True)


def _update(failed: FailedUpdate) -> Html:
    tried = (f"Tried {failed.attempts} times, last ", _at(failed.failed_at))
    return tag(
        "li",
        tag(
            "div",
            tag("span", tag("code", failed.update_id), " ", failed.error),
            _button("Replay", f"/admin/updates/{failed.update_id}/replay"),
            class_="row",
        ),
        tag("details", tag("summary", *tried), tag("pre", described(failed)["body"])),
    )


def _footer(operations: Operations) -> Html:
    chat = (("Chat with the bot", "/sandbox"),) if development.uses_sandbox(operations.config) else ()
    return tag("footer", *(tag("a", text, href=href) for text, href in (*LINKS, *chat)))


def _card(title: str, *content: object, action: Html | None = None, wide: bool = False) -> Html:
    head = tag("div", tag("h2", title), action, class_="head")
    return tag("section", head, *content, class_="wide" if wide else "card")


def _figures(*figures: tuple[str, int]) -> Html:
    return tag(
        "dl", *(tag("div", tag("dt", name), tag("dd", f"{value:,}")) for name, value in figures), class_="figures"
    )


def _button(text: str, action: str) -> Html:
    return tag("form", tag("button", text, type="submit"), method="post", action=action)


def _at(time: datetime) -> Html:
    return tag("time", f"{time:%Y-%m-%d %H:%M:%S} UTC", datetime=time.isoformat())

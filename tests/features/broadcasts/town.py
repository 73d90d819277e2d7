"""A town of people with the bot, in the sandbox's Telegram: so many of them, some of whom blocked it.

Ids begin at FIRST. What a chat holds is the truth of who read what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from service.sandbox import Sandbox

FIRST = 2_000_000
STATES = ("queued", "sending", "sent", "blocked", "failed", "unknown")
FILL = """
INSERT INTO users (user_id, first_name, language_code, created_at)
SELECT n, 'Name ' || n, CASE WHEN n % 3 = 0 THEN 'ru' ELSE 'en' END, now() - interval '1 hour'
FROM generate_series($1::bigint, $2::bigint) AS n
"""


def people(count: int) -> dict[str, Any]:
    """Users of the sandbox, by name."""
    return {
        f"person{n}": {"id": n, "is_bot": False, "first_name": f"Name {n}", "language_code": "en"} for n in ids(count)
    }


def ids(count: int) -> range:
    return range(FIRST, FIRST + count)


async def settle(raw: Any, count: int) -> None:
    """Let the service know them."""
    await raw.execute(FILL, FIRST, FIRST + count - 1)


def block(sandbox: Sandbox, share: int) -> set[int]:
    """Every so many blocked the bot."""
    gone = set()
    for person in sandbox.people[::share]:
        sandbox.chats.of(person.id).blocked = True
        gone.add(person.id)
    return gone


def meet(sandbox: Sandbox) -> None:
    """Everybody has started the bot: else it may not write to him."""
    for person in sandbox.people:
        sandbox.chats.of(person.id).started = True


def read(sandbox: Sandbox, text: str) -> Counter[int]:
    """How often each read it."""
    return Counter(person.id for person in sandbox.people for message in person.chat if message.text == text)


def statuses(rows: Sequence[Any]) -> dict[str, int]:
    return {row["status"]: row["count"] for row in rows}

"""What tests of projects share: work that was made for somebody, and how buttons and questions are read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson

from service.catalog import Catalog, Model
from service.text import Text
from tests.cast import PAYER, Person
from tests.serving import Served, message

TEXT = {"text": "Once upon a time."}
PHOTO = {"file_id": "photo-1", "method": "sendPhoto", "name": "card.png", "media_type": "image/png"}
CARD = Model(
    id="text-card",
    title=Text(en="Text card", ru="Открытка"),
    category="images",
    price_rub=Decimal(0),
    provider="local",
    params={},
    prompt_max=100,
    timeout_s=10,
)


def sell_cards(served: Served) -> None:
    """The catalogue has one model, whatever the one that ships may have."""
    catalog = Catalog(packs=(), referral_percent=Decimal(0), models=(CARD,))
    served.operations.switchboard.replace(Catalog, catalog)


async def made(raw: Any, user_id: int = PAYER.user_id, outputs: Any = TEXT, **columns: Any) -> UUID:
    """A job that has succeeded and is delivered, unless `columns` say otherwise."""
    row = {"job_id": uuid4(), "user_id": user_id, "chat_id": user_id, "model_id": CARD.id, "prompt": "a tale"}
    row |= {"timeout_s": 10, "status": "success", "outputs": orjson.dumps(outputs).decode(), **columns}
    await raw.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    places = ", ".join(f"${at + 1}" for at in range(len(row)))
    times, when = ("place, delivered_at", "now(), now()") if "delivered_at" not in row else ("place", "now()")
    await raw.execute(
        f"INSERT INTO generation_jobs ({', '.join(row)}, {times}) VALUES ({places}, {when})", *row.values()
    )
    return row["job_id"]


async def project(raw: Any, name: str = "Cats", user_id: int = PAYER.user_id) -> int:
    await raw.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    return await raw.fetchval("INSERT INTO projects (user_id, name) VALUES ($1, $2) RETURNING id", user_id, name)


async def kept(raw: Any, project_id: int, outputs: Any = TEXT, **columns: Any) -> int:
    """Something in a project."""
    owner = await raw.fetchval("SELECT user_id FROM projects WHERE id = $1", project_id)
    row = {"project_id": project_id, "user_id": owner, "model_id": CARD.id, "status": "success"}
    row |= {"inputs": '{"prompt": "a tale"}', "outputs": orjson.dumps(outputs).decode(), **columns}
    places = ", ".join(f"${at + 1}" for at in range(len(row)))
    return await raw.fetchval(
        f"INSERT INTO project_history ({', '.join(row)}) VALUES ({places}) RETURNING id", *row.values()
    )


def buttons(shown: Mapping[str, Any]) -> dict[str, str]:
    """What the inline buttons of an answer say, and the data that they send."""
    rows = shown["reply_markup"]["inline_keyboard"]
    return {button["text"]: button["callback_data"] for row in rows for button in row}


def reply_to(asked: Mapping[str, Any], person: Person, text: str) -> dict[str, Any]:
    """An update in which a person replies to the bot's question."""
    assert asked["reply_markup"]["force_reply"]
    bot = {"id": 4242, "is_bot": True, "first_name": "Bot"}
    chat = {"id": person.user_id, "type": "private"}
    question = {"message_id": 7, "date": 1, "from": bot, "chat": chat, "text": asked["text"]}
    return message(person, text, reply_to_message=question)

"""The service as a studio in the sandbox's Telegram: a catalogue of models that are drawn on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service.feature import Rooms
from service.sandbox import Message, Person
from service.users.people import People
from service.users.user import Profile
from tests.payments.bot.shop import Shop, open_shop
from tests.payments.money import credit
from tests.waiting import until

CATALOG = """
jobs_per_person = {jobs_per_person}
[[packs]]
id = "small"
credit_rub = "300"
prices = {{ RUB = "300", XTR = "230" }}

[[categories]]
id = "tools"
title = {{ en = "Tools", ru = "Инструменты" }}
[[categories]]
id = "art"
title = {{ en = "Art", ru = "Искусство" }}
[[categories]]
id = "empty"
title = {{ en = "Empty", ru = "Пусто" }}

[[models]]
id = "qr"
title = {{ en = "QR code", ru = "QR-код" }}
category = "tools"
price_rub = 0
provider = "local"
params = {{ kind = "qr" }}
prompt_max = 21
[[models]]
id = "card"
title = {{ en = "Card", ru = "Открытка" }}
category = "art"
price_rub = "12.50"
provider = "local"
params = {{ kind = "card" }}
[[models]]
id = "elsewhere"
title = {{ en = "Made elsewhere", ru = "Делают не здесь" }}
category = "empty"
price_rub = 1
provider = "openai"
params = {{ kind = "chat", model = "some" }}
"""
MORE = """
[[models]]
id = "more-{number}"
title = {{ en = "More {number}", ru = "Ещё {number}" }}
category = "tools"
price_rub = 0
provider = "local"
params = {{ kind = "qr" }}
"""


@asynccontextmanager
async def open_studio(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Shop]:
    """`jobs_per_person` and how many `more` free models there are, besides settings."""
    catalog = folder / "catalog.toml"
    more = "".join(MORE.format(number=number) for number in range(settings.pop("more", 0)))
    catalog.write_text(CATALOG.format(jobs_per_person=settings.pop("jobs_per_person", 10)) + more)
    async with open_shop(database_url, CATALOG=str(catalog), **settings) as shop:
        yield shop


def rooms_of(studio: Shop) -> Rooms:
    return studio.served.operations.switchboard.mounted.rooms


async def give(studio: Shop, person: Person, roubles: str) -> None:
    await rooms_of(studio).of(People).ensure_user_exists(Profile(person.id))
    await credit(rooms_of(studio), roubles, user_id=person.id)


async def stop_workers(raw: Any) -> None:
    """Whatever is ordered from now on waits: it is due to nobody."""
    await raw.execute(
        """
        CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.status = 'waiting'; NEW.due_at = now() + interval '1 day'; RETURN NEW; END $$
        """
    )
    await raw.execute("CREATE TRIGGER late BEFORE INSERT ON generation_jobs FOR EACH ROW EXECUTE FUNCTION late()")


async def sees_pictures(person: Person, count: int = 1) -> list[Message]:
    """Once there are so many in his chat."""

    def pictures() -> list[Message]:
        return [one for one in person.chat if "photo" in one.wire]

    await until(lambda: len(pictures()) >= count)
    return pictures()


def labels(buttons: list[dict[str, Any]]) -> list[str]:
    return [button["text"] for button in buttons]

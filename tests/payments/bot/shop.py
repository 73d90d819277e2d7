"""The service as a shop in the sandbox's Telegram: people press buttons and pay, and the bot is told by its webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from service.sandbox import Person, Sandbox
from service.telegram.update import ALLOWED_UPDATES
from service.telegram.webhook import PATH
from tests.serving import SECRET, Served, serving, telegram, update_ids


@dataclass(frozen=True)
class Shop:
    served: Served
    sandbox: Sandbox

    @property
    def payer(self) -> Person:
        """Speaks English."""
        return self.sandbox.person("payer")

    @property
    def friend(self) -> Person:
        """Speaks Russian."""
        return self.sandbox.person("friend")

    @property
    def stranger(self) -> Person:
        return self.sandbox.person("stranger")

    async def open(self) -> None:
        hook = {"url": self.served.base + PATH, "secret_token": SECRET, "allowed_updates": list(ALLOWED_UPDATES)}
        await self.served.operations.bot.call("setWebhook", hook)


@asynccontextmanager
async def open_shop(database_url: str, **settings: Any) -> AsyncIterator[Shop]:
    """With Stars alone, unless `settings` add processors."""
    alone = {"YOOKASSA_SHOP_ID": "", "STRIPE_SECRET_KEY": "", "POLAR_ACCESS_TOKEN": ""}
    async with (
        telegram() as (sandbox, base),
        serving(database_url, **{**alone, "TELEGRAM_API_BASE": base, **settings}) as served,
    ):
        shop = Shop(served, sandbox)
        await shop.open()
        yield shop


async def invoice_for(person: Person, pack: str = "300 ₽", topup: str = "/topup") -> str:
    """He chooses a pack; the link where it is paid."""
    await person.says(topup)
    await person.presses(pack)
    return link_of(person)


def link_of(person: Person) -> str:
    """The newest button that opens an address."""
    return next(
        button["url"] for message in reversed(person.chat) for button in reversed(message.buttons) if "url" in button
    )


async def newest_order(raw: Any) -> str:
    return str(await raw.fetchval("SELECT payment_id FROM payments ORDER BY created_at DESC LIMIT 1"))


def paid(person: Person, payload: str, charge: str, **fields: Any) -> dict[str, Any]:
    """An update that tells of money: 230 Stars for the order, unless `fields` say otherwise."""
    payment = {"currency": "XTR", "total_amount": 230, "invoice_payload": payload, "telegram_payment_charge_id": charge}
    return money(person, successful_payment={**payment, "provider_payment_charge_id": "", **fields})


def refunded(person: Person, payload: str, charge: str) -> dict[str, Any]:
    """An update that tells of Stars given back."""
    payment = {"currency": "XTR", "total_amount": 230, "invoice_payload": payload, "telegram_payment_charge_id": charge}
    return money(person, refunded_payment=payment)


def money(person: Person, **fact: Any) -> dict[str, Any]:
    chat = {"id": person.id, "type": "private"}
    return {
        "update_id": next(update_ids),
        "message": {"message_id": 9, "date": 1, "from": person.user, "chat": chat, **fact},
    }

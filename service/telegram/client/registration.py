"""Tells Telegram where to deliver.

It knows webhooks; it knows nothing of what comes through them. A webhook is never deleted when the service
stops, and what is pending is never dropped: Telegram keeps it for us. https://core.telegram.org/bots/api#setwebhook
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from service.kernel.log import Log
from service.telegram.client.bot import BotApi

FINGERPRINT_LENGTH = 12  # hex digits: 48 bits tell any two secrets apart

log = Log("telegram")


async def set_webhook_if_differs(bot: BotApi, *, url: str, secret: str, allowed_updates: Sequence[str]) -> bool:
    """Sets the webhook unless it is as it should be; True when it was set. Raises Upstream.

    Telegram never tells the secret it holds, so the address carries a fingerprint of it: a new secret is a
    new address. A 401 that Telegram reports means that it holds another secret all the same.
    """
    info = await bot.call("getWebhookInfo")
    address = f"{url}?secret={fingerprint(bot.token, secret)}"
    if not _differs(info, address, allowed_updates):
        return False
    params = {"url": address, "secret_token": secret, "allowed_updates": list(allowed_updates)}
    await bot.call("setWebhook", params)
    log.info("webhook set", url=url)
    return True


async def remove_webhook(bot: BotApi) -> None:
    """Makes room for polling, which Telegram refuses while a webhook is set. Raises Upstream."""
    info = await bot.call("getWebhookInfo")
    if info.get("url"):
        await bot.call("deleteWebhook", {"drop_pending_updates": False})
        log.warning("webhook removed for polling")


def fingerprint(token: str, secret: str) -> str:
    """Keyed by the token, so that an address in somebody's log is of no help in guessing the secret."""
    return hmac.new(token.encode(), secret.encode(), hashlib.sha256).hexdigest()[:FINGERPRINT_LENGTH]


def _differs(info: dict[str, Any], address: str, allowed_updates: Sequence[str]) -> bool:
    return (
        info.get("url") != address
        or set(info.get("allowed_updates", ())) != set(allowed_updates)
        or "401" in info.get("last_error_message", "")
    )

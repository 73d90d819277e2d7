"""GET /payments/return: where processors send a person when he has paid, or has not. He belongs back in the chat.

It knows where the chat is; what became of the payment it neither knows nor says.
"""

from __future__ import annotations

from aiohttp import web

from service.config import Config
from service.feature import HttpRoute, Rooms
from service.telegram.client import BotApi

TELEGRAM = "https://t.me"


async def back_to_the_chat(_request: web.Request, rooms: Rooms) -> web.StreamResponse:
    raise web.HTTPFound(chat_of(rooms.of(Config), rooms.of(BotApi).username))


def chat_of(config: Config, username: str | None) -> str:
    """The sandbox's page where the sandbox is our Telegram: then we serve it ourselves, and nobody else would."""
    if config.public_url and config.telegram_api_base.startswith(f"{config.public_url}/"):
        return config.telegram_api_base
    return f"{TELEGRAM}/{username}" if username else TELEGRAM


ROUTE = HttpRoute("GET", "/payments/return", back_to_the_chat)

"""GET /payments/return: where processors send a person when he has paid, or has not. He belongs back in the chat.

It knows where the chat is; what became of the payment it neither knows nor says.
"""

from __future__ import annotations

from aiohttp import web

from service.config import Config
from service.feature import HttpRoute, Rooms
from service.telegram.client import BotApi
from service.telegram.client.address import chat_of


async def back_to_the_chat(_request: web.Request, rooms: Rooms) -> web.StreamResponse:
    raise web.HTTPFound(chat_of(rooms.of(Config), rooms.of(BotApi).username))


ROUTE = HttpRoute("GET", "/payments/return", back_to_the_chat)

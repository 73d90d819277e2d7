"""The yardstick: an aiohttp handler that parses the same JSON and does nothing. `python -m benchmarks.bare PORT`."""

from __future__ import annotations

import sys

import orjson
from aiohttp import web

ANSWER = orjson.dumps({"method": "sendMessage", "chat_id": 1, "text": "x" * 150})


async def receive(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=ANSWER, content_type="application/json")


def main() -> None:
    app = web.Application()
    app.router.add_post("/telegram/webhook", receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()

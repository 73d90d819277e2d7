"""The yardstick: an aiohttp handler, as its documentation writes one, that parses the same JSON and does nothing.

`python -m benchmarks.bare PORT`.
"""

from __future__ import annotations

import sys

from aiohttp import web


async def receive(request: web.Request) -> web.Response:
    await request.json()
    return web.Response()


def main() -> None:
    app = web.Application()
    app.router.add_post("/telegram/webhook", receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()

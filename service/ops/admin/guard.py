"""The guard in front of everything under /admin, whoever mounted it, and the log-in.

It knows the operators' token and HTTP; it knows no page behind it. A script sends `Authorization: Bearer`, a
browser logs in once and sends the cookie.

A browser sends the cookie by itself, so a request that changes something must also come from a page of ours.
SameSite=Strict keeps the cookie from other sites; a sibling on the same domain is kept out by Sec-Fetch-Site, or
Origin where a browser sends none. Both are the browser's own word and need no state, and no secret in each form.
https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from service import http
from service.errors import ServiceError, Unauthorized
from service.kernel.clock import Clock
from service.kernel.log import Log
from service.ops.admin import session
from service.ops.admin.html import CONTENT_SECURITY_POLICY
from service.ops.admin.login import login_page

PREFIX = "/admin"
LOGIN = "/admin/login"
LOGOUT = "/admin/logout"
COOKIE = "ballast_operator"
READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
# Same-origin and not no-referrer: under that one browsers send `Origin: null` with our own forms.
HEADERS = {
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

log = Log("admin")


class TooManyTries(ServiceError):
    """Too many wrong tokens came from here; wait a minute."""

    code = "too_many_tries"


class Guard:
    """Lets operators through. Without a token in the settings there are none."""

    def __init__(self, token: str | None, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._tries = session.Tries(clock.monotonic)

    def around(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """All the routes, those under /admin guarded, whoever they belong to, and the log-in.

        What is not there is guarded like what is: who may not look learns not even that.
        """
        own = [
            web.get(LOGIN, self._show),
            web.post(LOGIN, self._log_in),
            web.post(LOGOUT, self._log_out),
            web.route(hdrs.METH_ANY, f"{PREFIX}/{{path:.*}}", http.not_found),
        ]
        return [self._guarded(route) for route in (*routes, *own)]

    def _guarded(self, route: web.RouteDef) -> web.RouteDef:
        if not f"{route.path}/".startswith(f"{PREFIX}/"):
            return route
        handler: Any = route.handler

        async def admit(request: web.Request) -> web.StreamResponse:
            try:
                self._require_operator(request)
                response: web.StreamResponse = await handler(request)
            except Unauthorized as error:
                response = _unauthorized(request, error)
            response.headers.update(HEADERS)
            return response

        return web.route(route.method, route.path, admit)

    async def _show(self, _request: web.Request) -> web.Response:
        return login_page()

    async def _log_in(self, request: web.Request) -> web.Response:
        given = (await request.post()).get("token")
        if not self._is_token(given if isinstance(given, str) else "", request):
            return login_page("This is not the token.", 401)
        log.info("operator logged in", address=request.remote)
        response = web.Response(status=303, headers={hdrs.LOCATION: PREFIX})
        value = session.opened(self._token or "", self._clock.now())
        lasts = int(session.LASTS.total_seconds())
        response.set_cookie(
            COOKIE, value, max_age=lasts, path=PREFIX, httponly=True, samesite="Strict", secure=_is_https(request)
        )
        return response

    async def _log_out(self, _request: web.Request) -> web.Response:
        response = web.Response(status=303, headers={hdrs.LOCATION: LOGIN})
        response.del_cookie(COOKIE, path=PREFIX)
        return response

    def _require_operator(self, request: web.Request) -> None:
        """Raises Unauthorized, TooManyTries."""
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":  # another scheme is a proxy's in front of us
            if not self._is_token(given.strip(), request):
                raise Unauthorized("This is not the operators' token.")
        elif request.path == LOGIN or self._is_logged_in(request):
            _require_own_page(request)
        else:
            raise Unauthorized("Send `Authorization: Bearer` with the operators' token, or log in.")

    def _is_logged_in(self, request: web.Request) -> bool:
        cookie = request.cookies.get(COOKIE, "")
        return self._token is not None and session.is_open(self._token, cookie, self._clock.now())

    def _is_token(self, given: str, request: web.Request) -> bool:
        """Raises TooManyTries, without looking at what is given: else a search would go on through the pause."""
        address = request.remote or ""
        if self._tries.are_used_up(address):
            raise TooManyTries
        if self._token is not None and session.same(given, self._token):
            return True
        self._tries.count_wrong(address)
        log.warning("wrong operator token", address=address)
        return False


def asks_for_a_page(request: web.Request) -> bool:
    """Whether a browser's window asks, and not a program."""
    return "text/html" in request.headers.get(hdrs.ACCEPT, "")


def _require_own_page(request: web.Request) -> None:
    """Raises Unauthorized for a change that a page of somebody else asks for, in the operator's browser."""
    if request.method in READING:
        return
    site = request.headers.get("Sec-Fetch-Site")
    own = site == "same-origin" if site else urlsplit(request.headers.get(hdrs.ORIGIN, "")).netloc == request.host
    if not own:
        raise Unauthorized("This must come from the operators' own page.")


def _is_https(request: web.Request) -> bool:
    """Also where a platform's router ends TLS. Who lies about it marks only his own cookie."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").startswith("https")


def _unauthorized(request: web.Request, error: Unauthorized) -> web.Response:
    if asks_for_a_page(request):
        return login_page(status=401)
    response = http.refusal(error.code, error.message, 401)
    response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response

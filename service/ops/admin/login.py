"""The log-in form. It knows what it looks like; whether a token is right is the guard's to say."""

from __future__ import annotations

from aiohttp import web

from service.ops.admin.html import document, tag


def login_page(note: str | None = None, status: int = 200) -> web.Response:
    """The form, with a word about the last try."""
    return document(
        "Ballast: log in",
        tag(
            "main",
            tag("h1", "Ballast"),
            tag("p", note, class_="note", role="alert") if note else None,
            tag(
                "form",
                tag("label", "Operator token", for_="token"),
                tag(
                    "input",
                    id="token",
                    name="token",
                    type="password",
                    autocomplete="current-password",
                    required=True,
                    autofocus=True,
                ),
                tag("button", "Log in", type="submit"),
                method="post",
                action="/admin/login",
            ),
            class_="login",
        ),
        status=status,
    )

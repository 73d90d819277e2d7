"""HTML that cannot be forgotten to be escaped: text becomes markup only through `tag`.

It knows elements and the frame of a page; it knows nothing of what the pages show.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from aiohttp import web

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No script at all, and this one style: what an operator sees can load, run and send nothing that is not ours.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
VOID = frozenset({"input", "link", "meta"})


class Html(str):
    """Markup that `tag` made. Any other text is escaped when it goes into an element."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: str | bool) -> Html:
    """An element. Children are Html or text, None is left out; `class_` is class, a True attribute has no value."""
    given = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Several things, one after the other."""
    return Html("".join(_markup(child) for child in children if child is not None))


def document(title: str, *body: object, status: int = 200) -> web.Response:
    """A whole page as a response."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    text = f"<!doctype html>{tag('html', head, tag('body', *body), lang='en')}"
    return web.Response(text=text, status=status, content_type="text/html")


def _markup(child: object) -> str:
    return child if isinstance(child, Html) else escape(str(child))


def _attribute(name: str, value: str | bool) -> str:
    if isinstance(value, bool):
        return f" {name}" if value else ""
    return f' {name}="{escape(value)}"'

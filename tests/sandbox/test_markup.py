"""Formatted text comes out as Telegram would show it, or is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.sandbox.calls import Refusal
from service.sandbox.markup import MAX_TEXT, formatted, units


def entity(kind: str, offset: int, length: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "offset": offset, "length": length, **more}


PARSED = [
    ("HTML", "<b>Hi</b> you", "Hi you", [entity("bold", 0, 2)]),
    ("HTML", "😀 <i>a</i>", "😀 a", [entity("italic", 3, 1)]),
    ("HTML", "1 &lt; 2 &amp;&amp; &#x41;", "1 < 2 && A", []),
    ("HTML", "<b>a<u>b</u></b>", "ab", [entity("bold", 0, 2), entity("underline", 1, 1)]),
    ("HTML", '<a href="https://example.org/?a=1&amp;b=2">x</a>', "x",
     [entity("text_link", 0, 1, url="https://example.org/?a=1&b=2")]),
    ("HTML", "  <code>x</code> \n", "x", [entity("code", 0, 1)]),
    ("html", '<span class="tg-spoiler">x</span>', "x", [entity("spoiler", 0, 1)]),
    ("MarkdownV2", "*b* _i_ __u__ ~s~ ||h||", "b i u s h",
     [entity("bold", 0, 1), entity("italic", 2, 1), entity("underline", 4, 1),
      entity("strikethrough", 6, 1), entity("spoiler", 8, 1)]),
    ("MarkdownV2", r"1\.5 \*not\*", "1.5 *not*", []),
    ("MarkdownV2", "[x](https://example.org)", "x", [entity("text_link", 0, 1, url="https://example.org")]),
    ("MarkdownV2", "`a.b`", "a.b", [entity("code", 0, 3)]),
    ("MarkdownV2", "```py\na = 1```", "a = 1", [entity("pre", 0, 5, language="py")]),
    ("", "<b>plain</b> *too*", "<b>plain</b> *too*", []),
    ("", "Try /help or https://example.org.", "Try /help or https://example.org.",
     [entity("bot_command", 4, 5), entity("url", 13, 19)]),
    ("", "and/or 1/2", "and/or 1/2", []),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "source", "text", "entities"), PARSED)
def test_parses(mode: str, source: str, text: str, entities: list[dict[str, Any]]) -> None:
    result = formatted(source, mode, most=MAX_TEXT)
    assert (result.text, result.entities) == (text, entities)


REFUSED = [
    ("HTML", "<b>Hi", 'Can\'t find end tag corresponding to start tag "b"'),
    ("HTML", "Hi</b>", "Unexpected end tag at byte offset 2"),
    ("HTML", "<b>ж<i>x</b></i>", 'Unmatched end tag at byte offset 9, expected "</i>", found "</b>"'),
    ("HTML", "<h1>x</h1>", 'Unsupported start tag "h1" at byte offset 0'),
    ("HTML", "a <b", "Unclosed start tag at byte offset 2"),
    ("HTML", "1 < 2 > 1", 'Unsupported start tag "" at byte offset 2'),
    ("MarkdownV2", "1.5", "Character '.' is reserved and must be escaped with the preceding '\\'"),
    ("MarkdownV2", "(x)", "Character '(' is reserved and must be escaped with the preceding '\\'"),
    ("MarkdownV2", "ж *x", "Can't find end of Bold entity at byte offset 3"),
]


@pytest.mark.parametrize(("mode", "source", "why"), REFUSED)
def test_refuses(mode: str, source: str, why: str) -> None:
    with pytest.raises(Refusal) as refusal:
        formatted(source, mode, most=MAX_TEXT)
    assert refusal.value.description == f"Bad Request: can't parse entities: {why}"


def test_the_limit_counts_utf16_units_of_the_parsed_text() -> None:
    assert formatted("😀" * 2048, "", most=MAX_TEXT).length == 4096
    assert formatted(f"<b>{'x' * 4096}</b>", "HTML", most=MAX_TEXT).length == 4096
    with pytest.raises(Refusal, match="message is too long"):
        formatted("x" * 4097, "", most=MAX_TEXT)


@given(some.text(max_size=60), some.sampled_from(["", "HTML", "MarkdownV2"]))
def test_entities_stay_inside_of_any_text(source: str, mode: str) -> None:
    try:
        result = formatted(source, mode, most=MAX_TEXT)
    except Refusal:
        return
    assert result.length == units(result.text)
    for one in result.entities:
        assert 0 <= one["offset"] < one["offset"] + one["length"] <= result.length

"""Formatted text and keyboards as Telegram reads them: parse modes, entities, reply_markup. Pure.

It must not know chats or methods. https://core.telegram.org/bots/api#formatting-options
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from service.sandbox.calls import Arguments, Json, bad_request

MAX_TEXT = 4096  # UTF-16 code units after parsing
MAX_CAPTION = 1024
MAX_CALLBACK_BYTES = 64
MAX_COMMANDS = 100
MAX_PLACEHOLDER = 64

_HTML_KINDS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "span": "spoiler",
    "tg-spoiler": "spoiler", "tg-emoji": "custom_emoji", "a": "text_link", "code": "code", "pre": "pre",
    "blockquote": "blockquote",
}  # fmt: skip
_HTML_PIECE = re.compile(r"<(?P<slash>/?)(?P<tag>[^\s>/]*)(?P<rest>[^>]*)>|(?P<open><)|(?P<text>[^<]+)")
_ATTRIBUTE = re.compile(r"""(?:href|class|emoji-id)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")

_MARKDOWN_KINDS = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}
_MARKDOWN_PIECE = re.compile(
    r"\\(?P<escaped>[\x01-\x7e])"
    r"|```(?:(?P<language>\w+)\n)?(?P<pre>(?:\\.|[^`\\])*)```"
    r"|`(?P<code>(?:\\.|[^`\\])*)`"
    r"|\[(?P<label>(?:\\.|[^\]\\])*)\]\((?P<url>(?:\\.|[^)\\])*)\)"
    r"|(?P<quote>(?:^|(?<=\n))>)"
    r"|(?P<mark>__|\|\||[*_~])"
    r"|(?P<reserved>[\[\]()>#+\-=|{}.!`])"
    r"|(?P<text>[\s\S])"
)
_DETECTED = re.compile(
    r"(?P<bot_command>(?<![\w/<])/[A-Za-z0-9_]{1,64}(?:@\w{3,32})?(?!\w))|(?P<url>https?://[^\s<>\"]+[^\s<>\".,;:!?)])"
)


def units(text: str) -> int:
    """Length as Telegram counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(slots=True)
class Formatted:
    """Plain text and its entities, growing from left to right."""

    text: str = ""
    length: int = 0
    entities: list[Json] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.text += text
        self.length += units(text)

    def mark(self, kind: str, start: int, **more: str) -> None:
        if self.length > start:
            self.entities.append({"type": kind, "offset": start, "length": self.length - start, **more})


def formatted(source: str, parse_mode: str, *, most: int) -> Formatted:
    """Text as it will be shown. Raises Refusal for what does not parse and for what is longer than `most`."""
    match parse_mode.lower():
        case "" | "none":
            result = Formatted()
            result.write(source)
        case "html":
            result = _html(source)
        case "markdownv2":
            result = _markdown(source)
        case _:
            raise bad_request("unsupported parse_mode")
    result = _trimmed(result)
    if result.length > most:
        raise bad_request("message is too long" if most == MAX_TEXT else "message caption is too long")
    result.entities = sorted([*result.entities, *detected(result)], key=lambda found: int(found["offset"]))
    return result


def detected(result: Formatted) -> list[Json]:
    """Commands and addresses that Telegram marks by itself, outside of what is marked already."""
    found: list[Json] = []
    for match in _DETECTED.finditer(result.text):
        start, length = units(result.text[: match.start()]), units(match[0])
        if not any(one["offset"] < start + length and start < one["offset"] + one["length"]
                   for one in result.entities):  # fmt: skip
            found.append({"type": match.lastgroup, "offset": start, "length": length})
    return found


def _trimmed(result: Formatted) -> Formatted:
    text = result.text.strip()
    lead = units(result.text[: len(result.text) - len(result.text.lstrip())])
    trimmed = Formatted(text, units(text))
    for one in result.entities:
        start = max(0, one["offset"] - lead)
        end = min(trimmed.length, one["offset"] + one["length"] - lead)
        if end > start:
            trimmed.entities.append({**one, "offset": start, "length": end - start})
    return trimmed


def _unparsable(why: str) -> Exception:
    return bad_request(f"can't parse entities: {why}")


def _byte_offset(source: str, position: int) -> int:
    return len(source[:position].encode())


def _html(source: str) -> Formatted:
    result, stack = Formatted(), list[tuple[str, str, int]]()
    for piece in _HTML_PIECE.finditer(source):
        if piece["text"] is not None:
            result.write(html.unescape(piece["text"]))
        elif piece["open"]:
            raise _unparsable(f"Unclosed start tag at byte offset {_byte_offset(source, piece.start())}")
        elif piece["slash"]:
            _close_tag(result, stack, piece)
        else:
            stack.append(_open_tag(result, piece))
    if stack:
        raise _unparsable(f'Can\'t find end tag corresponding to start tag "{stack[-1][0]}"')
    return result


def _open_tag(result: Formatted, piece: re.Match[str]) -> tuple[str, str, int]:
    tag = piece["tag"].lower()
    if tag not in _HTML_KINDS:
        offset = _byte_offset(piece.string, piece.start())
        raise _unparsable(f'Unsupported start tag "{tag}" at byte offset {offset}')
    value = _ATTRIBUTE.search(piece["rest"])
    return tag, html.unescape(next(filter(None, value.groups()), "")) if value else "", result.length


def _close_tag(result: Formatted, stack: list[tuple[str, str, int]], piece: re.Match[str]) -> None:
    offset, found = _byte_offset(piece.string, piece.start()), piece["tag"].lower()
    if not stack:
        raise _unparsable(f"Unexpected end tag at byte offset {offset}")
    tag, value, start = stack.pop()
    if found not in ("", tag):
        raise _unparsable(f'Unmatched end tag at byte offset {offset}, expected "</{tag}>", found "</{found}>"')
    kind = _HTML_KINDS[tag]
    if kind == "text_link":
        if value:  # a link that leads nowhere is plain text
            result.mark(kind, start, url=value)
    else:
        result.mark(kind, start)


def _markdown(source: str) -> Formatted:
    result, stack = Formatted(), list[tuple[str, int, int]]()
    for piece in _MARKDOWN_PIECE.finditer(source):
        if piece["mark"]:
            _toggle(result, stack, piece)
        elif piece["reserved"]:
            raise _unparsable(
                f"Character '{piece['reserved']}' is reserved and must be escaped with the preceding '\\'"
            )
        else:
            _plain_piece(result, piece)
    if stack:
        mark, _, position = stack[-1]
        kind = _MARKDOWN_KINDS[mark].capitalize()
        raise _unparsable(f"Can't find end of {kind} entity at byte offset {_byte_offset(source, position)}")
    return result


def _toggle(result: Formatted, stack: list[tuple[str, int, int]], piece: re.Match[str]) -> None:
    mark = piece["mark"]
    if stack and stack[-1][0] == mark:
        result.mark(_MARKDOWN_KINDS[mark], stack.pop()[1])
    else:
        stack.append((mark, result.length, piece.start()))


def _plain_piece(result: Formatted, piece: re.Match[str]) -> None:
    start = result.length
    inside = next((piece[name] for name in ("escaped", "pre", "code", "label", "text") if piece[name]), "")
    result.write(inside if piece["text"] or piece["escaped"] else re.sub(r"\\(.)", r"\1", inside))
    if piece["pre"] is not None:
        result.mark("pre", start, **({"language": piece["language"]} if piece["language"] else {}))
    elif piece["code"] is not None:
        result.mark("code", start)
    elif piece["url"]:
        result.mark("text_link", start, url=re.sub(r"\\(.)", r"\1", piece["url"]))


def markup_of(args: Arguments) -> Json | None:
    """The reply_markup of a call."""
    return check_markup(args.decoded("reply_markup", wrong="can't parse reply keyboard markup JSON object"))


def check_markup(markup: Any) -> Json | None:
    """reply_markup as it will be kept. Raises Refusal in the real server's words."""
    if markup is None:
        return None
    if not isinstance(markup, dict):
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in markup:
        rows = _rows(markup["inline_keyboard"], 'field "inline_keyboard" of the InlineKeyboardMarkup')
        for button in (button for row in rows for button in row):
            _check_inline_button(button)
        return {"inline_keyboard": rows} if any(rows) else None
    if "keyboard" in markup:
        for button in (one for row in _rows(markup["keyboard"], 'field "keyboard"') for one in row):
            _check_reply_button(button)
        return markup
    if markup.get("force_reply"):
        _check_placeholder(markup)
        return markup
    return markup if markup.get("remove_keyboard") else None


def _rows(rows: Any, field_name: str) -> list[list[Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise bad_request(f"{field_name} must be an Array of Arrays")
    return rows


def _check_placeholder(markup: Json) -> None:
    if units(str(markup.get("input_field_placeholder", ""))) > MAX_PLACEHOLDER:
        raise bad_request(f"input_field_placeholder must have 1 to {MAX_PLACEHOLDER} characters")  # as documented


_ACTIONS = (
    "url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay",
)  # fmt: skip


def _wrong_inline_button(why: str) -> Exception:
    return bad_request(f"can't parse inline keyboard button: {why}")


def _check_inline_button(button: Any) -> None:
    if not isinstance(button, dict):
        raise _wrong_inline_button("InlineKeyboardButton must be an Object")
    if not isinstance(button.get("text"), str):
        raise _wrong_inline_button('Can\'t find field "text"')
    actions = [name for name in _ACTIONS if button.get(name) not in (None, "")]
    if not actions:
        raise _wrong_inline_button("Text buttons are unallowed in the inline keyboard")
    if len(actions) > 1:  # the real server silently takes the first; its documentation demands exactly one
        raise _wrong_inline_button(f"exactly one action is allowed, found {', '.join(actions)}")
    if len(str(button.get("callback_data", "")).encode()) > MAX_CALLBACK_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
    if "url" in actions and not re.match(r"(https?|tg)://|\w[\w-]*\.\w", str(button["url"])):
        raise bad_request(f"inline keyboard button URL '{button['url']}' is invalid: Wrong HTTP URL")


def _check_reply_button(button: Any) -> None:
    if isinstance(button, str):
        return
    if not isinstance(button, dict):
        raise bad_request("can't parse keyboard button: KeyboardButton must be a String or an Object")
    if not isinstance(button.get("text"), str):
        raise bad_request("can't parse keyboard button: Can't find field \"text\"")


def check_commands(commands: Any) -> list[Json]:
    """Commands as they will be kept, without slashes. Raises Refusal."""
    if not isinstance(commands, list):
        raise bad_request("expected an Array of BotCommand")
    if len(commands) > MAX_COMMANDS:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    for command in commands:
        if not isinstance(command, dict):
            raise bad_request("can't parse BotCommand: expected an Object")
        name = command.get("command")
        if not isinstance(name, str) or not re.fullmatch(r"/?[a-z0-9_]{1,32}", name):
            raise bad_request("BOT_COMMAND_INVALID")
        if not 1 <= units(str(command.get("description", ""))) <= 256:
            raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return [{**command, "command": command["command"].lstrip("/")} for command in commands]

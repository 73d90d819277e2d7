"""Cards: a text in large letters on a coloured ground. It knows letters, lines and colours, and no language.

The font has Latin, Greek, Cyrillic and some symbols. Emoji are left out; letters that it lacks become boxes.
"""

from __future__ import annotations

import unicodedata
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from service.features.generation.providers.drawing import NotDrawable

FONT = Path(__file__).parent / "fonts" / "DejaVuSans-Bold.ttf"
SIDE_PX = 1080  # a square, as messengers show whole
MARGIN_PX = 100
SIZES_PX = (120, 100, 84, 70, 58, 48, 40, 32)  # the largest at which the text fits
LEADING = 1.32  # height of a line, in sizes of the font
WHOLE_MAX = 24  # letters; a longer word is broken rather than made small
LINES_MAX = int((SIDE_PX - 2 * MARGIN_PX) / (SIZES_PX[-1] * LEADING))
BOX = "\N{WHITE SQUARE}"
# Of characters that the font lacks, these are left out; any other is a letter, and leaves a box.
LEFT_OUT = frozenset({"So", "Sk", "Cf", "Cc", "Cs", "Co", "Cn", "Mn", "Me"})

Colour = tuple[int, int, int]
# The corners of a ground: both dark enough for white letters.
GROUNDS: tuple[tuple[Colour, Colour], ...] = (
    ((38, 70, 140), (96, 52, 140)),
    ((12, 92, 104), (22, 58, 112)),
    ((150, 46, 84), (84, 34, 104)),
    ((24, 100, 74), (16, 66, 98)),
    ((170, 74, 36), (132, 34, 70)),
    ((58, 62, 82), (28, 32, 46)),
)
WHITE = (255, 255, 255)


def drawn(text: str) -> bytes:
    """A PNG; the same text gives the same card. Raises NotDrawable where it does not fit, naming the limit."""
    shown = legible(text)
    if not shown.strip(BOX + " \n"):
        raise NotDrawable("nothing_to_draw", "a card shows Latin and Cyrillic letters, and there are none")
    font, lines = _laid_out(shown)
    card = _ground(shown)
    middle = (SIDE_PX / 2, SIDE_PX / 2)
    spacing = font.size * (LEADING - 1)
    written = Image.new("L", card.size)
    ImageDraw.Draw(written).multiline_text(
        middle, "\n".join(lines), 255, font, anchor="mm", align="center", spacing=spacing
    )
    shadow = ImageChops.offset(written, 0, 4).filter(ImageFilter.GaussianBlur(8)).point(lambda level: level // 3)
    card.paste((0, 0, 0), mask=shadow)
    card.paste(WHITE, mask=written)
    picture = BytesIO()
    card.save(picture, "PNG")
    return picture.getvalue()


def legible(text: str) -> str:
    """What of it the font can show, with no more blanks than a card needs."""
    known = "".join(map(_shown, unicodedata.normalize("NFC", text)))
    lines = [" ".join(line.split()) for line in known.strip().splitlines()]
    return "\n".join(line for place, line in enumerate(lines) if line or lines[place - 1])


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, size)


def _shown(character: str) -> str:
    if character.isspace():
        return "\n" if character in "\n\v\f\r\x85\u2028\u2029" else " "
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cc"):
        return ""
    if _has(character):
        return character
    return "" if kind in LEFT_OUT else BOX


def _has(character: str) -> bool:
    """What a font lacks, it shows as one and the same glyph."""
    return bytes(_font(SIZES_PX[-1]).getmask(character)) != _lacking()


@cache
def _lacking() -> bytes:
    return bytes(_font(SIZES_PX[-1]).getmask("\N{CJK UNIFIED IDEOGRAPH-4E00}"))


def _laid_out(text: str) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    room = SIDE_PX - 2 * MARGIN_PX
    for size in SIZES_PX:
        font = _font(size)
        lines = _wrapped(text, font, room)
        breaks_no_word = size == SIZES_PX[-1] or _widest_word(text, font) <= room
        if len(lines) * size * LEADING <= room and breaks_no_word:
            return font, _evened(text, font, room, len(lines))
    raise NotDrawable("too_long", f"a card holds {LINES_MAX} lines of small letters, and this text needs {len(lines)}")


def _widest_word(text: str, font: ImageFont.FreeTypeFont) -> float:
    """Of the words that are to stay whole; an address may be broken."""
    return max((font.getlength(word) for word in text.split() if len(word) <= WHOLE_MAX), default=0)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    return [line for given in text.split("\n") for line in _lines_of(given, font, room)]


def _lines_of(given: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    """Words as they fit; a word that is wider than a line is broken."""
    lines = [""]
    for word in given.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
            continue
        *whole, rest = _pieces(word, font, room)
        lines += [*whole, rest]
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _pieces(word: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _evened(text: str, font: ImageFont.FreeTypeFont, room: float, count: int) -> list[str]:
    """The narrowest lines that are no more of them: no word is left alone at the end."""
    low, high = min(_widest_word(text, font), room), room
    while high - low > 8:  # px, which nobody sees
        middle = (low + high) / 2
        low, high = (low, middle) if len(_wrapped(text, font, middle)) <= count else (middle, high)
    return _wrapped(text, font, high)


def _ground(text: str) -> Image.Image:
    """Two colours that flow into each other from corner to corner, and two circles that hardly show."""
    first, second = GROUNDS[zlib.crc32(text.encode()) % len(GROUNDS)]
    down = Image.linear_gradient("L").resize((SIDE_PX, SIDE_PX))
    flow = ImageChops.add(down, down.rotate(90), scale=2)
    card = Image.composite(Image.new("RGB", flow.size, second), Image.new("RGB", flow.size, first), flow)
    light = Image.new("L", card.size)
    pen = ImageDraw.Draw(light)
    pen.circle((SIDE_PX * 0.9, SIDE_PX * 0.08), SIDE_PX * 0.32, 18)
    pen.circle((SIDE_PX * 0.06, SIDE_PX * 0.95), SIDE_PX * 0.24, 14)
    card.paste(WHITE, mask=light)
    return card

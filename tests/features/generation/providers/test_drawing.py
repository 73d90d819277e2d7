"""Pictures drawn here: decoded again, and read as a phone would."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from itertools import pairwise

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.features.generation.providers.drawing import NotDrawable, card, qr


def picture(body: bytes) -> Image.Image:
    with Image.open(BytesIO(body)) as opened:
        assert opened.format == "PNG"
        opened.load()
        return opened


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/?a=1&b=2",
        "Привет, мир!",
        "é",
        "HELLO 123",
        "0123456789",
        "日本語 👋🏽",
        "two\nlines",
        " spaces ",
        "a" * qr.BYTES_MAX,
        "ы" * (qr.BYTES_MAX // 2),
    ],
)
def test_a_qr_code_is_read_as_it_was_written(text: str) -> None:
    drawn = picture(qr.drawn(text))
    found = zxingcpp.read_barcode(drawn)
    assert found is not None
    assert found.text == text
    assert 700 <= drawn.width == drawn.height <= 1280, "what Telegram shows without making it smaller"


def test_a_qr_code_has_its_quiet_zone() -> None:
    drawn = picture(qr.drawn("https://example.org")).convert("L")
    dark = drawn.point(lambda level: 255 - level).getbbox()
    module = drawn.width // 33  # version 2 has 25 modules, and 4 on either side
    assert dark == (4 * module, 4 * module, drawn.width - 4 * module, drawn.height - 4 * module)


@pytest.mark.parametrize(("text", "size"), [("a" * 1274, 1274), ("ы" * 637, 1274), ("a" * 4_000, 4_000)])
def test_a_qr_code_has_a_limit_and_names_it(text: str, size: int) -> None:
    with pytest.raises(NotDrawable, match=f"^a QR code holds 1273 bytes, and this has {size}$") as caught:
        qr.drawn(text)
    assert caught.value.code == "too_long"


def test_a_qr_code_of_nothing_is_none() -> None:
    with pytest.raises(NotDrawable) as caught:
        qr.drawn("  ")
    assert caught.value.code == "nothing_to_draw"


@pytest.mark.parametrize("text", ["Hello", "С днём рождения, Маша!", "Ωμέγα", "x" * 400, "Щ" * 400, "я " * 200])
def test_a_card_is_a_square_with_room_around_the_text(text: str) -> None:
    drawn = picture(card.drawn(text))
    assert (drawn.size, drawn.mode) == ((card.SIDE_PX, card.SIDE_PX), "RGB")
    white = drawn.convert("L").point(lambda level: 255 * (level > 250)).getbbox()
    assert white is not None
    left, top, right, bottom = white
    assert min(left, top, card.SIDE_PX - right, card.SIDE_PX - bottom) >= card.MARGIN_PX - 12
    assert abs((left + right) / 2 - card.SIDE_PX / 2) < 20
    assert abs((top + bottom) / 2 - card.SIDE_PX / 2) < 60


def test_the_same_text_is_the_same_card() -> None:
    assert card.drawn("Привет") == card.drawn("Привет") != card.drawn("Пока")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Привет 👋🏽 мир", "Привет мир"),
        ("❤️ family: 👨‍👩‍👧 flag: 🇷🇺", "❤ family: flag:"),
        ("1️⃣ first", "1 first"),
        ("漢字 and Ω", "□□ and Ω"),
        ("й", "й"),
        ("a\x00b\u200bc\u00add", "abcd"),
        ("  a \t b  \r\n\n\n\n c ", "a b\n\nc"),
        ("№ 5 — 100 ₽ … «да»", "№ 5 — 100 ₽ … «да»"),
    ],
)
def test_what_the_font_lacks_is_left_out_or_boxed(text: str, shown: str) -> None:
    assert card.legible(text) == shown


def test_the_font_has_the_letters_of_both_languages() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzабвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    assert card.legible(letters + letters.upper()) == letters + letters.upper()


@pytest.mark.parametrize("text", ["👋", "漢字", "\n\n", "🎂 🎂"])
def test_a_card_of_nothing_is_none(text: str) -> None:
    with pytest.raises(NotDrawable) as caught:
        card.drawn(text)
    assert caught.value.code == "nothing_to_draw"


@pytest.mark.parametrize("text", ["x\n" * 60, "слово " * 500])
def test_a_card_has_a_limit_and_names_it(text: str) -> None:
    with pytest.raises(NotDrawable, match="a card holds 20 lines of small letters, and this text needs ") as caught:
        card.drawn(text)
    assert caught.value.code == "too_long"


def test_no_word_is_left_alone() -> None:
    font, lines = card._laid_out("Это карточка с текстом, который переносится по словам")
    widths = [font.getlength(line) for line in lines]
    assert len(lines) > 2
    assert min(widths) > max(widths) / 3
    assert not [pair for pair in pairwise(lines) if pair[1].startswith(" ")]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_drawn_or_refused(text: str) -> None:
    for draw in (card.drawn, qr.drawn):
        with suppress(NotDrawable):
            assert draw(text).startswith(b"\x89PNG")

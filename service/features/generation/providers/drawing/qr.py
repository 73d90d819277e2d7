"""QR codes. It knows how much of one a phone still reads; it knows nothing of what the text is for.

https://www.qrcode.com/en/about/standards.html (ISO/IEC 18004), https://segno.readthedocs.io/
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import segno

from service.features.generation.providers.drawing import NotDrawable

# The standard goes to 40; what has more than 117 modules a side is hard to read from a screen that is held in a hand.
VERSION_MAX = 25
BYTES_MAX = 1273  # what version 25 holds with the least correction
QUIET_ZONE = 4  # modules of margin, as the standard asks for
SIDE_PX = 1000  # at least about that, so that Telegram's compression leaves the modules alone


def drawn(text: str) -> bytes:
    """A PNG, black on white. Raises NotDrawable where there is too much text, naming the limit."""
    code = _made(text)
    modules = code.symbol_size(border=QUIET_ZONE)[0]
    picture = BytesIO()
    code.save(picture, kind="png", scale=max(1, round(SIDE_PX / modules)), border=QUIET_ZONE)
    return picture.getvalue()


def _made(text: str) -> segno.QRCode:
    """With middling correction if it fits, else with the least."""
    if not text.strip():
        raise NotDrawable("nothing_to_draw", "a QR code needs a text")
    encoding = None if text.isascii() else "utf-8"  # the bytes that phones take for text, without a prefix
    for error in ("m", "l"):
        with suppress(segno.DataOverflowError):
            code = segno.make_qr(text, error=error, encoding=encoding)
            if int(code.version) <= VERSION_MAX:
                return code
    raise NotDrawable("too_long", f"a QR code holds {BYTES_MAX} bytes, and this has {len(text.encode())}")

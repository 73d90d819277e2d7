"""Small PNGs that are different for different prompts. It knows the format, and nothing of who asks.

https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from math import hypot, sin

SIDE_PX = 256
HILLS = 3  # one before the other
SUN_PX = 26


def png(prompt: str) -> bytes:
    """The sun over hills, in two colours of the prompt's own that flow into each other."""
    seed = hashlib.sha256(prompt.encode()).digest()
    rows = bytearray()
    ridges = [[_ridge(seed, hill, x) for hill in range(HILLS)] for x in range(SIDE_PX)]
    for y in range(SIDE_PX):
        rows.append(0)  # the filter: none
        for x in range(SIDE_PX):
            rows += _pixel(seed, x, y, sum(y > ridge for ridge in ridges[x]))
    header = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _ridge(seed: bytes, hill: int, x: int) -> float:
    """How far below the upper edge a hill begins."""
    steep, shift = 24 + seed[hill + 6] % 16, seed[hill + 9]
    return SIDE_PX * (0.55 + 0.15 * hill) + steep * sin((x + shift) / (44 - 8 * hill))


def _pixel(seed: bytes, x: int, y: int, hills: int) -> bytes:
    """The nearer the hill, the darker; behind all of them are the sky and the sun."""
    sun_x, sun_y = 60 + seed[12] % 136, 50 + seed[13] % 40
    light = 255 if not hills and hypot(x - sun_x, y - sun_y) < SUN_PX else 90 if not hills else 0
    dark = 1 - 0.24 * hills
    share = (x + y) // 2
    flowing = ((seed[place] * (255 - share) + seed[place + 3] * share) / 255 for place in range(3))
    return bytes(int((colour * (255 - light) / 255 + light) * dark) for colour in flowing)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

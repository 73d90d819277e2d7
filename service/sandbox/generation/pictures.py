"""Small PNGs that are different for different prompts. It knows the format, and nothing of who asks.

https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import hashlib
import struct
import zlib

SIDE_PX = 256


def png(prompt: str) -> bytes:
    """Two colours of the prompt's own that flow into each other."""
    seed = hashlib.sha256(prompt.encode()).digest()
    rows = b"".join(b"\0" + b"".join(_pixel(seed, x, y) for x in range(SIDE_PX)) for y in range(SIDE_PX))
    header = struct.pack(">IIBBBBB", SIDE_PX, SIDE_PX, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _pixel(seed: bytes, x: int, y: int) -> bytes:
    share = (x + y) // 2
    return bytes((seed[place] * (255 - share) + seed[place + 3] * share) // 255 for place in range(3))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

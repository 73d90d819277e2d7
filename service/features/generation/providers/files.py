"""Files that a provider made: fetched from where it left them, and known by what is in them.

It knows media types and addresses; it knows no provider. No error has an address in it.
"""

from __future__ import annotations

import binascii
import mimetypes
import re
from base64 import b64decode

import aiohttp
from yarl import URL

from service.features.generation.providers.api import CONNECT_TIMEOUT_S, bounded, lost
from service.features.generation.providers.provider import File, ProviderFailed

FILE_MAX = 32 * 1024 * 1024  # bytes; Telegram takes 10 MB as a photo, and 50 MB as anything
FETCH_TIMEOUT_S = 60.0
REDIRECTS_MAX = 3
UNKNOWN = "application/octet-stream"

# How the files begin that we tell apart. https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern
_BEGINNINGS = (
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF....WEBP", "image/webp"),
    (rb"RIFF....WAVE", "audio/wav"),
    (rb"....ftyp", "video/mp4"),
    (rb"OggS\x00", "audio/ogg"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", "audio/mpeg"),
    (rb"%PDF-", "application/pdf"),
)
_MEDIA_TYPE = re.compile(r"(audio|image|video|text|model|application)/[a-z0-9.+-]{1,64}")
_DATA = re.compile(r"data:(?P<type>[^;,]*)(;[^;,]*)*;base64,")
_ENDINGS = {"image/webp": ".webp", "audio/wav": ".wav", "audio/ogg": ".ogg"}


def is_address(text: str) -> bool:
    return text.startswith(("https://", "http://", "data:"))


async def fetched(session: aiohttp.ClientSession, address: str, name: str) -> File:
    """What is at an address of http, https or data (RFC 2397). No key of ours goes there. Raises ProviderFailed."""
    if data := _DATA.match(address):
        return made(decoded(address[data.end() :]), name, told=data["type"])
    if not address.startswith(("https://", "http://")):
        raise ProviderFailed("unreadable", "the file is at no address of http", permanent=True)
    limits = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
    try:
        async with session.get(URL(address), timeout=limits, max_redirects=REDIRECTS_MAX) as response:
            _must_be_there(response.status)
            return made(await bounded(response, FILE_MAX), name, told=response.content_type)
    except ValueError:  # aiohttp's InvalidURL is one, and yarl's
        failure = ProviderFailed("unreadable", "the file is at no address of http", permanent=True)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = lost("the file", error)
    raise failure  # here: what aiohttp says has the address


def decoded(text: str) -> bytes:
    """Of base64. Raises ProviderFailed."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProviderFailed("unreadable", "the file is no base64", permanent=False) from None


def made(body: bytes, name: str, *, told: str = "") -> File:
    """The file, by what is in it, or else by what is told of it. Raises ProviderFailed where there is nothing."""
    if not body:
        raise ProviderFailed("empty", "the file is empty", permanent=False)
    told = told.lower() if _MEDIA_TYPE.fullmatch(told.lower()) else UNKNOWN
    media_type = next((found for begins, found in _BEGINNINGS if re.match(begins, body[:16], re.DOTALL)), told)
    return File(name + (_ENDINGS.get(media_type) or mimetypes.guess_extension(media_type) or ".bin"), media_type, body)


def _must_be_there(status: int) -> None:
    if status >= 400:
        gone = status < 500 and status not in (408, 425, 429)
        raise ProviderFailed("lost" if gone else "broken", f"the file: {status}", permanent=gone)

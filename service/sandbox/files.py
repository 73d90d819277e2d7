"""Files that came with calls: kept, told apart by what they were sent as, and refused as Telegram refuses them.

It must not know chats or methods. https://core.telegram.org/bots/api#sending-files
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from service.sandbox.calls import Arguments, Json, Upload, bad_request

KEPT_BYTES = 64 * 1024 * 1024
MAX_PHOTO_BYTES = 10 * 1024 * 1024
MAX_PHOTO_SIDES = 10_000  # pixels, width and height together
MAX_PHOTO_RATIO = 20
PICTURES = {
    b"\x89PNG\r\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


class Files:
    """Uploads by file_id, in memory; the oldest make room for the newest."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, Upload]] = OrderedDict()

    def get(self, file_id: str) -> Upload | None:
        kept = self._kept.get(file_id)
        return kept[1] if kept else None

    def of(self, args: Arguments, kind: str) -> tuple[str, Upload]:
        """The file of a call, sent now or known by its id, as a `kind`. Raises Refusal."""
        if upload := args.upload(kind):
            if not upload.data:
                raise bad_request("file must be non-empty")
            return self._keep(kind, upload), upload
        file_id = args.string(kind)
        if not file_id:
            raise bad_request(f"there is no {kind} in the request")
        if file_id.startswith(("http://", "https://")):  # the emulator fetches nothing from elsewhere
            raise bad_request("failed to get HTTP URL content")
        if file_id not in self._kept:
            raise bad_request("wrong file identifier/HTTP URL specified")
        known, upload = self._kept[file_id]
        if known != kind:
            raise bad_request(f"can't use file of type {known.capitalize()} as {kind.capitalize()}")
        return file_id, upload

    def _keep(self, kind: str, upload: Upload) -> str:
        file_id = secrets.token_urlsafe(24)
        self._kept[file_id] = kind, upload
        while sum(len(one.data) for _, one in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return file_id


def picture_type(data: bytes) -> str | None:
    """The media type of a picture that a client can show, by its first bytes."""
    return next((kind for start, kind in PICTURES.items() if data.startswith(start)), None)


def photo_size(file_id: str, upload: Upload) -> Json:
    """The PhotoSize object of the Bot API. Raises Refusal for what Telegram does not take as a photo."""
    if picture_type(upload.data) is None:
        raise bad_request("IMAGE_PROCESS_FAILED")
    if len(upload.data) > MAX_PHOTO_BYTES:
        raise bad_request("file is too big for a photo")
    width, height = _dimensions(upload.data)
    if width + height > MAX_PHOTO_SIDES or max(width, height) > MAX_PHOTO_RATIO * min(width, height):
        raise bad_request("PHOTO_INVALID_DIMENSIONS")
    return {**_facts(file_id, upload), "width": width, "height": height}


def document(file_id: str, upload: Upload) -> Json:
    """The Document object of the Bot API."""
    return {**_facts(file_id, upload), "file_name": upload.name, "mime_type": upload.content_type}


def _facts(file_id: str, upload: Upload) -> Json:
    return {"file_id": file_id, "file_unique_id": file_id[:16], "file_size": len(upload.data)}


def _dimensions(data: bytes) -> tuple[int, int]:
    """Width and height in pixels where the header tells them at a fixed place (PNG, GIF), else zeros."""
    if data.startswith(b"\x89PNG"):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"GIF8"):
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return 0, 0

"""Pictures that need nobody: drawn on this machine, as PNG. It knows texts and pixels, and nothing of who asked.

Drawing keeps a processor busy for some hundredths of a second: it belongs into a thread.
"""

from __future__ import annotations


class NotDrawable(ValueError):
    """The text cannot be drawn: `code` is a word for it, the message names the limit."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

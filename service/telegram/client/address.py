"""Where the chat with the bot is, for a link that leads there.

It knows the addresses of Telegram and of the sandbox; it knows nothing of who links, and why.
https://core.telegram.org/api/links#bot-links
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from service.config import Config

TELEGRAM = "https://t.me"


def chat_of(config: Config, username: str | None) -> str:
    """The sandbox's page where the sandbox is our Telegram: then we serve it ourselves, and nobody else would."""
    if config.public_url and config.telegram_api_base.startswith(f"{config.public_url}/"):
        return config.telegram_api_base
    return f"{TELEGRAM}/{username}" if username else TELEGRAM


def start_of(chat: str, payload: str) -> str:
    """A link by which a person starts the bot with `/start payload`."""
    return f"{chat}?{urlencode({'start': payload})}"


def share_of(url: str, text: str) -> str:
    """A link by which a person sends another one, with a text, to whom he likes."""
    return f"{TELEGRAM}/share/url?{urlencode({'url': url, 'text': text}, quote_via=quote)}"

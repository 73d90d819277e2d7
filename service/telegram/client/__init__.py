"""The way out to Telegram: the Bot API's methods, and telling it where to deliver.

It knows the Bot API; it knows nothing of updates, routes or people.
"""

from service.telegram.client.bot import BotApi, InputFile

__all__ = ["BotApi", "InputFile"]

"""Ballast: the data service under a Telegram bot that sells things."""

__version__ = "0.1.0"

"""Ballast: the data service under a Telegram bot that sells things. Which room may see which: docs/architecture.md."""

__version__ = "0.1.0"

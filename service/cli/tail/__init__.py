"""`python -m service tail`: what happens, as it happens, in a terminal. It reads the database, and asks no process."""

from service.cli.tail.command import add_parser

__all__ = ["add_parser"]

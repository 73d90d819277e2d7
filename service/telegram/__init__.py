"""The bot's door: updates in, method calls out. It knows Telegram; it knows no feature and no money."""

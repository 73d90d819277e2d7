"""The ground that every room stands on. It knows no Telegram, no money, no HTTP and no feature."""

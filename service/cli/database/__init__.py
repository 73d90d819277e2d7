"""Commands about the database itself: its health, its figures, its plans. They know no feature's tables by name."""

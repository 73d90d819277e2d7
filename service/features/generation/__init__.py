"""Generation: what the bot makes, in a queue that survives whatever happens to the processes that work on it."""

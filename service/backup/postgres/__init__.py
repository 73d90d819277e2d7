"""PostgreSQL's own programs, and a server to be thrown away. They know nothing of what a backup is made of."""

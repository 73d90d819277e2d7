"""Payment processors: one file each, with the same few functions. None of them touches a table."""

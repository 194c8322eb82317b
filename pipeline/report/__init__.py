"""Whether generated tables are any good: figures with their floors, a verdict in words, one page to look at."""

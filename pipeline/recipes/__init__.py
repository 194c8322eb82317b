"""The recipes that are shipped, and how recipe files are read."""

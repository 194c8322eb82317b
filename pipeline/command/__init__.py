"""The program `python -m pipeline`, and what the three programs share."""

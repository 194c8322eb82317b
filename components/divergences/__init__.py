"""The divergences F of model from data that a JKO step lowers, one a file."""

"""The one file of code that is copied into every registered version."""

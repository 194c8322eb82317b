"""Schemas before people: shown by a command, corrected in YAML."""

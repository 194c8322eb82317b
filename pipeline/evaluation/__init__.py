"""Judging a flow: metrics of published maps and their floors, networks that see images, pictures."""

"""Versions of a generator: what one holds, where they are kept, and how one comes into use."""

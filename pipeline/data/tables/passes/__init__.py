"""A table in two passes over it, batch by batch, with bounded memory: what its columns are, then its rows as coordinates."""

"""A package, not a bare folder: torch-fidelity installs a top-level package `tests`, which would be imported instead."""

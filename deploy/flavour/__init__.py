"""The file that travels with every version."""

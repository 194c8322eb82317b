"""Points that a person gives: files of them, which of their columns are coordinates, and which lie far outside the source."""

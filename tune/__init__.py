"""Search over the fields of a recipe: python -m tune."""

"""What a person sees of a search: the trials as they go, tables of what was found, pictures."""

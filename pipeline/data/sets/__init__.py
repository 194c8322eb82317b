"""The image sets that recipes can name, one file for each or for a few of one kind."""

"""Data that a person gives: rows of numbers, and what each row is conditioned on."""

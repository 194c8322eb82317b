"""Tables as text: how cells are divided, and numbers as people write them."""

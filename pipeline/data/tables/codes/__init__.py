"""What a column is made of: types of Arrow, whole units, grids, and marginals as standard normal coordinates."""

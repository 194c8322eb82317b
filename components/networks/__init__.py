"""The networks: transport maps T(x, z) and the potentials that suit them, as pairs that a recipe names."""

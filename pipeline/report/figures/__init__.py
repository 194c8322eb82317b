"""What is measured of generated rows beside real ones; each figure also of real rows in their place, which is its floor."""

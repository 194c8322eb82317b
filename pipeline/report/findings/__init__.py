"""What the figures mean: findings, each a sentence, and the verdict that they lead to."""

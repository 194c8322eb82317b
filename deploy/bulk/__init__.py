"""Long jobs of many rows, through Ray Data: parts that are pure functions of what they say they hold, written once."""

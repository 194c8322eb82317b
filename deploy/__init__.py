"""From a trained flow to a generator that others use: registry, promotion, export."""

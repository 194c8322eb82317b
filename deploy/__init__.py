"""From a trained flow to a generator that others use: registry, promotion, service, samples, export."""

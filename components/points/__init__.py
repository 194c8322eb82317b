"""Phases whose potential lives on points: the dual between samples, and the regression of the map on it."""

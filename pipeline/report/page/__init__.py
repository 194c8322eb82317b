"""The page of a report: pictures as SVG, one HTML file that needs nothing beside it."""

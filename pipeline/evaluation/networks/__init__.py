"""Networks that describe images for metrics, and how the small ones were trained."""

"""Every figure that the README quotes: `python -m benchmarks.NAME [--json FILE] [--quick] [--only FIELD=VALUE]`."""

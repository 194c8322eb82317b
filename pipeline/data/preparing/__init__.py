"""Preparing images: how sets are found and divided, and how they are written as Parquet shards."""

"""Identify pictures by their bytes, and read sizes as people write them."""

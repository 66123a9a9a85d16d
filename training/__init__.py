"""Data and recipe in, published checkpoint out. Knows nothing of any user interface."""

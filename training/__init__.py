"""Data and recipe in, published checkpoint out. Independent of any user interface."""

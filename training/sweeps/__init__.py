"""Recipes x seeds x test sets: one table."""

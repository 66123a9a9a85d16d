"""Attacks at random on everything that comes in, with a seed: `python -m tests.campaign`."""

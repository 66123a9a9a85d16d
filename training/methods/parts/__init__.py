"""Pieces that more than one paper uses, each of them a page that can be read alone."""

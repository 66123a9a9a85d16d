"""Data sets, methods, training, evaluation and publishing. Independent of any user interface."""

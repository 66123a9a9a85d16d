"""From a recipe to a checkpoint: the training loop, its initialisation, and its outputs."""

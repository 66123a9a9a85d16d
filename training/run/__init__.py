"""From a recipe to a checkpoint: the loop, what it starts from, and what it writes."""

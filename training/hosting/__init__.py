"""From a checkpoint to the Hub: cards, repositories, Spaces, and the checkpoints of this project."""

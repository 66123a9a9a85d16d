"""Publishing on the Hub: cards, repositories, Spaces, and this project's checkpoints."""

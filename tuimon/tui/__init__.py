"""Floor 4: the screen."""

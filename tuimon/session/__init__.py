"""Floor 3: the state of one followed run, without a screen."""

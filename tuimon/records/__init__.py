"""Floor 0: the frozen records that cross every border. Standard library only."""

"""What watching costs, and how often to look."""

"""Floor 1: bytes to records and back."""

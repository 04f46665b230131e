"""Losses, labels and passes of validation, seen without help."""

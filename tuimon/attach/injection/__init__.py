"""Entering a training that has never heard of tuimon."""

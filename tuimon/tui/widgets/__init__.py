"""Panels: each asks a pure function for its lines and repaints what changed."""

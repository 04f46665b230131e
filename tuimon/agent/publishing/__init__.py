"""Telling viewers: the bounded past, the socket, one connection a viewer, and the one thread."""

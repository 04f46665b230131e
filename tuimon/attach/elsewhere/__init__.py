"""Trainings of another machine or container, through the standard input and output of a command."""

"""Whose training this is: models found from its own calls and steps, their parameters and names."""

"""Benchmarks: each shows the product beside its peers in one run."""

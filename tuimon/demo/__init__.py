"""Floor 4, run in a child process of `tuimon demo`: a small real training, healthy or sick.

`train.py` is written to be read: it is the example of how a training script uses tuimon.
"""

"""What every program of this folder needs to be a test: when to stop, and its own account of what it did.

A program runs until its standard input closes, or for the number of steps given as its first argument. It
prints one JSON object a step, with what it knows itself, and last a digest of all that it leaves.
"""

import hashlib
import json
import random
import select
import sys

import torch


def seed(number):
    """Make all that follows the same every time, on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(number)
    random.seed(number)


def steps(pause_s=0.01):
    """Numbers of steps from 1 on. While somebody may attach, steps are far enough apart to be followed."""
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else None
    step = 0
    while step != limit:
        if limit is None and select.select([sys.stdin], [], [], pause_s)[0]:
            return
        step += 1
        yield step


def say(**truth):
    """Print what this step was, from the training's own variables."""
    print(json.dumps(truth), flush=True)


def norm(parameters):
    """The norm of all gradients in float64; None where there are none."""
    squares = [float(p.grad.detach().double().square().sum()) for p in parameters if p.grad is not None]
    return sum(squares) ** 0.5 if squares else None


def norm_of_softmax_gradient(scores, labels):
    """The norm of a mean cross entropy's gradient at the scores, by its formula."""
    chances = scores.detach().double().softmax(1)
    chances[torch.arange(len(labels)), labels] -= 1.0
    return float(chances.norm()) / len(labels)


def leave(*left):
    """Print a digest of these modules and optimizers, and of the generators of random numbers."""
    digests = [_hash(part.state_dict()) for part in left]
    generators = torch.get_rng_state().tolist(), random.getstate()
    say(digest=[*digests, _hash(generators)])


def _hash(state):
    digest = hashlib.sha256()
    _feed(digest, state)
    return digest.hexdigest()


def _feed(digest, state):
    if isinstance(state, torch.Tensor):
        local = state.to_local() if hasattr(state, "to_local") else state
        local = local.detach().cpu().contiguous().flatten()
        digest.update(local.view(torch.uint8).numpy().tobytes())
    elif isinstance(state, dict):
        for key, value in state.items():
            digest.update(str(key).encode())
            _feed(digest, value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            _feed(digest, value)
    else:
        digest.update(repr(state).encode())

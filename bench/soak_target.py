"""A training that has never heard of tuimon: ``python soak_target.py KIND LOG [--steps N] [--fast]``.

Each step appends its time (monotonic seconds) and its loss to LOG, two doubles. It ends when its standard
input closes, or after N steps. With ``--fast`` it leaves out what only takes time; the losses are the same.
SIGUSR2 has it collect its garbage, so that its memory can be compared.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

#: What the main thread is busy with while it is entered.
KINDS = ("busy", "malloc", "long_op", "data_wait", "sleeping")
RECORD = struct.Struct("<dd")
WIDTH, BATCH = 64, 32


class Slow(IterableDataset[torch.Tensor]):
    """Batches without end, of which each takes a while; the same ones whoever makes them."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker = torch.utils.data.get_worker_info()
        start, by = (0, 1) if worker is None else (worker.id, worker.num_workers)
        generator = torch.Generator()
        while True:
            time.sleep(self.wait_s)
            yield torch.randn(BATCH, WIDTH, generator=generator.manual_seed(start))
            start += by


def hammer(ended: threading.Event) -> None:
    """Allocate and free in libc, outside of the interpreter's lock for most of it."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    while not ended.is_set():
        blocks = [libc.malloc(64 << i % 12) for i in range(50)]
        for block in blocks:
            libc.free(block)
        ended.wait(0.002)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("log")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--fast", action="store_true")
    asked = parser.parse_args()
    ended = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: gc.collect())
    if asked.steps is None:
        threading.Thread(target=_until_closed, args=(ended,), daemon=True).start()
    if asked.kind == "malloc" and not asked.fast:
        for _ in range(2):
            threading.Thread(target=hammer, args=(ended,), daemon=True).start()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Anonymous, so that nothing but the training itself knows of the model.
    train(asked.kind, asked.log, asked.steps, asked.fast, ended)


def _until_closed(ended: threading.Event) -> None:
    # Not sys.stdin.read: a forked worker closes sys.stdin, and would wait for its lock for ever.
    while os.read(0, 4096):
        pass
    ended.set()


def train(kind: str, log: str, steps: int | None, fast: bool, ended: threading.Event) -> None:
    layers = [nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Dropout(0.1), nn.Linear(WIDTH, WIDTH)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    workers = 2 if kind == "data_wait" and not fast else 0
    batches = iter(DataLoader(Slow(0.02 if workers else 0.0), batch_size=None, num_workers=workers))
    big = torch.ones(1500, 1500)
    done = 0
    with open(log, "wb", buffering=0) as file:
        print("training", flush=True)
        while not ended.is_set() and done != steps:
            batch = next(batches)
            if kind == "malloc":
                json.loads(json.dumps([[i, str(i), {}] for i in range(2000)]))
            if not fast and kind == "long_op":
                torch.mm(big, big)
            if not fast and kind == "sleeping":
                time.sleep(0.1)
            loss = (model(batch) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            file.write(RECORD.pack(time.perf_counter(), loss.item()))
            done += 1


if __name__ == "__main__":
    main()

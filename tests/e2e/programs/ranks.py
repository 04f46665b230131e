"""Two ranks on gloo: `torchrun --nproc-per-node 2 ranks.py`, or `ranks.py spawn` without torchrun.

With `ranks.py until FILE` they train until there is that file, and rank 0 says first who launched them.

Each rank loads its data with a worker. At last rank 0 prints who was there: the launcher, the ranks, the
workers, and the processes whose sockets stand in the socket directory.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Pids(Dataset):
    """Samples that say which process has loaded them."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        assert get_worker_info() is not None
        return torch.randn(16), os.getpid()


def train(rank, store, launcher, until=None):
    """One rank."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    if until is not None:
        train_until(until, model, optimizer, launcher if rank == 0 else None)
    workers = set()
    for inputs, pids in DataLoader(Pids(), batch_size=2, num_workers=1):
        workers.update(pids.tolist())
        optimizer.zero_grad()
        model(inputs).pow(2).mean().backward()
        optimizer.step()
    everyone = [None, None]
    distributed.all_gather_object(everyone, (os.getpid(), sorted(workers)))
    if rank == 0:
        sockets = Path(os.environ["XDG_RUNTIME_DIR"], "tuimon").glob("*.sock")
        print("ranks", *(pid for pid, _ in everyone))
        print("others", launcher, *(pid for _, of_one in everyone for pid in of_one))
        print("listening", *sorted(int(path.name.partition("-")[0]) for path in sockets), flush=True)
    # So that no socket is gone before it was counted.
    distributed.barrier()
    distributed.destroy_process_group()


def train_until(file, model, optimizer, launcher):
    """Ends at the same step in each rank."""
    enough = torch.zeros(())
    while not enough:
        optimizer.zero_grad()
        model(torch.randn(2, 16)).pow(2).mean().backward()
        optimizer.step()
        if launcher is not None:
            print("launched by", launcher, flush=True)
            launcher = None
        enough += os.path.exists(file)
        distributed.all_reduce(enough, op=distributed.ReduceOp.MAX)
        time.sleep(0.01)


if __name__ == "__main__":
    if sys.argv[1:] == ["spawn"]:
        with tempfile.TemporaryDirectory() as folder:
            multiprocessing.spawn(train, (f"file://{folder}/store", os.getpid()), nprocs=2)
    else:
        until = sys.argv[2] if sys.argv[1:] else None
        train(int(os.environ["RANK"]), "env://", os.getppid(), until)

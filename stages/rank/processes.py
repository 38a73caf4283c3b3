"""Several processes that train one network together, one on each GPU: what torchrun does, from within the fit.

The processes go through the same steps: each takes its share of a step's users, and the gradients are added up. A step has as
many users as with one process, `[rank] batch`, so the number of processes changes what is learned by rounding, and by
which outputs dropout leaves out.
"""

from __future__ import annotations

import copy
import os
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import distributed, nn

from features.lookup import Array
from stages.rank import learn
from stages.rank.inputs import CandidateLists, Labels
from stages.rank.learn import Process, Training

Data = list[tuple[CandidateLists, Labels]]


def train(net: nn.Module, data: Data, how: Training, processes: int = 1) -> None:
    """As `learn.train`, in so many processes.

    Raises:
        ValueError: there are fewer GPUs than processes.
    """
    if processes == 1:
        learn.train(net, data, how)
        return
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise ValueError(
            f"[rank] processes = {processes}: there are {torch.cuda.device_count()} GPUs; give at most that."
        )
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id=uuid.uuid4().hex, max_restarts=0,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", monitor_interval=0.2,
    )  # fmt: skip
    threads = max(1, torch.get_num_threads() // processes)
    with TemporaryDirectory(prefix="narrows-rank-") as folder:
        _write(data, Path(folder))
        weights = elastic_launch(config, _worker)(net.cpu(), folder, len(data), how, threads)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in weights[0].items()})


def _worker(net: nn.Module, folder: str, windows: int, how: Training, threads: int) -> dict[str, Array]:
    """One of the processes; the launcher says by the environment which."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    net = copy.deepcopy(net)  # its weights came in memory that the processes share
    try:
        process = Process(distributed.get_rank(), distributed.get_world_size())
        learn.train(net, _read(Path(folder), windows), how, process, threads=threads)
        return {name: value.cpu().numpy() for name, value in net.state_dict().items()} if not process.number else {}
    finally:
        distributed.destroy_process_group()


def _write(data: Data, folder: Path) -> None:
    """Plain arrays in files, which all processes map: one copy in memory."""
    for k, parts in enumerate(data):
        for kind, part in zip(("lists", "labels"), parts, strict=True):
            for name, array in vars(part).items():
                np.save(folder / f"{k}.{kind}.{name}.npy", array)


def _read(folder: Path, windows: int) -> Data:
    """What `_write` wrote; what a process changes of it, it changes for itself."""

    def arrays(prefix: str) -> dict[str, Array]:
        files = folder.glob(f"{prefix}.*.npy")
        return {file.name.split(".")[2]: np.load(file, mmap_mode="c", allow_pickle=False) for file in files}

    return [(CandidateLists(**arrays(f"{k}.lists")), Labels(**arrays(f"{k}.labels"))) for k in range(windows)]

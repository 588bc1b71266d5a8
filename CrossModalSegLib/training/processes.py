"""Training in several processes: ``torchrun --nproc-per-node=N -m CrossModalSegLib.cli train ...``, on one node or,
with ``--nnodes`` and a rendezvous, on several that see the same folders.

Each process draws samples of its own, gradients are averaged over all, and the first one alone validates and writes.
Where one fails, torchrun ends the others of its node; those of other nodes lose their connection and end as well.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from CrossModalSegLib.errors import ConfigError, TrainingError

Value = TypeVar("Value")
_LOST = re.compile(r"connection (closed|reset|refused)|timed out|broken pipe|gloo|nccl", re.IGNORECASE)
PATIENCE = timedelta(hours=2)  # the others wait while the first validates and writes


@dataclass(frozen=True)
class Processes:
    """Which one this is of how many. Without torchrun it is the only one, and nothing here does anything."""

    rank: int = 0
    world: int = 1

    def number(self, step: int) -> int:
        """The number of this process's part of a step among those of all steps and processes: each draws its own."""
        return step * self.world + self.rank

    @property
    def writes(self) -> bool:
        """Whether it is the one that validates, writes and reports."""
        return self.rank == 0

    def together(self, objective: nn.Module, device: torch.device) -> nn.Module:
        """The objective with gradients averaged over all processes; a modality may be absent in some of them."""
        if self.world == 1:
            return objective
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(objective, device_ids=devices, find_unused_parameters=True)

    def mean(self, value: float, device: torch.device) -> float:
        """The mean over all processes; NaN of one is NaN for all, so that all stop together."""
        if self.world == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return float(total) / self.world

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether it is true for at least one process, so that all end together."""
        return value if self.world == 1 else self.mean(float(value), device) > 0

    def from_first(self, value: Value) -> Value:
        """What the first process gives here; the others wait for it."""
        box = [value]
        if self.world > 1:
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def require_same(self, what: str, value: float, device: torch.device) -> None:
        """Raises TrainingError ``processes-differ`` in all of them unless all have the same value."""
        differs = self.mean(value, device) != value
        if self.any(differs, device):
            message = f"{what} is {value:g} in process {self.rank}, and another one elsewhere"
            hint = "all nodes need the same folders: put --output, or the site, on a disk that they share"
            raise TrainingError("processes-differ", message, hint)

    def wait(self) -> None:
        """Go on when all have come to this line."""
        if self.world > 1:
            distributed.barrier()


ALONE = Processes()


@contextmanager
def processes_of_torchrun(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """The processes that torchrun started and this one's device: its own GPU where ``device`` is one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE, device
        return
    world, _, local_rank = (_number_of_torchrun(name) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), world), device
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        what = f"process {distributed.get_rank()} of {world} has lost the others: {' '.join(str(error).split())[:160]}"
        hint = "see what the node said whose processes ended first; then start all nodes again with --resume"
        raise TrainingError("process-lost", what, hint) from error
    finally:
        distributed.destroy_process_group()


def _number_of_torchrun(name: str) -> int:
    """What torchrun has set. Raises ConfigError ``not-torchrun`` where something else has set a part of it."""
    text = os.environ.get(name, "")
    if not text.isdecimal() or "MASTER_ADDR" not in os.environ:
        what = (
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, {name} is {text!r}, and not all is there that torchrun sets"
        )
        raise ConfigError("not-torchrun", what, "unset WORLD_SIZE, or start it with torchrun")
    return int(text)

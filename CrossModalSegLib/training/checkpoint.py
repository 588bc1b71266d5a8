"""The state of a training, and how it is saved so that going on gives the weights of a training that never stopped."""

import io
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.errors import TrainingError
from CrossModalSegLib.training.config import NetworkConfig, TrainingConfig
from CrossModalSegLib.training.teacher import Teacher

NAME = "checkpoint.pt"
HISTORY = 400
ENTRIES = {"config": dict, "network": dict, "average": dict, "optimiser": dict, "step": int, "curve": list}  # at least


@dataclass
class TrainingState:
    """All that a step changes. ``average`` are the weights that are published; ``curve`` has an entry per validation;
    ``history`` has up to ``HISTORY`` entries over the training: the last ``step``, and ``sums`` and ``counts`` of the
    loss and of its parts by name."""

    network: torch.nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    teacher: Teacher | None = None
    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def record(self, losses: dict[str, float], iterations: int) -> None:
        """Add the losses of the step that was just done to the history."""
        length = max(1, iterations // HISTORY)
        if not self.history or (self.step - 1) % length == 0:
            self.history.append({"step": self.step, "sums": {}, "counts": {}})
        entry = self.history[-1]
        entry["step"] = self.step
        for name, value in losses.items():
            entry["sums"][name] = entry["sums"].get(name, 0.0) + value
            entry["counts"][name] = entry["counts"].get(name, 0) + 1


def save_checkpoint(folder: Path, config: TrainingConfig, state: TrainingState) -> None:
    """Writes folder/checkpoint.pt: the old one or the new one, never a mixture."""
    buffer = io.BytesIO()
    content = {
        "config": asdict(config),
        "network": state.network.state_dict(),
        "average": state.average,
        "optimiser": state.optimiser.state_dict(),
        "teacher": state.teacher.network.state_dict() if state.teacher else None,
        "step": state.step,
        "curve": state.curve,
        "history": state.history,
    }
    torch.save(content, buffer)
    write_atomically(folder / NAME, buffer.getvalue())


def load_checkpoint(folder: Path, config: TrainingConfig, state: TrainingState) -> None:
    """Restores ``state`` in place; leaves it as it is where there is no checkpoint.

    Where the training had no teacher before, the teacher starts from the restored weights. Raises TrainingError
    ``checkpoint-differs`` (another network or number of classes) or ``checkpoint-unreadable``.
    """
    path = folder / NAME
    if not path.exists():
        return
    content = _read(path)
    options = asdict(config)["network"]
    of_checkpoint = asdict(NetworkConfig()) | content["config"]["network"]  # older ones lack newer options
    if of_checkpoint != options or _shapes(content["network"]) != _shapes(state.network.state_dict()):
        raise TrainingError(
            "checkpoint-differs",
            f"{path} was trained with another network or number of labels",
            "choose another output folder",
        )
    state.network.load_state_dict(content["network"])
    for name, value in content["average"].items():
        state.average[name].copy_(value)
    groups = state.optimiser.state_dict()["param_groups"]  # its options are those of the configuration
    state.optimiser.load_state_dict({"state": content["optimiser"]["state"], "param_groups": groups})
    if state.teacher:
        state.teacher.network.load_state_dict(content.get("teacher") or content["network"])
    state.step, state.curve, state.history = content["step"], content["curve"], content.get("history", [])


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The validation curve of the checkpoint in ``folder``: step, loss and Dice per class of each validation."""
    path = folder / NAME
    return _read(path)["curve"] if path.exists() else []


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums
        content: Any = {} if damaged else torch.load(path, weights_only=True, map_location="cpu")
    except (MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # torch raises anything where a file is damaged
        raise _unreadable(path, "is damaged or no checkpoint") from error
    if damaged:
        raise _unreadable(path, f"is damaged: the checksum of {damaged} is another one")
    wrong = _wrong_entries(content) if isinstance(content, dict) else list(ENTRIES)
    if wrong:
        raise _unreadable(path, f"is no checkpoint of a training: {', '.join(wrong)} missing or of another kind")
    return dict(content)


def _wrong_entries(content: dict[Any, Any]) -> list[str]:
    wrong = [name for name, kind in ENTRIES.items() if not isinstance(content.get(name), kind)]
    parts = {"config": "network", "optimiser": "state"}
    wrong += [f"{name}.{part}" for name, part in parts.items() if name not in wrong and part not in content[name]]
    for name in ("network", "average"):
        if name not in wrong and not all(isinstance(tensor, Tensor) for tensor in content[name].values()):
            wrong.append(name)
    if not wrong and _shapes(content["network"]) != _shapes(content["average"]):
        wrong.append("average")
    return wrong


def _unreadable(path: Path, what: str) -> TrainingError:
    hint = "restore it, or choose another output folder"
    return TrainingError("checkpoint-unreadable", f"{path} {what}", hint)


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}

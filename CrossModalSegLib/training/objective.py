"""What a training step minimises: L_sup on samples with labels; on those without, what the teacher and the other
modality say. One forward pass of the student serves all of it.

It is a module of its own around the network so that DistributedDataParallel sees one forward pass per step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from CrossModalSegLib.losses import ramp, supervised_loss
from CrossModalSegLib.network import CrossModalNetwork, Encoded
from CrossModalSegLib.synthesis.deformation import chance
from CrossModalSegLib.synthesis.samples import Sample, UnlabelledSample
from CrossModalSegLib.training import copy_paste
from CrossModalSegLib.training.cell_subset import CellSubset
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.consistency import anatomical_term, channel_term, pseudo_label_term
from CrossModalSegLib.training.copy_paste import StudentBatch
from CrossModalSegLib.training.processes import ALONE, Processes
from CrossModalSegLib.training.seeds import COPY_PASTE, seed_of
from CrossModalSegLib.training.teacher import Targets, autocast

Parts = dict[str, Tensor | None]


@dataclass(frozen=True)
class Task:
    """What the student is given; the first ``labelled`` samples are learnt from their labels, the others from
    ``targets``, which is None where there are no others."""

    batch: StudentBatch
    labelled: int
    targets: Targets | None

    @property
    def rest(self) -> slice:
        """The samples that are not learnt from labels alone."""
        return slice(self.labelled, None)


class Objective(nn.Module):
    """The loss of a step, and its parts by name as they are before weighting, in one of the ``processes``."""

    def __init__(self, network: CrossModalNetwork, config: TrainingConfig, processes: Processes = ALONE):
        super().__init__()
        self.network, self.config, self.processes = network, config, processes

    def forward(
        self, labelled: Sample, unlabelled: UnlabelledSample | None, targets: Targets | None, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``targets`` is what the teacher sees in ``unlabelled``, thinned out for this ``step``; both or neither is
        given."""
        subset = CellSubset.of_step(self.config.training, step)
        task = self._task(labelled, unlabelled, targets, subset, step)
        with autocast(labelled.volumes.device):
            encoded, logits = self._student(task.batch, subset)
        trust = self.config.semi_supervised.pseudo_label * self._ramp(step)
        parts: Parts = {}
        if task.labelled:
            parts["supervised"] = self._supervised(logits, labelled, subset)
        if task.targets is not None:
            parts |= self._consistency(task, encoded, logits, subset, trust)
        given = {name: part for name, part in parts.items() if part is not None}
        weights = self._weights(step, trust)
        return torch.stack([weights[name] * part for name, part in given.items()]).sum(), given

    def _task(
        self,
        labelled: Sample,
        unlabelled: UnlabelledSample | None,
        targets: Targets | None,
        subset: CellSubset,
        step: int,
    ) -> Task:
        """Labelled beside unlabelled samples or, now and then, each with a box of the other."""
        known = len(labelled.presence)
        if unlabelled is None or targets is None:
            return Task(copy_paste.side_by_side(labelled, None), known, None)
        seed = seed_of(self.config.training.seed, COPY_PASTE, self.processes.number(step))
        generator = torch.Generator().manual_seed(seed)
        if not (
            chance(self.config.semi_supervised.copy_paste, generator) and copy_paste.may_exchange(labelled, unlabelled)
        ):
            return Task(copy_paste.side_by_side(labelled, unlabelled), known, targets)
        box = copy_paste.random_box(tuple(labelled.position.shape[2:]), generator).to(labelled.position.device)
        mixed = copy_paste.exchange_targets(labelled, targets, box, subset, self.network.cell)
        return Task(copy_paste.exchange(labelled, unlabelled, box), 0, mixed)

    def _student(self, batch: StudentBatch, subset: CellSubset) -> tuple[Encoded, list[Tensor | None]]:
        """Deepest features, and logits (R, K, ...) per modality at the chosen feature cells."""
        encoded = self.network.encode(batch.volumes, batch.position, batch.presence)
        decoded = self.network.decode(encoded)  # (R, C0, d, h, w) each
        return encoded, [
            None if features is None else self.network.classify(features, m, subset.stride, subset.offsets)
            for m, features in enumerate(decoded)
        ]

    def _supervised(self, logits: list[Tensor | None], labelled: Sample, subset: CellSubset) -> Tensor | None:
        """L_sup, the mean over the modalities that the labelled samples have."""
        labels = subset.voxels(labelled.labels, self.network.cell)  # (B, M, ...)
        losses = []
        for modality, of_all in enumerate(logits):
            present = labelled.presence[:, modality]
            if of_all is not None and bool(present.any()):
                losses.append(supervised_loss(of_all[: len(present)][present], labels[present, modality]))
        return torch.stack(losses).mean()

    def _consistency(
        self, task: Task, encoded: Encoded, logits: list[Tensor | None], subset: CellSubset, trust: float
    ) -> Parts:
        """L_pseudo, L_CAC and L_CSC; those without weight or without anything to compare are left out."""
        options, batch, targets = self.config.semi_supervised, task.batch, task.targets
        assert targets is not None
        of_rest = [None if of_all is None else of_all[task.rest] for of_all in logits]
        shown, registered = batch.presence[task.rest], batch.registered[task.rest]
        covered = subset.voxels(batch.volumes[task.rest, :, 1], self.network.cell)  # (R, M, ...)
        parts: Parts = {}
        soft = options.pseudo_label_form == "soft"
        if task.labelled:
            parts["pseudo_label"] = (
                pseudo_label_term(of_rest, targets, shown, soft=soft) if options.pseudo_label else None
            )
        else:
            parts["copy_paste"] = pseudo_label_term(of_rest, targets, shown, trust, soft)
        if options.cac:
            parts["cac"] = anatomical_term(of_rest, targets, shown, registered, covered, options)
        if options.csc:
            parts["csc"] = channel_term(encoded.aware, batch.presence, batch.aligned & (options.csc_form == "aligned"))
        return parts

    def _weights(self, step: int, trust: float) -> dict[str, float]:
        options, rising = self.config.semi_supervised, self._ramp(step)
        return {
            "supervised": 1.0,
            "pseudo_label": trust,
            "copy_paste": 1.0,  # the teacher's part has its weight inside
            "csc": rising * options.csc,
            "cac": rising * options.cac,
        }

    def _ramp(self, step: int) -> float:
        options, iterations = self.config.semi_supervised, self.config.training.iterations
        return ramp(step - options.start * iterations, options.ramp * iterations, 1.0)

"""A hospital's part in a federation: what it says beforehand, its training in a round, its own gate's judgement.

Everything that it computes lies in SITE/federations/NAME, so that each step can be done by another process. Which
patients are held out is decided once, before the first round: no round learns from them.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.adaptation.candidate import PARENT, parent_scorer, score_candidate, score_cases
from CrossModalSegLib.adaptation.cases import Request, make_plan, planned_data
from CrossModalSegLib.adaptation.finetune import (
    aim_of,
    checked_cases,
    contradictions,
    doubts,
    protocol_differences,
    score_parent,
)
from CrossModalSegLib.adaptation.gate import Change, Remarks, compare, judge
from CrossModalSegLib.adaptation.label_mapping import same_structures
from CrossModalSegLib.adaptation.plan import Training, read_plan
from CrossModalSegLib.adaptation.run import Finetuning, Pace
from CrossModalSegLib.adaptation.scoring import paired
from CrossModalSegLib.adaptation.training import configuration, train_one
from CrossModalSegLib.adaptation.undrawn import settle_undrawn
from CrossModalSegLib.atomic import output_errors, write_atomically
from CrossModalSegLib.bundles.bundle import Bundle, load_bundle
from CrossModalSegLib.errors import CrossModalSegError, DataError, LabelError
from CrossModalSegLib.federation.config import FederationConfig
from CrossModalSegLib.inference.inference import choose_device
from CrossModalSegLib.protocol import Progress
from CrossModalSegLib.site.case_store import CaseStore
from CrossModalSegLib.site.learnt_cases import LEARNT_FROM, learnt_by_child
from CrossModalSegLib.site.models import adopt, next_name
from CrossModalSegLib.site.runs import PLAN_FILE
from CrossModalSegLib.training.trained_bundle import TrainedModel, publish_trained

FOLDER = "federations"  # of a site
IDENTITY_FILE = "federation.json"  # of what its content is
Weights = dict[str, np.ndarray]  # float32, by name
MINUTES = 60.0  # of a plan: nothing here follows from it


@dataclass(frozen=True)
class Facts:
    """What a hospital says before the first round. ``refused``: why it does not take part, if anything speaks against
    it; ``structures`` are the values of its label map by name."""

    parent: str
    structures: dict[str, int]
    modalities: list[str]
    patients: int = 0
    held_out: int = 0
    cases: int = 0
    refused: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a hospital's own gate says of a global model: mean Dice of its held-out patients by the parent and by the
    model, and the interval of the difference (NaN where there is none)."""

    decision: str
    reasons: list[str]
    patients: int
    parent: float = math.nan
    candidate: float = math.nan
    low: float = math.nan
    high: float = math.nan


class Hospital:
    """The site in a folder, as a part of a federation. Raises what loading the parent raises."""

    def __init__(self, site: Path, config: FederationConfig, device: str = "auto"):
        self.site, self._config = site, config
        self.parent: Bundle = load_bundle(config.options.parent)
        self._folder = site / FOLDER / config.options.name
        self._device = choose_device(device)

    def facts(self) -> Facts:
        """Check the site's data against the model: structures, modalities, and whether its labels contradict it."""
        structures = {one.name: one.value for one in CaseStore(self.site).site().label_map.structures}
        facts = Facts(self.parent.sha256, structures, list(self.parent.modalities))
        try:
            run = self._run
        except CrossModalSegError as error:
            return dataclasses.replace(facts, refused=f"{error.code}: {error.message}")
        settle_undrawn(run, parent_scorer(run, run.folder / PARENT), checked_cases(run))
        exchanged, _ = contradictions(run, score_parent(run))
        split = self._split
        return dataclasses.replace(
            facts,
            modalities=sorted({name for case in run.data.labelled for name in case.scans}),
            patients=len({run.cases[name].patient for name in split.learnt}),
            held_out=len({run.cases[name].patient for name in split.judged}),
            cases=len(split.learnt),
            refused="; ".join(exchanged),
        )

    def train(self, weights: Mapping[str, np.ndarray], number: int) -> tuple[Weights, int]:
        """The weights after this round's training from the global ones, and from how many cases it has learnt."""
        split = self._split
        training = dataclasses.replace(split, name=_name_of(number, weights))
        trained = train_one(self._run, training, self._config.options.steps, as_tensors(weights), near_start=True)
        return as_arrays(trained), len(split.learnt)

    def judge(self, weights: Mapping[str, np.ndarray], number: int) -> Judgement:
        """The verdict of this hospital's gate over the global weights, on its own held-out patients."""
        run = self._run
        cases = [run.cases[name] for name in self._split.judged]
        parent = score_cases(run, parent_scorer(run, run.folder / PARENT), cases, "scoring the parent")
        published = {name: tensor.half().float() for name, tensor in as_tensors(weights).items()}
        candidate = score_candidate(run, _name_of(number, weights), published, cases)
        site = paired(cases, parent, candidate)
        exchanged, doubtful = contradictions(run, parent)
        remarks = Remarks(exchanged, [*doubtful, *doubts(run, site)], [])
        verdict = judge(site, [], run.config.gate, remarks, aim_of(run, protocol_differences(run, parent)))
        return _judgement(verdict.decision, list(verdict.reasons), compare(site, run.config.gate).mean)

    def accept(self, weights: Mapping[str, np.ndarray], judgement: Judgement) -> Bundle:
        """Make the global weights one of the site's models, with what its gate found."""
        run = self._run
        name = next_name(self.site, self.parent.name)
        config = dataclasses.replace(configuration(run, self._config.options.steps), name=name)
        facts: dict[str, Any] = {
            "federated from": dataclasses.asdict(run.plan.parent),
            "federation": self._config.options.name,
            "rounds": self._config.options.rounds,
            LEARNT_FROM: learnt_by_child(self.parent, self._split.learnt, run.plan.unlabelled).to_json(),
        }
        model = TrainedModel(
            config,
            run.mapping.label_map,
            as_tensors(weights),
            facts,
            parent=self.parent.sha256,
            scores={"gate": _without_nan(dataclasses.asdict(judgement))},
            requires_both=self.parent.requires_both,
            locator=self.parent.read_locator(),
            expected_ml=self.parent.expected_ml,  # the site has the same structures
        )
        return adopt(self.site, publish_trained(self._folder / name, model).path)

    @cached_property
    def _run(self) -> Finetuning:
        """The plan that was made before the first round, or is made now. Raises what `make_plan` raises."""
        folder = self._folder
        mapping = same_structures(self.parent.label_map, CaseStore(self.site).site().label_map)
        if not mapping.is_identity:
            what = "the site's label map is not the model's"
            raise LabelError("label-maps-differ", what, "all hospitals need the same structures and values")
        if (folder / PLAN_FILE).exists():
            self._refuse_other_federation(folder)
            plan = read_plan(folder)
            data = planned_data(self.site, self.parent, mapping, plan)
        else:
            request = Request(self._config.local, self._config.options.name, self.parent.version, MINUTES)
            plan, data = make_plan(self.site, self.parent, mapping, request)
            with output_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / IDENTITY_FILE, self._identity())
            plan.save(folder)
        run = Finetuning(self.site, folder, self.parent, mapping, data, plan, self._device, Pace(_say_nothing))
        run.follow(plan)
        return run

    def _identity(self) -> str:
        content = {"parent": self.parent.sha256, "adaptation": dataclasses.asdict(self._config.local)}
        return json.dumps(content, indent=1)

    def _refuse_other_federation(self, folder: Path) -> None:
        file = folder / IDENTITY_FILE
        if not file.exists() or file.read_text(encoding="utf-8") != self._identity():
            what = f"{folder} is of a federation with another configuration or parent model"
            raise DataError("other-federation", what, "give the federation another name")

    @property
    def _split(self) -> Training:
        """What is learnt from, and what is judged on, in all rounds: the first fold where few patients are held out."""
        plan = self._run.plan
        return plan.folds[0] if plan.folds else plan.final


def as_tensors(weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights as the network takes them."""
    return {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}


def as_arrays(weights: Mapping[str, Tensor]) -> Weights:
    """Weights as they are sent: float32."""
    return {name: tensor.detach().cpu().float().numpy() for name, tensor in weights.items()}


def combine(sent: Mapping[str, tuple[Weights, int]], aggregation: str) -> Weights:
    """One model of the hospitals' weights, by name, each with the number of cases that it learnt from.

    "mean": Σ nₖ wₖ / Σ nₖ (FedAvg; McMahan et al., AISTATS 2017). "median": of each weight by itself, without regard to
    numbers of cases (Yin et al., ICML 2018), which a minority of hospitals cannot move far.
    """
    hospitals = list(sent.values())
    total = sum(cases for _, cases in hospitals)
    names = hospitals[0][0]
    if aggregation == "median":
        return {
            name: np.median(np.stack([of[name] for of, _ in hospitals]), axis=0).astype(np.float32) for name in names
        }
    return {name: sum(of[name] * np.float32(cases / total) for of, cases in hospitals) for name in names}  # type: ignore[misc]


def fits(sent: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> bool:
    """Whether what a hospital has sent are finite weights of the same network."""
    shapes = {name: array.shape for name, array in weights.items()}
    return {name: array.shape for name, array in sent.items()} == shapes and all(
        np.isfinite(array).all() for array in sent.values()
    )


def _name_of(number: int, weights: Mapping[str, np.ndarray]) -> str:
    """Of what is computed in a round: another one with other weights, so that nothing old is taken for it."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return f"round-{number}-{digest.hexdigest()[:12]}"


def size_of(weights: Mapping[str, np.ndarray]) -> int:
    """Bytes of weights as they are sent."""
    return sum(array.nbytes for array in weights.values())


def _judgement(decision: str, reasons: list[str], change: Change | None) -> Judgement:
    if change is None:
        return Judgement(decision, reasons, 0)
    return Judgement(decision, reasons, change.patients, change.parent, change.candidate, change.low, change.high)


def _without_nan(content: dict[str, Any]) -> dict[str, Any]:
    finite = {name: value for name, value in content.items() if not isinstance(value, float) or math.isfinite(value)}
    return content | dict.fromkeys(content.keys() - finite.keys())


def _say_nothing(_progress: Progress) -> None:
    pass

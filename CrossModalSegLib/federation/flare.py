"""The federation as a job of NVFlare: one executor per hospital, one controller on the server."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode, WorkspaceConstants
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_common.workflows.model_controller import ModelController
from nvflare.job_config.api import FedJob

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.errors import CrossModalSegError, InputError
from CrossModalSegLib.federation.config import FederationConfig, federation_of
from CrossModalSegLib.federation.hospital import Facts, Hospital, Judgement, Weights, combine, fits, size_of
from CrossModalSegLib.federation.report import HISTORY, History, Round, write_history

CHECK, TRAIN, JUDGE, ACCEPT = "check", "train", "judge", "accept"
TASKS = [CHECK, TRAIN, JUDGE, ACCEPT]
SITE_VARIABLE = "CROSSMODALSEG_SITE"  # names the site's folder on a hospital's own machine
GLOBAL = "global.safetensors"
ACCEPTED = "promote"


class HospitalExecutor(Executor):
    """Does a hospital's part. ``content`` is the federation's configuration as nested tables; ``site`` the folder of
    the site, else that of the environment variable CROSSMODALSEG_SITE."""

    def __init__(self, content: dict[str, Any], site: str = "", device: str = "auto"):
        super().__init__()
        self.content, self.site, self.device = content, site, device

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002
        """One task. A hospital that cannot do it says why in its log, and the federation ends."""
        try:
            hospital = Hospital(self._folder(), federation_of(self.content, Path()), self.device)
            sent = FLModelUtils.from_shareable(shareable)
            return FLModelUtils.to_shareable(self._do(hospital, task_name, sent, fl_ctx.get_identity_name()))
        except CrossModalSegError as error:
            self.log_error(fl_ctx, str(error), fire_event=False)
            return make_reply(ReturnCode.EXECUTION_EXCEPTION)

    def _do(self, hospital: Hospital, task: str, sent: FLModel, name: str) -> FLModel:
        number = int(sent.current_round or 0)
        if task == CHECK:
            return _numbers(name, dataclasses.asdict(hospital.facts()))
        if task == TRAIN:
            weights, cases = hospital.train(sent.params, number)
            return FLModel(params=weights, current_round=number, meta={"hospital": name, "cases": cases})
        if task == JUDGE:
            return _numbers(name, dataclasses.asdict(hospital.judge(sent.params, number)))
        judgement = Judgement(**sent.meta["judgements"][name])
        return _numbers(name, {"model": hospital.accept(sent.params, judgement).name})

    def _folder(self) -> Path:
        place = self.site or os.environ.get(SITE_VARIABLE, "")
        if not place:
            what = f"the environment variable {SITE_VARIABLE} is not set"
            raise InputError("usage", what, "set it to the folder of this hospital's site")
        return Path(place)


class FederationController(ModelController):
    """The server's part: asks all hospitals, has them train and judge in rounds, and writes what came of it."""

    def __init__(self, content: dict[str, Any]):
        super().__init__()
        self.content = content

    def run(self) -> None:
        """All of it; the history is written after each round."""
        config = federation_of(self.content, Path())
        options = config.options
        parent = load_bundle(options.parent)
        weights: Weights = {name: array.astype(np.float32) for name, array in parent.read_weights().items()}
        folder = Path(self.get_run_dir())
        history = History(options.name, parent.name, parent.sha256, dataclasses.asdict(options))
        history.sent = [[name, list(array.shape), int(array.nbytes)] for name, array in weights.items()]
        history.hospitals = self._facts(history)
        taking_part = [name for name, facts in history.hospitals.items() if not facts.refused]
        if len(taking_part) < options.fewest_hospitals:
            write_history(folder, history)
            self.panic(f"only {len(taking_part)} hospitals take part, {options.fewest_hospitals} are needed")
            return
        for number in range(options.rounds):
            replies = sorted(self._ask(TRAIN, taking_part, weights, number), key=lambda one: one.meta["hospital"])
            sent = {
                one.meta["hospital"]: (one.params, int(one.meta["cases"]))
                for one in replies
                if fits(one.params, weights)
            }
            taking_part = _those_that_answered(history, taking_part, sent, number)
            if len(sent) < options.fewest_hospitals:
                write_history(folder, history)
                self.panic(f"only {len(sent)} hospitals have answered in round {number + 1}")
                return
            weights = combine(sent, options.aggregation)
            judged = {name: Judgement(**of) for name, of in self._numbers(JUDGE, taking_part, weights, number).items()}
            taking_part = _those_that_answered(history, taking_part, judged, number)
            history.rounds.append(Round(number, judged, {name: size_of(of) for name, (of, _) in sent.items()}))
            self._accept(taking_part, weights, number, history)
            write_history(folder, history)
            write_atomically(folder / GLOBAL, safetensors.numpy.save(weights))

    def _facts(self, history: History) -> dict[str, Facts]:
        """What all hospitals say; whoever has another model or other structures than most does not take part."""
        said = {name: Facts(**of) for name, of in self._numbers(CHECK, None, {}, 0).items()}
        structures = {one.name: one.value for one in load_bundle(history.options["parent"]).label_map.structures}
        for name, facts in said.items():
            if facts.parent != history.sha256:
                said[name] = dataclasses.replace(facts, refused="its parent model is another one")
            elif facts.structures != structures:
                said[name] = dataclasses.replace(facts, refused="its label map is not the model's")
        return said

    def _accept(self, names: list[str], weights: Weights, number: int, history: History) -> None:
        """Hospitals whose gate promotes the last round's model take it; the others keep their own."""
        if number + 1 < history.options["rounds"]:
            return
        judged = history.rounds[-1].judgements
        willing = [name for name in names if judged[name].decision == ACCEPTED]
        if willing:
            meta = {"judgements": {name: dataclasses.asdict(judged[name]) for name in willing}}
            replies = self._numbers(ACCEPT, willing, weights, number, meta)
            history.models = {name: str(of["model"]) for name, of in replies.items()}

    def _numbers(
        self, task: str, names: list[str] | None, weights: Mapping[str, np.ndarray], number: int, meta: Any = None
    ) -> dict[str, dict[str, Any]]:
        replies = self._ask(task, names, weights, number, meta)
        said = {one.metrics["hospital"]: one.metrics["content"] for one in replies}
        return {name: said[name] for name in sorted(said)}  # whoever was first

    def _ask(
        self, task: str, names: list[str] | None, weights: Mapping[str, np.ndarray], number: int, meta: Any = None
    ) -> list[FLModel]:
        data = FLModel(params=dict(weights), current_round=number, meta=meta or {})
        return self.send_model_and_wait(task_name=task, data=data, targets=names)


def make_job(config: FederationConfig, content: Mapping[str, Any], device: str) -> FedJob:
    """The job of a federation. With hospitals in the configuration, each one's executor has its folder; without, all
    use CROSSMODALSEG_SITE on their own machine."""
    tables = json.loads(json.dumps({name: value for name, value in content.items() if name != "hospitals"}))
    job = FedJob(config.options.name, min_clients=max(1, len(config.hospitals) or config.options.fewest_hospitals))
    job.set_app_packages(["CrossModalSegLib"])
    job.to_server(FederationController(tables))
    for name, site in config.hospitals.items():
        job.to(HospitalExecutor(tables, str(site), device), name, tasks=TASKS)
    if not config.hospitals:
        job.to_clients(HospitalExecutor(tables, "", device), tasks=TASKS)
    return job


def allow_our_classes(workspace: Path) -> None:
    """Let a simulation in ``workspace`` load the two classes above beside NVFlare's own: it refuses all others. A real
    site has the same list in its ``local/resources.json``."""
    ours = [f"{kind.__module__}.{kind.__name__}" for kind in (HospitalExecutor, FederationController)]
    resources = {"format_version": 2, "class_allow_list": [*DEFAULT_CLASS_ALLOW_LIST, *ours]}
    local = workspace / WorkspaceConstants.SITE_FOLDER_NAME
    local.mkdir(parents=True, exist_ok=True)
    write_atomically(local / WorkspaceConstants.DEFAULT_RESOURCES_CONFIG, json.dumps(resources, indent=1))


def find_history(workspace: Path) -> Path | None:
    """The history that a simulation in ``workspace`` has written."""
    return next(iter(sorted(workspace.rglob(HISTORY))), None)


def _those_that_answered(history: History, asked: list[str], answers: Mapping[str, object], number: int) -> list[str]:
    """The others take no part from here on, and the history says so."""
    for name in asked:
        if name not in answers:
            why = f"gave no answer, or none that fits, in round {number + 1}: its log says why"
            history.hospitals[name] = dataclasses.replace(history.hospitals[name], refused=why)
    return [name for name in asked if name in answers]


def _numbers(name: str, content: dict[str, Any]) -> FLModel:
    plain = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in content.items()}
    return FLModel(metrics={"hospital": name, "content": plain})

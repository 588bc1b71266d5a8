"""Scans that were opened on the page: which of them are chosen, and which are looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

from CrossModalSegApp.logic.case_selection import candidates, suggest
from CrossModalSegApp.logic.scans_presenter import PLACES, ScansPresenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.site_cases import patient_key

_NOT_CHOSEN = _("not chosen")


class OpenedScans:
    """Chooses among the volume nodes that are opened, in a `ScansPresenter`."""

    def __init__(self, scene: Any, presenter: ScansPresenter):
        self._scene, self.presenter = scene, presenter
        self._latest: list[Any] = []

    def choose_opened(self, opened: Sequence[Any], named: Mapping[str, Any] | None = None) -> None:
        """Volume nodes have been opened: they are chosen, ``named`` by modality, else as their names and headers tell.

        A scan that was chosen before stays only where it is completed by them: where it was alone, of another kind, and
        not of another patient.
        """
        bundle, chosen = self.presenter.bundle, self.presenter.volumes
        if bundle is None:
            return
        found = dict(named or suggest(bundle, opened))
        is_alone = len(chosen) < len(bundle.modalities)
        kept = chosen if is_alone and _of_one_patient([*chosen.values(), *opened]) else {}
        self._latest = list(opened)
        self.presenter.choose(kept | found)

    def choose_for(self, case: CaseNodes) -> None:
        """Choose the scans of a result, and its model where the chosen one does not know them."""
        bundle = self.presenter.bundle
        if bundle is not None and not set(case.volumes) <= set(bundle.modalities):
            self.presenter.choose_model(case.bundle_name)
        if self.presenter.volumes != case.volumes:
            self.presenter.choose(case.volumes)

    @property
    def shown(self) -> dict[str, Any]:
        """What there is to see by modality: the chosen volume nodes, else those that were opened last."""
        if self.presenter.volumes or self.presenter.bundle is None:
            return self.presenter.volumes
        known = candidates(self._scene)
        opened = [node for node in self._latest if node in known]
        return {f"{_NOT_CHOSEN} ({number})": node for number, node in enumerate(opened[: len(PLACES)], 1)}


def _of_one_patient(nodes: Sequence[Any]) -> bool:
    """Whether their headers do not say otherwise."""
    return len({key for key in map(patient_key, nodes) if key}) <= 1

"""A result beside another one of the same scans: which there are, their figures, and the places where they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import local_grid, to_world
from CrossModalSegApp.scene.review import DIFFERENCE
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.structure_display import StructureSegment, segments
from CrossModalSegLib.imaging.differences import Difference, Overlap, find_differences, overlaps
from CrossModalSegLib.label_translation import relabel

MODEL = "model"  # id of the model's own result


@dataclass(frozen=True)
class Other:
    """What a result can be compared with: its segmentation ``nodes`` by modality. ``title`` is "" for `MODEL`."""

    id: str
    title: str
    nodes: Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """Figures by structure and modality, and ``places`` (as `add_review` takes them), largest first over all scans.

    ``rest_ml`` is what differs beside the places, by modality.
    """

    modalities: tuple[str, ...]
    figures: Mapping[str, Mapping[str, Overlap]]
    places: tuple[Mapping[str, Any], ...]
    rest_ml: Mapping[str, float]


def others(case: CaseNodes, cases: Sequence[CaseNodes]) -> list[Other]:
    """What ``case`` can be compared with, among all ``cases`` of the scene: results that share a scan with it."""
    own = {name: node for name, node in case.models.items() if name in case.segmentations and name in case.volumes}
    found = [Other(MODEL, "", own)] if own else []
    for one in cases:
        shared = {
            name: one.segmentations[name]
            for name, volume in case.volumes.items()
            if name in case.segmentations and name in one.segmentations and one.volumes.get(name) is volume
        }
        if one.run_id != case.run_id and shared:
            found.append(Other(one.run_id, one.title, shared))
    return found


def compare(case: CaseNodes, other: Other) -> Compared:
    """Every scan of ``case`` that both have, structures by name: another model may have other values for them.

    Raises LabelError as `marked_labels` does.
    """
    figures: dict[str, dict[str, Overlap]] = {}
    places: list[tuple[float, dict[str, Any]]] = []
    rest = {}
    for modality, node in other.nodes.items():
        volume, own = case.volumes[modality], case.segmentations[modality]
        grid = local_grid(volume)
        here = marked_labels(own, volume)
        there, names = labels_in_values_of(own, node, volume)
        for value, overlap in overlaps(here, there, grid).items():
            figures.setdefault(names.get(value, str(value)), {})[modality] = overlap
        found = find_differences(here, there, grid)
        rest[modality] = found.rest_ml
        places += [(one.volume_ml, _place(one, modality, names, volume)) for one in found.places]
    places.sort(key=lambda pair: -pair[0])
    order = [one.name for one in segments(next(iter(case.segmentations.values())))]
    ordered = {name: figures[name] for name in (*order, *figures) if name in figures}
    numbered = tuple(place | {"number": number} for number, (_ml, place) in enumerate(places, 1))
    return Compared(tuple(other.nodes), ordered, numbered, rest)


def labels_in_values_of(own: Any, node: Any, volume: Any) -> tuple[np.ndarray, dict[int, str]]:
    """The labels (K, J, I) of a segmentation ``node`` over ``volume``, in the values that ``own`` has for structures of
    these names; and the names of all values. Raises LabelError as `marked_labels` does."""
    names = {one.value: one.name for one in segments(own)}
    values = _values_of(segments(node), names)
    names |= {values[one.value]: one.name for one in segments(node)}
    return relabel(marked_labels(node, volume), values), names


def _values_of(structures: Sequence[StructureSegment], names: Mapping[int, str]) -> dict[int, int]:
    """For each value of ``structures`` the one that has its name in ``names``, else a value that nobody has."""
    known = {name: value for value, name in names.items()}
    free = count(max(names, default=0) + 1)
    return {one.value: known[one.name] if one.name in known else next(free) for one in structures}


def _place(one: Difference, modality: str, names: Mapping[int, str], volume: Any) -> dict[str, Any]:
    """``structure`` is that of the result which is shown, or the other's where it has none."""
    here, there = names.get(one.here, ""), names.get(one.there, "")
    return {
        "structure": here or there,
        "modalities": [modality],
        "reason": f"{DIFFERENCE}{there}",
        "severity": 0.0,
        "volume_ml": one.volume_ml,
        "ras_mm": to_world(volume, np.array(one.ras_mm)).tolist(),
    }

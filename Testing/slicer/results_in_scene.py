"""Results of a run in the scene, without the run."""

from typing import Any

import numpy as np

from CrossModalSegUI.node_geometry import local_grid
from CrossModalSegUI.result_nodes import CaseBuilder, CaseNodes


def add_result(scene: Any, volumes: dict[str, Any], bundle: Any, run_id: str = "run") -> CaseNodes:
    """A result of ``bundle`` for the scans by modality: each structure is a box of its own. Two places to review."""
    names = list(volumes)
    structures = [
        {"value": one.value, "name": one.name, "volume_ml": dict.fromkeys(names, 1.0),
         "confidence": dict.fromkeys(names, 0.9)}
        for one in bundle.label_map.structures
    ]  # fmt: skip
    places = [_place(number, structures[0]["name"], names) for number in (1, 2, 3)]
    report = {"structures": structures, "device": "cpu", "fallbacks": [], "review": places,
              "agreement": {"mean": 0.9} | {one["name"]: 0.9 for one in structures}}  # fmt: skip
    with CaseBuilder(scene, run_id, bundle, report) as builder:
        for modality, node in volumes.items():
            labels = np.zeros(local_grid(node).shape_kji, np.uint16)
            for place, one in enumerate(bundle.label_map.structures):
                labels[3 * place + 1 : 3 * place + 3, 4:-4, 4:-4] = one.value
            builder.add_modality(modality, node, labels, np.zeros(labels.shape, np.float32))
        builder.add_table()
        builder.add_review()
    return builder.case


def _place(number: int, structure: str, modalities: list[str]) -> dict[str, Any]:
    return {
        "number": number,
        "ras_mm": [5.0 * number, -10.0, 15.0],
        "structure": structure,
        "modalities": modalities,
        "reason": "uncertain",
        "severity": 0.5,
        "volume_ml": 1.0,
    }

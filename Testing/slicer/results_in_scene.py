"""Results of a run in the scene, and findings of the worker, without run and worker."""

from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.result_nodes import CaseBuilder
from CrossModalSegLib.imaging.content_findings import Contents, displacement_findings
from CrossModalSegLib.imaging.registration import RigidRefinement


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
            thickness = max(1, len(labels) // len(bundle.label_map.structures))
            for place, one in enumerate(bundle.label_map.structures):
                labels[place * thickness : (place + 1) * thickness, 4:-4, 4:-4] = one.value
            builder.add_modality(modality, node, labels, np.zeros(labels.shape, np.float32))
        builder.add_table()
        builder.add_review()
    return builder.case


def found_displaced(panel: Any, mm: float) -> None:
    """As if the worker had found the second scan of a `test_panel.Panel` to be off by ``mm`` to the right."""
    motion = np.eye(4)
    motion[0, 3] = mm
    panel.logic.forget_questions()  # what it is about to find out by itself
    examination = panel.desktop.panel.panel._scans._examination
    refinement = RigidRefinement(motion, mm, mm, 0.0, 0.2, 0.5)
    contents = Contents(tuple(displacement_findings(refinement, "T1w", "T2w")), refinement)
    examination.add_contents(examination._identity(), contents)


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

"""Corrections that were not saved when the program of the browser view ended."""

import asyncio
import tempfile
from pathlib import Path

from CrossModalSegApp.scene.case_nodes import CaseNodes, find_cases
from CrossModalSegApp.web.unsaved import UnsavedCorrections
from Testing.kept.write_scene import slicer_in
from Testing.tiny_bundle import LABEL_MAP


def write_unsaved(folder: Path, scene_file: Path) -> None:
    """Keep the first result of the scene in ``folder``, as it is corrected there."""
    with tempfile.TemporaryDirectory() as place:
        slicer = slicer_in(Path(place))
        if not slicer.scene.ReadFromMRB(str(scene_file)):
            raise OSError(f"{scene_file} cannot be read")
        asyncio.run(_keep(UnsavedCorrections(folder), find_cases(slicer.scene)[0]))


async def _keep(corrections: UnsavedCorrections, case: CaseNodes) -> None:
    for modality, node in case.segmentations.items():
        corrections.keep(case, node, case.labels(modality, LABEL_MAP))
    corrections.write_due()

"""A case of the site as nodes of the scene, to be corrected: its scans, and its newest labels if it has any."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from CrossModalSegApp.scene.case_nodes import About, CaseNodes, mark
from CrossModalSegApp.scene.scene_io import add_volume
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.site_cases import Origin, mark_origin
from CrossModalSegApp.scene.subject_tree import remove
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import DataError
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_image
from CrossModalSegLib.site.cases import Revision, SiteCase

_NAME_LENGTH = 6  # of a case's id, in names of nodes


@dataclass
class OpenedCase:
    """``volumes``: the scans by modality, in the model's order; ``result``: the labels to correct, None without any."""

    volumes: dict[str, Any] = field(default_factory=dict)
    result: CaseNodes | None = None


def open_case(scene: Any, case: SiteCase, bundle: Bundle, has_surfaces: bool = True) -> OpenedCase:
    """Add the scans and the newest correction, else the newest prediction, of ``case`` to ``scene``.

    On an error nothing is left in the scene: DataError ``site-differs`` where the model does not know the case's
    modalities, LabelError ``unknown-label-values`` where it does not know its structures, and what reading files
    raises.
    """
    unknown = [modality for modality in case.modalities if modality not in bundle.modalities]
    if unknown:
        what = f"case {case.id} has a {unknown[0]} scan, which {bundle.name} does not know"
        raise DataError("site-differs", what, "choose the model that this site is for")
    opened = OpenedCase()
    with _all_or_nothing(opened):
        for modality in bundle.modalities:
            if modality in case.volumes:
                opened.volumes[modality] = _add_scan(scene, case, modality)
        if case.newest is not None:
            opened.result = CaseNodes(_about(case, case.newest, bundle))
            _add_labels(scene, opened, case, case.newest, bundle, has_surfaces)
    return opened


@contextmanager
def _all_or_nothing(opened: OpenedCase) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if opened.result is not None:
            opened.result.remove()
        for node in opened.volumes.values():
            remove(node)
        raise


def _add_scan(scene: Any, case: SiteCase, modality: str) -> Any:
    node = add_volume(scene, *read_image(case.volumes[modality]), f"{case.id[:_NAME_LENGTH]} {modality}")
    mark_origin(node, Origin(case.id))
    return node


def _about(case: SiteCase, revision: Revision, bundle: Bundle) -> About:
    run = f"site-{case.id}-{revision.number}-{datetime.now().isoformat(timespec='microseconds')}"
    notice = "A model's labels, not corrected yet." if revision.is_prediction else "A correction from the site folder."
    created = datetime.now().isoformat(timespec="microseconds")
    return About(run, bundle.name, bundle.sha256, created, notice, tuple(revision.labels))


def _add_labels(
    scene: Any, opened: OpenedCase, case: SiteCase, revision: Revision, bundle: Bundle, has_surfaces: bool
) -> None:
    result = opened.result
    assert result is not None
    for modality, path in revision.labels.items():
        scan = opened.volumes[modality]
        labels = read_segmentation(Path(path))[0]
        name = scene.GetUniqueNameByString(f"{scan.GetName()} segmentation")
        node = add_segmentation(scan, labels, bundle.label_map, name, has_surfaces=has_surfaces)
        result.volumes[modality], result.segmentations[modality] = scan, node
        mark(node, "segmentation", result.about, modality, scan)
        mark_origin(node, Origin(case.id, revision.number))

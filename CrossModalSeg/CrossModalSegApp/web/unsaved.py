"""Corrections that are in no site folder yet: kept on disk as they are made, and offered again to the next program.

For each corrected result a folder that only this user can read, with the scans, the labels, and what was found out.
"""

import asyncio
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.scene.case_nodes import About, CaseNodes, mark
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.review import ReviewList
from CrossModalSegApp.scene.scene_io import add_volume, voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.site_cases import ORIGIN_ATTRIBUTE
from CrossModalSegApp.scene.table_rows import add_rows, rows_of
from CrossModalSegLib.atomic import staged_file, write_atomically
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError, DataError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.temporary import is_alive
from CrossModalSegLib.user_folder import user_folder

_CASE = "case.json"
_HINT = "discard it"
_log = logging.getLogger(__name__)


class UnsavedCorrections:
    """Keeps results in ``folder``, by default the user's own; what a program that still runs keeps is left alone."""

    def __init__(self, folder: Path | None = None):
        self._folder = folder or user_folder() / "unsaved"
        self._due: dict[tuple[str, str], tuple[CaseNodes, np.ndarray]] = {}
        self._task: asyncio.Task[None] | None = None

    def keep(self, case: CaseNodes, node: Any, labels: np.ndarray) -> None:
        """``labels`` (K, J, I) are now those of a segmentation node of ``case``; returns at once."""
        modality = next((name for name, one in case.segmentations.items() if one is node), "")
        if modality:
            self._due[case.run_id, modality] = case, labels.copy()
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._write_soon())

    def forget(self, run_id: str) -> None:
        """The result of this run is saved elsewhere, or nobody wants it."""
        self._due = {key: value for key, value in self._due.items() if key[0] != run_id}
        self.discard(_name(run_id))

    def discard(self, name: str) -> None:
        """Delete what is kept under ``name``."""
        if name in {path.name for path in self._folders()}:
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def offers(self) -> list[dict[str, str]]:
        """What ended programs have left: ``id``, ``title`` and ``when``, the newest first."""
        offers = []
        for path in self._folders():
            try:
                content = read_json(path / _CASE, "unsaved-damaged", _HINT)
                if not is_alive(int(content["process"])):
                    when = datetime.fromisoformat(content["when"]).strftime("%d %b, %H:%M")
                    offers.append((content["when"], {"id": path.name, "title": str(content["title"]), "when": when}))
            except (DataError, KeyError, ValueError, TypeError):
                _log.warning("%s cannot be read", path)
        return [offer for _, offer in sorted(offers, key=lambda one: one[0], reverse=True)]

    def open(self, scene: Any, name: str, bundle_named: Callable[[str], Bundle]) -> CaseNodes:
        """Load what is kept under ``name`` into ``scene``; ``bundle_named(name)`` is its model.

        Raises DataError ``unsaved-damaged``, BundleError.
        """
        path = self._folder / name
        content = read_json(path / _CASE, "unsaved-damaged", _HINT)
        try:
            about = About(**content["about"] | {"modalities": tuple(content["about"]["modalities"])})
            case = _rebuilt(scene, path, content, about, bundle_named(about.bundle_name))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError("unsaved-damaged", f"{path} cannot be read: {error}", _HINT) from error
        write_atomically(path / _CASE, json.dumps(content | {"process": os.getpid()}))
        return case

    def _folders(self) -> list[Path]:
        return [path for path in self._folder.glob("*") if (path / _CASE).is_file()] if self._folder.is_dir() else []

    def write_due(self) -> None:
        """Write what is not on disk yet."""
        while self._due:
            with self._failures_logged():
                for write in self._steps():
                    write()

    async def _write_soon(self) -> None:
        """The same, beside what goes on."""
        while self._due:
            with self._failures_logged():
                for write in self._steps():
                    await asyncio.to_thread(write)

    def _steps(self) -> Iterator[Callable[[], None]]:
        """What writes the next result that is due: file by file, all of them at the first time. The scene is read
        between them; the file that makes the folder an offer comes last."""
        (run_id, modality), (case, labels) = next(iter(self._due.items()))
        del self._due[run_id, modality]
        path = self._folder / _name(run_id)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not (path / _CASE).is_file()
        if is_new:
            for name, arrays in _files_of(case):
                yield partial(_write_arrays, path / f"{name}.npz", arrays)
        yield partial(_write_arrays, path / f"labels_{modality}.npz", {"labels": labels})
        if is_new:
            yield partial(write_atomically, path / _CASE, json.dumps(_about(case)))

    @contextmanager
    def _failures_logged(self) -> Iterator[None]:
        try:
            yield
        except (OSError, CrossModalSegError):
            _log.exception("corrections could not be kept in %s", self._folder)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with staged_file(path) as staging:
        np.savez_compressed(staging, **arrays)  # type: ignore[arg-type]


def _name(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]


def _about(case: CaseNodes) -> dict[str, Any]:
    """What says what a result is."""
    return {
        "process": os.getpid(),
        "when": datetime.now().isoformat(timespec="seconds"),
        "title": case.title,
        "about": asdict(case.about),
        "scans": {name: node.GetName() for name, node in case.volumes.items()},
        "origins": {name: node.GetAttribute(ORIGIN_ATTRIBUTE) for name, node in case.volumes.items()},
        "revisions": {name: node.GetAttribute(ORIGIN_ATTRIBUTE) for name, node in case.segmentations.items()},
        "table": rows_of(case.table),
        "review": rows_of(case.review.table if case.review else None),
    }


def _files_of(case: CaseNodes) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Name and arrays of each file of a result."""
    for name, node in case.volumes.items():
        yield f"scan_{name}", {"voxels": voxels_of(node).copy(), "ijk_to_ras": local_grid(node).ijk_to_ras}
        for role, nodes in (("labels", case.segmentations), ("model", case.models)):
            if name in nodes:
                yield f"{role}_{name}", {"labels": marked_labels(nodes[name], node)}


def _rebuilt(scene: Any, path: Path, content: dict[str, Any], about: About, bundle: Bundle) -> CaseNodes:
    case = CaseNodes(about)
    for name, title in content["scans"].items():
        with np.load(path / f"scan_{name}.npz") as stored:
            voxels, affine = stored["voxels"], stored["ijk_to_ras"]
        scan = case.volumes[name] = add_volume(scene, voxels, Grid(voxels.shape, affine), title)
        _set_origin(scan, content["origins"].get(name))
        for role, nodes in (("labels", case.segmentations), ("model", case.models)):
            if not (path / f"{role}_{name}.npz").is_file():
                continue
            with np.load(path / f"{role}_{name}.npz") as stored:
                labels = stored["labels"]
            words = "segmentation" if role == "labels" else f"segmentation by {bundle.name}"
            title_ = scene.GetUniqueNameByString(f"{scan.GetName()} {words}")
            nodes[name] = add_segmentation(scan, labels, bundle.label_map, title_, role == "labels", has_surfaces=False)
            mark(nodes[name], "segmentation" if role == "labels" else "model", about, name, scan)
        _set_origin(case.segmentations[name], content["revisions"].get(name))
    for role, attribute in (("table", "table"), ("review", "review")):
        if content[attribute]:
            node = add_rows(scene, content[attribute], scene.GetUniqueNameByString(f"{role}"))
            mark(node, role, about)
            case.table, case.review = (node, case.review) if role == "table" else (case.table, ReviewList(node))
    return case


def _set_origin(node: Any, origin: str | None) -> None:
    if origin:
        node.SetAttribute(ORIGIN_ATTRIBUTE, origin)

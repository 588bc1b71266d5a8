"""Corrections that are in no site folder yet: kept on disk as they are made, and offered again to the next program.

For each corrected result a folder that only this user can read, with the scans, the labels, and what was found out.
"""

import asyncio
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegApp.process.temporary import is_alive
from CrossModalSegApp.scene.case_nodes import About, CaseNodes, mark
from CrossModalSegApp.scene.node_geometry import local_grid
from CrossModalSegApp.scene.review import ReviewList
from CrossModalSegApp.scene.scene_io import add_volume, voxels_of
from CrossModalSegApp.scene.segmentation_labels import marked_labels
from CrossModalSegApp.scene.segmentation_nodes import add_segmentation
from CrossModalSegApp.scene.site_cases import ORIGIN_ATTRIBUTE
from CrossModalSegApp.scene.table_rows import add_rows, rows_of
from CrossModalSegLib.atomic import staged_file, write_atomically
from CrossModalSegLib.bundles.bundle import Bundle, user_folder
from CrossModalSegLib.errors import CrossModalSegError, DataError
from CrossModalSegLib.imaging.grid import Grid
from CrossModalSegLib.json_file import read_json

_Files = dict[str, dict[str, np.ndarray]]  # arrays by name, by name of file
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
            case, files = self._next()
            self._write(case.run_id, *files)

    async def _write_soon(self) -> None:
        """The same, beside what goes on."""
        while self._due:
            case, files = self._next()
            await asyncio.to_thread(self._write, case.run_id, *files)

    def _next(self) -> tuple[CaseNodes, tuple[dict[str, Any], _Files]]:
        """A result, what says what it is, and the arrays of each file that is due; all of them at the first time."""
        (run_id, modality), (case, labels) = next(iter(self._due.items()))
        del self._due[run_id, modality]
        is_new = not (self._folder / _name(run_id) / _CASE).is_file()
        content, files = _contents(case) if is_new else ({}, {})
        return case, (content, files | {f"labels_{modality}": {"labels": labels}})

    def _write(self, run_id: str, content: dict[str, Any], files: _Files) -> None:
        """The file that makes the folder an offer comes last."""
        path = self._folder / _name(run_id)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, arrays in files.items():
                with staged_file(path / f"{name}.npz") as staging:
                    np.savez_compressed(staging, **arrays)  # type: ignore[arg-type]
            if content:
                write_atomically(path / _CASE, json.dumps(content))
        except (OSError, CrossModalSegError):
            _log.exception("corrections could not be kept in %s", path)


def _name(run_id: str) -> str:
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]


def _contents(case: CaseNodes) -> tuple[dict[str, Any], _Files]:
    """What says what a result is, and the arrays of each file."""
    origins = {name: node.GetAttribute(ORIGIN_ATTRIBUTE) for name, node in case.volumes.items()}
    revisions = {name: node.GetAttribute(ORIGIN_ATTRIBUTE) for name, node in case.segmentations.items()}
    content = {
        "process": os.getpid(),
        "when": datetime.now().isoformat(timespec="seconds"),
        "title": case.title,
        "about": asdict(case.about),
        "scans": {name: node.GetName() for name, node in case.volumes.items()},
        "origins": origins,
        "revisions": revisions,
        "table": rows_of(case.table),
        "review": rows_of(case.review.table if case.review else None),
    }
    files: _Files = {}
    for name, node in case.volumes.items():
        files[f"scan_{name}"] = {"voxels": voxels_of(node).copy(), "ijk_to_ras": local_grid(node).ijk_to_ras}
        for role, nodes in (("labels", case.segmentations), ("model", case.models)):
            if name in nodes:
                files[f"{role}_{name}"] = {"labels": marked_labels(nodes[name], node)}
    return content, files


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
            nodes[name] = add_segmentation(
                scene, scan, labels, bundle.label_map, title_, role == "labels", has_surfaces=False
            )
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

"""``slicer.app.coreIOManager()``: reads volumes and segmentations with Slicer's own storage nodes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any


class CoreIOManager:
    """What ``slicer.util.loadVolume`` and ``loadSegmentation`` need."""

    KINDS = ("VolumeFile", "SegmentationFile")

    def __init__(self, logics: SimpleNamespace):
        self._logics = logics

    def fileType(self, path: Any) -> str:
        return "SegmentationFile" if str(path).endswith(".seg.nrrd") else "VolumeFile"

    def loadNodes(self, kind: str, properties: dict[str, Any], nodes: Any, messages: Any = None) -> bool:
        """Reads one file; the new node is added to ``nodes``. False where Slicer could not read it."""
        del messages
        if kind not in self.KINDS:
            raise NotImplementedError(f"the stand-in reads {self.KINDS}, not {kind}")
        path = Path(properties["fileName"])
        if not path.is_file():
            return False
        name = properties.get("name") or path.name.split(".")[0]
        read = self._read_segmentation if kind == "SegmentationFile" else self._read_volume
        node = read(path, name)
        if node is not None:
            nodes.AddItem(node)
        return node is not None

    def _read_volume(self, path: Path, name: str) -> Any:
        return self._logics.volumes.AddArchetypeVolume(str(path), name, 0)

    def _read_segmentation(self, path: Path, name: str) -> Any:
        scene = self._logics.scene
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(str(path))
        node.SetAndObserveStorageNodeID(storage.GetID())
        if storage.ReadData(node):
            return node
        scene.RemoveNode(node)
        return None

"""CrossModalSeg: segments a patient's two scans of different modality together. Registration with 3D Slicer only."""

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

_HERE = Path(__file__).resolve().parent
# Installed, the library lies beside this file; in the source tree, beside this folder.
_LIBRARY_HOME = _HERE if (_HERE / "CrossModalSegLib").is_dir() else _HERE.parent
sys.path += [str(folder) for folder in (_HERE, _LIBRARY_HOME) if str(folder) not in sys.path]


class CrossModalSeg(ScriptedLoadableModule):
    """What Slicer lists the module with."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "CrossModalSeg"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SubjectHierarchy"]
        parent.contributors = ["CrossModalSeg contributors"]
        parent.helpText = _(
            "Segments two scans of one patient, of different modality, together: pick both, click Segment, correct. "
            "Everything is computed on this computer. Research and education, not for clinical use."
        )
        parent.acknowledgementText = _(
            "Method: Zhou et al., Robust Semi-supervised Multimodal Medical Image Segmentation via Cross Modality "
            "Collaboration, MICCAI 2024."
        )
        slicer.app.connect("startupCompleted()", _register_sample_data)


class CrossModalSegWidget(ScriptedLoadableModuleWidget):
    """Passes Slicer's calls on to the panel. ``logic`` is for scripts; see `CrossModalSegLogic`."""

    def setup(self):
        from CrossModalSegApp.process.dependencies import ensure_dicom, ensure_packages
        from CrossModalSegApp.qt.widget import ModulePanel

        super().setup()
        self.logic = CrossModalSegLogic()
        self.panel = ModulePanel(self, self.logic.core, self.logic.getParameterNode, ensure_packages, ensure_dicom)
        if self.parent.isEntered:  # Reload makes the panel anew while it is shown, and does not enter it
            self.enter()

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def cleanup(self):
        self.panel.close()

    def onReload(self):
        for name in [name for name in sys.modules if name.split(".")[0] in ("CrossModalSegApp", "CrossModalSegLib")]:
            del sys.modules[name]
        super().onReload()


class CrossModalSegLogic(ScriptedLoadableModuleLogic):
    """For scripts: ``slicer.modules.crossmodalseg.widgetRepresentation().self().logic.segment(t1_node, t2_node)``."""

    def __init__(self, parent=None):
        from CrossModalSegApp.logic.logic import SegmentationLogic
        from CrossModalSegApp.process.worker_client import WorkerClient
        from CrossModalSegApp.qt.worker_process import QtWorkerProcess

        super().__init__(parent)
        self.core = SegmentationLogic(slicer.mrmlScene, WorkerClient(QtWorkerProcess))

    def segment(self, first=None, second=None, bundle="brain-mr-pair", device="auto"):
        """Segment one or two volume nodes and wait; returns the new nodes (`scene.case_nodes.CaseNodes`)."""
        return self.core.segment(first, second, bundle, device)


class CrossModalSegTest(ScriptedLoadableModuleTest):
    """Slicer's own test run."""

    def runTest(self):
        from CrossModalSegApp.logic.self_test import segment_the_phantom

        self.setUp()
        segment_the_phantom(CrossModalSegLogic())


def _register_sample_data():
    from CrossModalSegApp.scene import sample_data

    sample_data.register()

"""3D Slicer's own scene and logics (from the package slicer-core), without the desktop application."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def slicer_logics(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Slicer's scene, application logic and module logics; one of each for all tests, as in the application.

    ``.scene`` is the vtkMRMLScene, ``.application`` the application logic; ``.colors``, ``.segmentations``,
    ``.subject_hierarchy``, ``.terminologies``, ``.volumes`` are the modules' logics. Skips where slicer-core is missing.
    """
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
    import vtk

    vtk.vtkOutputWindow.GetInstance().SetDisplayModeToAlwaysStdErr()
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetTemporaryPath(str(tmp_path_factory.mktemp("slicer")))
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    logics = SimpleNamespace(
        scene=scene,
        application=application,
        colors=application.GetColorLogic(),
        segmentations=slicer.vtkSlicerSegmentationsModuleLogic(),
        subject_hierarchy=slicer.vtkSlicerSubjectHierarchyModuleLogic(),
        terminologies=slicer.vtkSlicerTerminologiesModuleLogic(),
        volumes=slicer.vtkSlicerVolumesLogic(),
    )
    names = {"segmentations": "Segmentations", "subject_hierarchy": "SubjectHierarchy", "volumes": "Volumes"}
    names |= {"colors": "Colors", "terminologies": "Terminologies"}
    for attribute, module in names.items():
        logic = getattr(logics, attribute)
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(module, logic)
    logics.colors.AddDefaultColorNodes()
    return logics


@pytest.fixture
def mrml_scene(slicer_logics: SimpleNamespace) -> Iterator[object]:
    """An empty vtkMRMLScene (singletons and default colours aside), cleared again after the test."""
    slicer_logics.scene.Clear(0)
    yield slicer_logics.scene
    slicer_logics.scene.Clear(0)


@pytest.fixture(scope="session")
def slicer_terminologies() -> dict[str, Path]:
    """Slicer's terminology lists, which slicer-core does not bring: file name to path, from trame-slicer."""
    package = pytest.importorskip("trame_slicer", reason="trame-slicer, which brings the lists, is not installed")
    folder = Path(package.__file__).parent / "resources" / "terminologies"
    return {file.name: file for file in folder.glob("*.json")}

"""Who may import whom: downwards only, torch only where it computes, 3D Slicer nowhere in the library."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import CrossModalSegLib

LIBRARY = Path(CrossModalSegLib.__file__).parent

FOUNDATION = {"errors", "atomic", "json_file", "labels", "progress", "protocol"}
# What the graphical process imports as well: numpy, SimpleITK, pydicom and scipy, which 3D Slicer brings; no torch.
WITHOUT_TORCH = {
    "bundle",
    "bundle_library",
    "bundle_metadata",
    "case_files",
    "case_store",
    "channels",
    "dicom",
    "finetune_base",
    "geometry",
    "grid",
    "label_translation",
    "layout",
    "learnt_cases",
    "modality_guess",
    "preflight",
    "registration",
    "resampling",
    "scan_files",
    "segmentation_io",
    "site_cases",
    "site_check",
    "site_folder",
    "site_index",
    "site_models",
    "site_repair",
    "site_runs",
    "volume",
    "work_list",
    "zip_files",
}
MATHEMATICS = {"network", "losses"}  # torch alone; know no files
TOP = {
    "cli",
    "worker",
    "worker_requests",
    *(f"commands.{path.stem}" for path in (LIBRARY / "commands").glob("[!_]*.py")),
}

SLICER = {"PythonQt", "ctk", "qt", "slicer", "trame", "trame_slicer", "vtk", "vtkmodules"}


def name_of(path: Path) -> str:
    """``commands.doctor`` for ``commands/doctor.py``."""
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


MODULES = {name_of(path): path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"}


def imported_names(path: Path) -> set[str]:
    """Full names of all that a file imports, also inside functions."""
    package = ["CrossModalSegLib", *path.relative_to(LIBRARY).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*origin, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def imported_modules(name: str) -> set[str]:
    """The library's own modules that the module ``name`` imports."""
    ours = {full.removeprefix("CrossModalSegLib.") for full in imported_names(MODULES[name])}
    return (ours & set(MODULES)) - {name}


def allowed_for(name: str) -> set[str]:
    """The modules that ``name`` may import: those of its own layer and of the layers below."""
    if name in FOUNDATION:
        return FOUNDATION
    if name in WITHOUT_TORCH:
        return FOUNDATION | WITHOUT_TORCH
    if name in MATHEMATICS:
        return {"errors"} | MATHEMATICS
    return set(MODULES) if name in TOP else set(MODULES) - TOP  # the rest computes: preprocess, training and the like


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_downwards(name):
    assert imported_modules(name) <= allowed_for(name)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_library_imports_nothing_of_slicer(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & SLICER


@pytest.mark.parametrize("name", sorted(FOUNDATION | WITHOUT_TORCH))
def test_what_the_graphical_process_imports_never_imports_torch(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & {"torch", "monai"}


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_network_and_losses_know_no_files(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & {"SimpleITK", "json", "os", "pathlib"}


def test_no_module_imports_itself_by_a_detour():
    graphlib.TopologicalSorter({name: imported_modules(name) for name in MODULES}).prepare()


def test_what_the_graphical_process_imports_loads_neither_torch_nor_slicer():
    names = [f"CrossModalSegLib.{name}" for name in sorted(FOUNDATION | WITHOUT_TORCH)]
    code = f"import sys, {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "monai", "matplotlib", *SLICER} & set(loaded)


SLICERS_OWN_PYTHON = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        root = name.split(".")[0]
        if root not in {"numpy", "SimpleITK", "pydicom", "scipy", "CrossModalSegLib", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"not in 3D Slicer's own Python: {name}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_the_graphical_process_lists_bundles_before_any_package_is_installed():
    names = [f"CrossModalSegLib.{name}" for name in sorted(FOUNDATION | WITHOUT_TORCH)]
    listing = "from CrossModalSegLib.bundle import list_bundles; print(*(bundle.name for bundle in list_bundles()))"
    code = f"{SLICERS_OWN_PYTHON}\nimport {', '.join(names)}\n{listing}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "brain-mr-pair" in done.stdout.split()


def test_every_module_named_here_exists():
    assert not (FOUNDATION | WITHOUT_TORCH | MATHEMATICS) - set(MODULES)

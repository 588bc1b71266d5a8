"""Who may import whom: downwards only, torch only where it computes, 3D Slicer nowhere in the library."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import CrossModalSegLib

LIBRARY = Path(CrossModalSegLib.__file__).parent

FOUNDATION = {
    "errors",
    "atomic",
    "attended",
    "json_file",
    "label_translation",
    "labels",
    "own_process",
    "plurals",
    "progress",
    "protocol",
    "stage_seconds",
    "staging",
    "temporary",
    "user_folder",
}
MATHEMATICS = {"network", "losses", "preprocess", "tables", "dice"}  # torch and MONAI's losses; know no files
# What the graphical process imports as well: numpy, SimpleITK, pydicom and scipy, which 3D Slicer brings; no torch.
WITHOUT_TORCH = ("imaging", "bundles", "datasets", "site", "pacs")
# Who may import whom: a package imports itself and these. All may import the foundation.
BELOW: dict[str, set[str]] = {
    "foundation": set(),
    "mathematics": set(),
    "imaging": set(),
    "bundles": {"imaging"},
    "datasets": {"imaging"},
    "site": {"imaging", "bundles", "datasets", "pacs"},
    "synthesis": {"mathematics"},
    "node": {"mathematics", "imaging", "bundles", "pacs"},
    "training": {"mathematics", "imaging", "bundles", "datasets", "synthesis"},
    "pacs": {"imaging", "bundles"},
    "inference": {"mathematics", "imaging", "bundles", "pacs"},
    "adaptation": {"mathematics", "imaging", "bundles", "site", "synthesis", "training", "inference"},
    "archive": set(),
    "federation": {"mathematics", "bundles", "site", "training", "inference", "adaptation"},
    "commands": {
        "archive",
        "federation",
        "imaging",
        "bundles",
        "datasets",
        "site",
        "pacs",
        "node",
        "training",
        "inference",
        "adaptation",
    },
    "top": {"imaging", "bundles", "pacs", "inference", "commands"},
}

SLICER = {"PythonQt", "ctk", "qt", "slicer", "trame", "trame_slicer", "vtk", "vtkmodules"}


def name_of(path: Path) -> str:
    """``commands.doctor`` for ``commands/doctor.py``."""
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


MODULES = {name_of(path): path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"}
LIGHT = sorted(FOUNDATION) + sorted(name for name in MODULES if name.split(".")[0] in WITHOUT_TORCH and "." in name)


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


def package_of(name: str) -> str:
    """The package of a module; those that are in none are the foundation, mathematics or the top."""
    if "." in name:
        return name.split(".", maxsplit=1)[0]
    return "foundation" if name in FOUNDATION else "mathematics" if name in MATHEMATICS else "top"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_downwards(name):
    own = package_of(name)
    packages = {package_of(imported) for imported in imported_modules(name)}
    assert packages <= {own, "foundation", *BELOW[own]}


def test_packages_form_layers():
    graphlib.TopologicalSorter(BELOW).prepare()
    assert {package_of(name) for name in MODULES} == set(BELOW)


def test_mathematics_takes_of_the_foundation_only_its_errors():
    imported = set().union(*map(imported_modules, MATHEMATICS))
    assert imported <= MATHEMATICS | {"errors"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_library_imports_nothing_of_slicer(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & SLICER


@pytest.mark.parametrize("name", LIGHT)
def test_what_the_graphical_process_imports_never_imports_torch(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & {"torch", "monai"}


@pytest.mark.parametrize("name", sorted(MATHEMATICS))
def test_network_and_losses_know_no_files(name):
    assert not {full.split(".")[0] for full in imported_names(MODULES[name])} & {"SimpleITK", "json", "os", "pathlib"}


def test_no_module_imports_itself_by_a_detour():
    graphlib.TopologicalSorter({name: imported_modules(name) for name in MODULES}).prepare()


def test_what_the_graphical_process_imports_loads_neither_torch_nor_slicer():
    names = [f"CrossModalSegLib.{name}" for name in LIGHT]
    code = f"import sys, {', '.join(names)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "monai", "matplotlib", *SLICER} & set(loaded)


SLICERS_OWN_PYTHON = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        root = name.split(".")[0]
        if root.startswith("_sysconfigdata"):  # Python's own, with the name of the platform
            return
        if root not in {"numpy", "SimpleITK", "pydicom", "scipy", "CrossModalSegLib", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"not in 3D Slicer's own Python: {name}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_the_graphical_process_lists_bundles_before_any_package_is_installed():
    names = [f"CrossModalSegLib.{name}" for name in LIGHT]
    listing = (
        "from CrossModalSegLib.bundles.bundle import list_bundles; print(*(bundle.name for bundle in list_bundles()))"
    )
    code = f"{SLICERS_OWN_PYTHON}\nimport {', '.join(names)}\n{listing}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "brain-mr-pair" in done.stdout.split()


def test_every_module_named_here_exists():
    assert not (FOUNDATION | MATHEMATICS) - set(MODULES)


def test_a_package_s_own_file_says_what_it_holds_and_imports_nothing():
    for path in LIBRARY.glob("*/__init__.py"):
        (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr)


def test_the_picture_shows_every_package():
    picture = (LIBRARY.parent / "docs" / "architecture.svg").read_text(encoding="utf-8")
    packages = [path.parent.name for path in LIBRARY.glob("*/__init__.py")]
    assert len(packages) > 5
    assert [name for name in packages if f">{name}</text>" not in picture] == []

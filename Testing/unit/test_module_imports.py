"""What the rooms of the module import: Qt in one of them, downwards only, nothing that Slicer's own Python lacks."""

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "CrossModalSeg"
APP = MODULE / "CrossModalSegApp"
# Each room, and those below it that its files may import.
ROOMS = {
    "scene": set(),
    "process": set(),
    "logic": {"scene", "process"},
    "qt": {"scene", "process", "logic"},
    "web": {"scene", "process", "logic"},
}
FILES = {f"{room}/{path.name}": path for room in ROOMS for path in sorted((APP / room).glob("*.py"))}
NOT_WEB = [name for name in FILES if not name.startswith("web/")]
WITHOUT_VIEW = [name for name in NOT_WEB if not name.startswith("qt/")]
DESKTOP_ONLY = {
    "slicer.parameterNodeWrapper",
    "slicer.ScriptedLoadableModule",
    "qt",
    "ctk",
    "SampleData",
}
MAKES_DO = {"logic/translation.py"}  # has another way where there is no desktop
NOT_IN_SLICER = {
    "torch",
    "monai",
    "safetensors",
    "matplotlib",
    "psutil",
    "pydantic",
    "jinja2",
    "rich",
    "aiohttp",
    "trame",
    "trame_slicer",
}


def imports_of(path, top_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def rooms_of(path):
    """The rooms that a file imports from."""
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("CrossModalSegApp.")}


def test_every_room_is_named_here():
    assert {path.parent.name for path in APP.glob("*/*.py")} == set(ROOMS)
    assert [path.name for path in APP.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("name", FILES)
def test_rooms_import_only_those_below_them(name):
    room = name.split("/")[0]
    assert rooms_of(FILES[name]) <= ROOMS[room] | {room}


@pytest.mark.parametrize("name", sorted(set(WITHOUT_VIEW) - MAKES_DO))
def test_what_is_no_view_needs_no_desktop(name):
    assert not imports_of(FILES[name], top_only=True) & (DESKTOP_ONLY | {"slicer.i18n"})
    assert not imports_of(FILES[name]) & {"qt", "ctk"}


@pytest.mark.parametrize("name", NOT_WEB)
def test_nothing_is_imported_that_slicer_does_not_have(name):
    assert not {full.split(".")[0] for full in imports_of(FILES[name])} & NOT_IN_SLICER


def names_of(path):
    """What a file defines at its top."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign | ast.Try) else [node]
        names |= {one.id for one in inner if isinstance(one, ast.Name)}
        names |= {one.name for one in ast.walk(node) if isinstance(one, ast.ClassDef | ast.FunctionDef)}
    return names


def test_a_name_is_imported_from_its_home():
    """No file passes on what it has from another one."""
    homes = {f"CrossModalSegApp.{name.replace('/', '.').removesuffix('.py')}": path for name, path in FILES.items()}
    passed_on = [
        f"{name}: {alias.name} of {node.module}"
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in homes
        for alias in node.names
        if alias.name not in names_of(homes[node.module])
    ]
    assert passed_on == []


def test_the_picture_shows_every_room():
    picture = (MODULE.parent / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert [room for room in ROOMS if f">{room}</text>" not in picture] == []


def test_the_file_that_slicer_loads_at_its_start_is_short_and_imports_nothing_heavy():
    path = MODULE / "CrossModalSeg.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
    tops = {full.split(".")[0] for full in imports_of(path, top_only=True)}
    assert tops <= {"sys", "pathlib", "slicer"}

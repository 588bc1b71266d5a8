"""What the Slicer module's files import: Qt in the views only, and nothing that Slicer's own Python lacks."""

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "CrossModalSeg" / "CrossModalSegUI"
FILES = {path.stem: path for path in MODULE.glob("*.py")}
VIEWS = {name for name in FILES if name.endswith("_panel")} | {
    "case_setup",
    "dialogs",
    "parameters",
    "widget",
    "worker_process",
    "wrapped_labels",
}
DESKTOP_ONLY = {
    "slicer.i18n",
    "slicer.parameterNodeWrapper",
    "slicer.ScriptedLoadableModule",
    "qt",
    "ctk",
    "SampleData",
}
NOT_IN_SLICER = {"torch", "monai", "safetensors", "matplotlib", "psutil", "pydantic", "rich", "tqdm"}


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


@pytest.mark.parametrize("name", sorted(set(FILES) - VIEWS))
def test_what_is_no_view_needs_no_desktop(name):
    assert not imports_of(FILES[name], top_only=True) & DESKTOP_ONLY


@pytest.mark.parametrize("name", sorted(set(FILES) - VIEWS))
def test_what_is_no_view_imports_no_view(name):
    views = {f"CrossModalSegUI.{view}" for view in VIEWS}
    assert not imports_of(FILES[name]) & views


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_imported_that_slicer_does_not_have(name):
    assert not {full.split(".")[0] for full in imports_of(FILES[name])} & NOT_IN_SLICER


def test_the_file_that_slicer_loads_at_its_start_is_short_and_imports_nothing_heavy():
    path = MODULE.parent / "CrossModalSeg.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100
    tops = {full.split(".")[0] for full in imports_of(path, top_only=True)}
    assert tops <= {"sys", "pathlib", "slicer"}

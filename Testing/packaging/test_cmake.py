"""The extension is configured and installed by CMake, against a stand-in for Slicer's macros; the installed tree works.

What this proves: every file is listed, lands where Slicer looks for modules, and is found there by the code. It does
not prove that Slicer's own build system takes the files; its macros are not here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).parent / "stand_in"
MODULES = "lib/Slicer-5.11/qt-scripted-modules"
# Folder in the source tree, and below the installed modules.
FOLDERS = {"CrossModalSeg": "", "CrossModalSegLib": "CrossModalSegLib", "training_cli": "training_cli"}
NOT_INSTALLED = {"CrossModalSeg": "CrossModalSegApp/web/"}  # trame is not in Slicer
WITHOUT_DESKTOP = ("scene", "process", "logic")  # the rooms of CrossModalSegApp that need no Qt


@pytest.fixture(scope="session")
def cmake():
    """Runs cmake with some arguments; CalledProcessError with its output where it fails."""
    beside = Path(sys.executable).with_name("cmake")
    program = str(beside) if beside.is_file() else shutil.which("cmake")
    if program is None:
        pytest.skip("cmake is not installed: pip install cmake")

    def run(*arguments):
        done = subprocess.run([program, *map(str, arguments)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def build(cmake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cmake") / "build"
    cmake("-S", REPOSITORY, "-B", folder, f"-DSlicer_DIR={STAND_IN}", "-DBUILD_TESTING=ON", "-Werror=dev")
    return folder


@pytest.fixture(scope="session")
def installed(cmake, build):
    """The folder of the installed modules, as Slicer has it on its path."""
    target = build.parent / "installed"
    cmake("--install", build, "--prefix", target)
    return target / MODULES


def files_below(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "CMakeLists.txt")
    return {path.relative_to(folder).as_posix() for path in files if "__pycache__" not in path.parts}


def expected_files():
    """All that the source tree has, by its installed path, without what runs in a browser only."""
    return {
        f"{target}/{file}".lstrip("/")
        for source, target in FOLDERS.items()
        for file in files_below(REPOSITORY / source)
        if not file.startswith(NOT_INSTALLED.get(source, "/"))
    }


def test_every_file_is_installed(installed):
    missing = sorted(expected_files() - files_below(installed))
    assert not missing, f"add these to the CMakeLists.txt of their folder: {missing}"


def test_nothing_else_is_installed(installed):
    assert files_below(installed) - expected_files() == set()


def test_installed_files_are_the_source_s(installed):
    for source, target in FOLDERS.items():
        for file in files_below(REPOSITORY / source) & files_below(installed / target):
            assert (installed / target / file).read_bytes() == (REPOSITORY / source / file).read_bytes()


@pytest.mark.parametrize("folder", FOLDERS)
def test_lists_name_each_file_once_and_find_none_by_pattern(folder):
    text = (REPOSITORY / folder / "CMakeLists.txt").read_text()
    assert "GLOB" not in text
    listed = re.findall(r"^  ([\w./${}-]+\.\w+)$", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert len(listed) >= 4, "the lists are not written as this test reads them"


def test_the_module_s_own_test_is_registered(build):
    assert "py_CrossModalSeg" in (build / "CrossModalSeg" / "CTestTestfile.cmake").read_text()


def python(installed, code, *arguments, home):
    """Runs Python as Slicer would with the extension alone: the installed modules, and no environment of a
    developer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSMODALSEG")}
    environment |= {"PYTHONPATH": str(installed), "XDG_DATA_HOME": str(home), "HOME": str(home)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # loads torch and MONAI
def test_the_installed_library_and_the_module_s_qt_free_files_import(installed, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    folders = ["CrossModalSegLib", *(f"CrossModalSegApp/{room}" for room in WITHOUT_DESKTOP)]
    files = [path.relative_to(installed) for folder in folders for path in (installed / folder).rglob("*.py")]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    assert "CrossModalSegLib.worker" in names
    assert "CrossModalSegApp.scene.scene_io" in names
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    print(importlib.import_module(name).__file__)"
    places = python(installed, code, *names, home=tmp_path).split("\n")
    assert [place for place in places if place and not place.startswith(str(installed))] == []


def test_the_installed_code_finds_its_bundle_label_maps_and_resources(installed, tmp_path):
    code = """
import json
from CrossModalSegLib.bundles.bundle import list_bundles, load_bundle
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, read_label_map
from CrossModalSegApp.process import dependencies
from CrossModalSegApp.scene import sample_data
bundle = load_bundle(list_bundles()[0].path)
read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
files = [bundle.path, dependencies.REQUIREMENTS, sample_data.THUMBNAIL]
files += [sample_data.FOLDER / file for _, file, _ in sample_data.VOLUMES]
print(json.dumps([str(file) for file in files if file.exists()]))
"""
    found = json.loads(python(installed, code, home=tmp_path))
    assert [Path(file).relative_to(installed).as_posix() for file in found] == [
        "Resources/Bundles/brain-mr-pair",
        "Resources/requirements.txt",
        "Resources/Icons/HeadPhantom.png",
        "Resources/SampleData/phantom_T1w.nrrd",
        "Resources/SampleData/phantom_T2w.nrrd",
    ]


def test_the_installed_worker_answers(installed, tmp_path):
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"id": "1", "action": "ping", "arguments": {}}) + "\n")
    output = python(installed, "", "-m", "CrossModalSegLib.worker", "--request", str(request), home=tmp_path)
    assert json.loads(output) == {}

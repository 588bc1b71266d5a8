"""Installing what Slicer lacks: what is missing, who is asked, and that Slicer's own packages are left alone."""

import subprocess
import sys
import threading
import tomllib
import types
import zipfile
from pathlib import Path

import pytest

from CrossModalSegApp.process import dependencies
from CrossModalSegApp.process.dependencies import Installer, SlicerPackages, WheelFolder, missing_packages, requirements
from CrossModalSegLib.errors import InstallError

SLICER = {"numpy": "2.1.0", "scipy": "1.15.0", "SimpleITK": "2.5.0", "pydicom": "3.0.1"}
COMPLETE = SLICER | {
    "torch": "2.13.0+cu129",
    "monai": "1.6.1",
    "filelock": "3.20",
    "jinja2": "3.1.6",
    "matplotlib": "3.10.0",
    "psutil": "7.0",
    "pydantic": "2.14.4",
    "rich": "14.0",
    "safetensors": "0.5.0",
}


class RecordingSource:
    """Notes what it is asked to install, and 'installs' it into ``packages``."""

    def __init__(self, packages, brings=COMPLETE):
        self.packages, self.brings = packages, brings
        self.calls = []

    def install_torch(self, versions, constraints):
        self.calls.append((f"torch{versions}", constraints.read_text()))
        self._bring("torch")

    def install(self, packages, constraints):
        self.calls.append((tuple(packages), constraints.read_text()))
        for package in packages:
            self._bring(package.split(">")[0])

    def _bring(self, name):
        if name in self.brings:
            self.packages[name] = self.brings[name]


def versions_of(packages):
    """What `importlib.metadata` would say, from a dict that may change meanwhile."""
    return lambda name: {key.lower(): version for key, version in packages.items()}.get(name.lower())


@pytest.fixture
def fresh_slicer():
    """A Slicer with nothing installed but its own packages: the packages, and a source that installs into them."""
    packages = dict(SLICER)
    return packages, RecordingSource(packages)


def test_the_list_for_slicer_is_that_of_the_project_but_for_torch_and_dicom():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    wanted = {entry for entry in project["dependencies"] if not entry.startswith("pydicom")}
    assert {str(requirement) for requirement in requirements()} == wanted


def test_nothing_is_missing_where_these_tests_run():
    assert missing_packages() == []


def test_absent_and_outdated_packages_are_missing():
    packages = COMPLETE | {"monai": "1.5.0", "torch": "2.7.1"}
    del packages["rich"]
    missing = missing_packages(versions_of(packages))
    found = [(requirement.name, requirement.installed) for requirement in missing]
    assert found == [("torch", "2.7.1"), ("monai", "1.5.0"), ("rich", None)]


def test_prereleases_of_slicer_s_builds_will_do():
    assert missing_packages(versions_of(COMPLETE | {"torch": "2.14.0.dev20261001+cu130", "numpy": "2.4.0rc1"})) == []


@pytest.mark.parametrize(
    ("version", "is_enough"), [("2.8.0", True), ("2.9.0", False), ("2.9.1+cu128", False), ("2.10.0", True)]
)
def test_the_slow_pytorch_2_9_is_not_enough(version, is_enough):
    assert (missing_packages(versions_of(COMPLETE | {"torch": version})) == []) is is_enough


def test_torch_comes_first_and_what_slicer_brings_is_pinned(fresh_slicer):
    packages, source = fresh_slicer
    questions = []
    installer = Installer(source, lambda text: questions.append(text) or True, versions_of(packages))
    assert installer.install(missing_packages(versions_of(packages)))
    own = "numpy==2.1.0\npydicom==3.0.1\nscipy==1.15.0\nsimpleitk==2.5.0\n"
    others = ("filelock>=3.13", "jinja2>=3.1", "matplotlib>=3.9", "monai>=1.6.1,<1.7", "psutil>=6.0", "pydantic>=2.10")
    others += (
        "rich>=13.7",
        "safetensors>=0.5",
    )
    assert source.calls == [("torch>=2.8,!=2.9.*", own), (others, own + "torch==2.13.0+cu129\n")]
    assert len(questions) == 1
    assert "monai>=1.6.1,<1.7" in questions[0]
    assert "numpy" not in questions[0]


def test_nothing_is_installed_without_consent(fresh_slicer):
    packages, source = fresh_slicer
    assert not Installer(source, lambda _text: False, versions_of(packages)).install(
        missing_packages(versions_of(packages))
    )
    assert source.calls == []


def test_an_outdated_package_of_slicer_s_own_is_refused_before_anybody_is_asked(fresh_slicer):
    packages, source = fresh_slicer
    packages["numpy"] = "1.26.4"
    asked = []
    installer = Installer(source, asked.append, versions_of(packages))
    with pytest.raises(InstallError, match=r"slicer-too-old.*numpy 1\.26\.4.*numpy>=2\.0"):
        installer.install(missing_packages(versions_of(packages)))
    assert asked == source.calls == []


def test_what_is_missing_after_installing_is_an_error(fresh_slicer):
    packages, source = fresh_slicer
    source.brings = {name: version for name, version in COMPLETE.items() if name != "monai"}
    with pytest.raises(InstallError, match=r"still-missing.*monai>=1\.6\.1"):
        Installer(source, lambda _text: True, versions_of(packages)).install(missing_packages(versions_of(packages)))


def test_a_failure_of_pip_is_told_with_a_remedy(fresh_slicer):
    packages, source = fresh_slicer

    def fail(_packages, _constraints):
        raise subprocess.CalledProcessError(1, "pip")

    source.install = fail
    with pytest.raises(InstallError, match=r"pip-failed.*pip ended with 1.*network"):
        Installer(source, lambda _text: True, versions_of(packages)).install(missing_packages(versions_of(packages)))


def test_installing_outside_the_main_thread_is_a_fault(fresh_slicer):
    packages, source = fresh_slicer
    raised = []

    def run():
        try:
            Installer(source, lambda _text: True, versions_of(packages)).install([])
        except RuntimeError as error:
            raised.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert raised == ["packages are installed from the main thread only: pip would race with imports"]
    assert source.calls == []


@pytest.mark.usefixtures("desktop")
def test_without_the_extension_pytorch_the_remedy_is_named(tmp_path):
    with pytest.raises(InstallError, match=r"no-pytorch-extension.*Extensions Manager: install PyTorch"):
        SlicerPackages().install_torch(">=2.8", tmp_path)


def test_torch_is_asked_of_the_extension_in_the_version_that_is_needed(monkeypatch, tmp_path):
    calls = []
    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = lambda: types.SimpleNamespace(installTorch=lambda **options: calls.append(options))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    SlicerPackages().install_torch(">=2.8", tmp_path)
    assert calls == [{"askConfirmation": False, "torchVersionRequirement": ">=2.8"}]


@pytest.mark.usefixtures("desktop")
def test_newer_slicers_install_with_their_own_progress(monkeypatch, tmp_path):
    calls = []
    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure = lambda *arguments, **options: calls.append((arguments, options))
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    SlicerPackages().install(["rich>=13.7"], tmp_path)
    options = {"constraints": tmp_path, "prompt_install": False, "requester": "CrossModalSeg"}
    assert calls == [((["rich>=13.7"],), options)]


@pytest.mark.usefixtures("desktop")
def test_older_slicers_install_with_pip_install(monkeypatch, tmp_path):
    import slicer

    calls = []
    monkeypatch.setattr(slicer.util, "pip_install", calls.append)
    SlicerPackages().install(["rich>=13.7"], tmp_path)
    assert calls == [["--constraint", str(tmp_path), "rich>=13.7"]]


def wheel(folder, name, requires=""):
    """A wheel with one empty module, as pip takes it."""
    information = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", "")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        archive.writestr(f"{information}/METADATA", metadata + (f"Requires-Dist: {requires}\n" if requires else ""))
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")


@pytest.fixture
def pip_into(monkeypatch, tmp_path):
    """Slicer's pip_install as it is, but into a folder of the test."""
    slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
    target = tmp_path / "site"

    def pip_install(arguments):
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--target", str(target)]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    return target


def test_pip_installs_from_a_folder_of_wheels_without_a_network(pip_into, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "needed", requires="bystander")
    wheel(wheels, "bystander")
    (tmp_path / "constraints.txt").write_text("bystander==1.0\n")
    WheelFolder(wheels).install(["needed>=1.0"], tmp_path / "constraints.txt")
    assert (pip_into / "needed.py").is_file()
    assert (pip_into / "bystander.py").is_file()


def test_pip_refuses_rather_than_change_what_the_constraints_pin(pip_into, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "needed", requires="bystander")
    wheel(wheels, "bystander")
    (tmp_path / "constraints.txt").write_text("bystander==0.9\n")
    with pytest.raises(subprocess.CalledProcessError):
        WheelFolder(wheels).install(["needed>=1.0"], tmp_path / "constraints.txt")
    assert not pip_into.exists()


def test_a_folder_without_wheels_is_refused(tmp_path):
    with pytest.raises(InstallError, match=r"no-wheels.*CROSSMODALSEG_WHEELS"):
        WheelFolder(tmp_path)


def test_an_error_is_shown_and_stops_the_run(desktop, monkeypatch):
    nothing = [dependencies.Requirement("torch", ">=2.8")]
    monkeypatch.setattr(dependencies, "missing_packages", lambda *_: nothing)
    desktop.dialogs.answer("ok")
    assert dependencies.ensure_packages() is False
    question, error = desktop.dialogs.texts()
    assert "torch>=2.8" in question
    assert error.startswith("PyTorch is missing")


def test_a_run_goes_on_without_a_question_where_all_is_there(desktop):
    assert dependencies.ensure_packages() is True
    assert desktop.dialogs.shown == []

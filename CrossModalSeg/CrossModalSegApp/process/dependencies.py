"""Python packages that the worker needs and Slicer does not bring: what is missing, and how it gets there.

Slicer's own packages are checked, but never installed or changed: other modules rely on them. PyTorch is installed by
the extension PyTorch, which knows the builds for each GPU. Without a network, all comes from a folder of wheels.
Nothing heavy is imported to find out what is there.
"""

import importlib
import importlib.metadata
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from CrossModalSegLib.errors import CrossModalSegError, InstallError

REQUIREMENTS = Path(__file__).resolve().parents[2] / "Resources" / "requirements.txt"
TORCH = "torch>=2.8,!=2.9.*"  # 2.9: its 3D convolutions are slow
DICOM = "highdicom>=0.28"  # what writing DICOM objects needs besides; installed when it is first wanted
SLICERS_OWN = frozenset({"numpy", "pydicom", "scipy", "simpleitk"})
WHEELS = "CROSSMODALSEG_WHEELS"
"""The environment variable that names a folder of wheels to install from instead of the network."""

InstalledVersion = Callable[[str], str | None]


def installed_version(name: str) -> str | None:
    """The version of an installed package, None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Requirement:
    """A package, the versions that will do (``>=1.6.1,<1.7``), and the version that is there now, if any."""

    name: str
    versions: str
    installed: str | None = None

    def __str__(self) -> str:
        return f"{self.name}{self.versions}"

    @property
    def is_met(self) -> bool:
        return self.installed is not None and _fits(self.installed, self.versions)

    @property
    def is_slicers_own(self) -> bool:
        return self.name.lower() in SLICERS_OWN


def _fits(version: str, versions: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ModuleNotFoundError:  # pip, which is always there, has a copy
        from pip._vendor.packaging.specifiers import SpecifierSet
    return SpecifierSet(versions).contains(version, prereleases=True)


def requirements(version: InstalledVersion = installed_version) -> list[Requirement]:
    """All that the worker needs, PyTorch first, with what is installed."""
    lines = [line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    return [_parse(line, version) for line in (TORCH, *filter(None, lines))]


def _parse(line: str, version: InstalledVersion) -> Requirement:
    name = line[: next(position for position, letter in enumerate(line) if letter in "<>=!~")]
    return Requirement(name, line[len(name) :], version(name))


def missing_packages(version: InstalledVersion = installed_version) -> list[Requirement]:
    """The packages that are not there, or in a version that will not do."""
    return [requirement for requirement in requirements(version) if not requirement.is_met]


class PackageSource(Protocol):
    """Where packages come from. What goes wrong is raised as CalledProcessError, or as an InstallError."""

    def install_torch(self, versions: str, constraints: Path) -> None:
        """Install PyTorch."""

    def install(self, packages: Sequence[str], constraints: Path) -> None:
        """Install ``name>=version`` strings without changing what the file ``constraints`` (of pip) pins."""


class Installer:
    """Installs what is missing, after asking. ``ask`` shows a question and returns whether to go on."""

    def __init__(
        self, source: PackageSource, ask: Callable[[str], bool], version: InstalledVersion = installed_version
    ):
        self._source, self._ask, self._version = source, ask, version

    def install(self, missing: Sequence[Requirement]) -> bool:
        """Install ``missing`` and check again. False where the user declined.

        Raises InstallError ``slicer-too-old``, ``pip-failed`` or ``still-missing``, and what the source raises.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("packages are installed from the main thread only: pip would race with imports")
        _refuse_to_replace(missing)
        if missing and not self._ask(_question(missing)):
            return False
        try:
            self._install(missing)
        except subprocess.CalledProcessError as error:
            what = f"installing {_names(missing)} failed: pip ended with {error.returncode}"
            hint = "the Python console says why; check the network and the free disk space, or use a folder of wheels"
            raise InstallError("pip-failed", what, hint) from error
        self._check()
        return True

    def _install(self, missing: Sequence[Requirement]) -> None:
        torch = [requirement for requirement in missing if requirement.name == "torch"]
        others = [str(requirement) for requirement in missing if requirement.name != "torch"]
        for requirement in torch:  # first: of the others, some would bring another build of it
            with _what_stays(self._version, SLICERS_OWN) as constraints:
                self._source.install_torch(requirement.versions, constraints)
        if others:
            with _what_stays(self._version, {*SLICERS_OWN, "torch"}) as constraints:
                self._source.install(others, constraints)

    def _check(self) -> None:
        importlib.invalidate_caches()
        missing = missing_packages(self._version)
        if missing:
            what = f"after installing, there is still no {_names(missing)}"
            raise InstallError("still-missing", what, "restart Slicer and try again")


@contextmanager
def _what_stays(version: InstalledVersion, names: Sequence[str] | set[str] | frozenset[str]) -> Iterator[Path]:
    """A constraints file of pip that pins the packages of ``names`` to what is installed."""
    with tempfile.TemporaryDirectory(prefix="CrossModalSeg-") as folder:
        path = Path(folder) / "constraints.txt"
        pins = [f"{name}=={version(name)}\n" for name in sorted(names) if version(name) is not None]
        path.write_text("".join(pins), encoding="utf-8")
        yield path


def _refuse_to_replace(missing: Sequence[Requirement]) -> None:
    own = [requirement for requirement in missing if requirement.is_slicers_own]
    if own:
        there = ", ".join(f"{requirement.name} {requirement.installed or '(missing)'}" for requirement in own)
        what = f"this Slicer has {there}, and {_names(own)} is needed"
        raise InstallError("slicer-too-old", what, "use Slicer 5.10 or newer, these packages are part of it")


def _names(requirements: Sequence[Requirement]) -> str:
    return ", ".join(str(requirement) for requirement in requirements)


def _question(missing: Sequence[Requirement]) -> str:
    size = "1 GB without a GPU, 3 GB with" if any(requirement.name == "torch" for requirement in missing) else "100 MB"
    return (
        f"These Python packages are needed once, and will be installed into Slicer (about {size}):\n\n"
        + "\n".join(str(requirement) for requirement in missing)
        + "\n\nSlicer waits meanwhile. Go on?"
    )


class SlicerPackages:
    """PyTorch by the extension PyTorch, the rest by Slicer's own pip. Needs a network."""

    def install_torch(self, versions: str, constraints: Path) -> None:
        del constraints  # the extension has its own way of choosing a build
        try:
            from PyTorchUtils import PyTorchUtilsLogic
        except ModuleNotFoundError as error:
            what = "PyTorch is missing, and so is Slicer's extension that installs it"
            hint = f"Extensions Manager: install PyTorch, restart Slicer; or name a folder of wheels in {WHEELS}"
            raise InstallError("no-pytorch-extension", what, hint) from error
        PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=versions)

    def install(self, packages: Sequence[str], constraints: Path) -> None:
        import slicer

        try:
            from slicer.packaging import pip_ensure  # Slicer 5.11 and newer: with progress
        except ImportError:
            slicer.util.pip_install(["--constraint", str(constraints), *packages])
        else:
            pip_ensure(list(packages), constraints=constraints, prompt_install=False, requester="CrossModalSeg")


class WheelFolder:
    """A folder of wheels that was filled on another computer; nothing is downloaded."""

    def __init__(self, folder: Path):
        """Raises InstallError ``no-wheels`` where the folder holds none."""
        if not any(folder.glob("*.whl")):
            what = f"there are no wheels in {folder}"
            raise InstallError("no-wheels", what, f"fill it with `pip download`, or do not set {WHEELS}")
        self._folder = folder

    def install_torch(self, versions: str, constraints: Path) -> None:
        self.install([f"torch{versions}"], constraints)

    def install(self, packages: Sequence[str], constraints: Path) -> None:
        import slicer

        options = ["--no-index", "--find-links", str(self._folder), "--constraint", str(constraints)]
        slicer.util.pip_install([*options, *packages])


def default_source() -> PackageSource:
    """The folder that the environment names, else Slicer's own way."""
    folder = os.environ.get(WHEELS)
    return WheelFolder(Path(folder)) if folder else SlicerPackages()


def ensure_packages() -> bool:
    """Ask for and install what is missing, with Slicer's dialogs. True where all is there; errors are shown."""
    return _ensured(missing_packages())


def ensure_dicom() -> bool:
    """The same, with what writing DICOM objects needs besides."""
    dicom = _parse(DICOM, installed_version)
    return _ensured([*missing_packages(), *([] if dicom.is_met else [dicom])])


def _ensured(missing: Sequence[Requirement]) -> bool:
    import slicer

    if not missing:
        return True
    try:
        return Installer(default_source(), slicer.util.confirmOkCancelDisplay).install(missing)
    except CrossModalSegError as error:
        slicer.util.errorDisplay(f"{error.message}\n\n{error.hint}", windowTitle="CrossModalSeg")
        return False

"""``crossmodalseg doctor``: what a bug report needs to know about this installation and this machine."""

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from CrossModalSegLib import __version__

PACKAGES = ("torch", "monai", "SimpleITK", "numpy", "scipy", "safetensors", "matplotlib")
VARIABLES = ("CROSSMODALSEG_BUNDLES", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")  # as torch names what a CPU can do
GIB = 1024**3


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    subparsers.add_parser(
        "doctor",
        help="report versions, hardware and bundles, for a bug report",
        description="Reports versions, CPU, GPU, memory, disk and model bundles as text for a bug report. Nothing is "
        "sent anywhere, and the home folder is shown as ~.",
        epilog="example: crossmodalseg doctor > doctor.txt",
    )


def run(_args: argparse.Namespace) -> int:
    print(report())
    return 0


def report() -> str:
    """The report as lines of ``topic: finding``; what cannot be found out says so instead of failing."""
    topics = [
        ("CrossModalSeg", [__version__]),
        ("Python", [f"{platform.python_version()} on {platform.platform()}"]),
        ("packages", [", ".join(f"{name} {_version(name)}" for name in PACKAGES)]),
        ("CPU", _cpu()),
        ("GPU", _gpus()),
        ("memory", _memory()),
        ("disk", _disk()),
        ("bundles", _bundles()),
        ("environment", [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]),
    ]
    lines = [f"{topic + ':':15}{finding}" for topic, findings in topics for finding in findings]
    return _without_home("\n".join(lines))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _cpu() -> Iterator[str]:
    import psutil

    yield f"{psutil.cpu_count(logical=False)} cores, {psutil.cpu_count()} logical, {platform.machine()}"
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of torch does not load
        yield f"torch does not load: {error}"
        return
    # Only recent versions of torch tell in detail what the CPU can do.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    units = [name for name in BFLOAT16_UNITS if capabilities.get(name)]
    bfloat16 = (", ".join(units) or "none") if capabilities else "unknown to this version of torch"
    yield f"torch uses {torch.backends.cpu.get_cpu_capability()} and {torch.get_num_threads()} threads"
    yield f"bfloat16 units: {bfloat16}"


def _gpus() -> Iterator[str]:
    try:
        import torch
    except (ImportError, OSError):  # reported under CPU
        return
    if not torch.cuda.is_available():
        yield f"none that torch can use (built for CUDA {torch.version.cuda or 'none'})"
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        capability = f"compute capability {properties.major}.{properties.minor}, CUDA {torch.version.cuda}"
        yield f"{properties.name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free, {capability}"


def _memory() -> Iterator[str]:
    import psutil

    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    yield f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free, {own / GIB:.1f} GiB used by this report"


def _disk() -> Iterator[str]:
    import psutil

    for what, folder in (("working folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        usage = psutil.disk_usage(str(folder))
        yield f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free for {what} ({folder})"


def _bundles() -> Iterator[str]:
    from CrossModalSegLib.bundles.bundle import bundle_search_path

    for place in bundle_search_path():
        folders = sorted(folder for folder in place.glob("[!.]*") if folder.is_dir())
        yield f"looked in {place}: {'' if place.is_dir() else 'no such folder, '}{len(folders)} found"
        yield from (f"  {_bundle(folder)}" for folder in folders)


def _bundle(folder: Path) -> str:
    from CrossModalSegLib.bundles.bundle import load_bundle
    from CrossModalSegLib.errors import CrossModalSegError

    try:
        bundle = load_bundle(folder)
    except CrossModalSegError as error:
        return f"{folder.name}: {error}"
    return f"{bundle.name} {bundle.version}, {' + '.join(bundle.modalities)}, sha256 {bundle.sha256[:16]}, intact"


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text if home == Path.home().anchor else text.replace(home, "~").replace(str(Path.home().resolve()), "~")

"""Every benchmark can be started: its modules are imported, which builds their defaults as well."""

import importlib

import pytest

from Testing.Benchmarks.method.run import REPOSITORY

FILES = sorted((REPOSITORY / "Testing" / "Benchmarks").rglob("*.py"))
NEEDS = {"Testing.Benchmarks.speed.nnunet_pipeline": "nnunetv2"}  # in an environment of its own
MODULES = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in FILES]


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith(("__init__", "__main__"))])
def test_a_benchmark_can_be_started(module):
    if module in NEEDS:
        pytest.importorskip(NEEDS[module])
    importlib.import_module(module)

"""The engines of the speed benchmark, each with its Python."""

import sys

import pytest

from CrossModalSegLib.bundles.bundle import load_bundle
from Testing.Benchmarks.speed.bench import argument_parser, engine, pythons, run
from Testing.Benchmarks.speed.pairs import Pair
from Testing.Benchmarks.speed.starter_history import REPOSITORY, STARTER

HERE = {"ours": sys.executable, "monai-bf16": sys.executable, "monai-fp32": sys.executable}


def test_nnunet_is_left_out_unless_its_python_is_given():
    assert pythons(argument_parser().parse_args([])) == HERE


def test_nnunet_comes_after_the_others_with_its_own_python():
    found = pythons(argument_parser().parse_args(["--nnunet-python", "nnunet-env/bin/python"]))
    assert [*found.items()] == [*HERE.items(), ("nnunet", "nnunet-env/bin/python")]


def test_nnunet_cannot_be_asked_for_without_its_python(capsys):
    with pytest.raises(SystemExit):
        argument_parser().parse_args(["--engines", "nnunet"])
    assert "invalid choice: 'nnunet'" in capsys.readouterr().err


def test_a_python_that_ends_at_once_is_reported(tmp_path):
    with engine("nnunet", "false", load_bundle(REPOSITORY / STARTER), threads=1) as process:
        process.wait()
        with pytest.raises(SystemExit, match=r"the engine ended: .*'false'"):
            run(process, Pair({}, {}), tmp_path)

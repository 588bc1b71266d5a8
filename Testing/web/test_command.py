"""``crossmodalseg-web``: what is wrong with its arguments is one line and exit code 2, before anything is loaded."""

import socket
import sys

import pytest

from CrossModalSegApp.web.access import HOST
from CrossModalSegApp.web.command import main


def the_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "65536"], "'65536' is no port: give a number from 1 to 65535"),
        (["--port", "-5"], "'-5' is no port"),
        (["--port", "http"], "'http' is no port"),
        (["--upload-limit", "nan"], "'nan' is no size in GB above 0"),
        (["--upload-limit", "-1"], "'-1' is no size in GB above 0"),
        (["--upload-limit", "much"], "'much' is no size in GB"),
        (["--input", "scan.nii.gz"], "'scan.nii.gz' is not MODALITY=PATH"),
    ],
)
def test_arguments_that_cannot_be_are_one_line(arguments, said, capsys):
    try:
        status = main(["--no-browser", *arguments])
    except SystemExit as left:  # the parser's own way out
        status = left.code
    assert status == 2
    line = the_error_line(capsys)
    assert line.startswith("error[usage]: ")
    assert said in line


def test_a_port_that_another_program_has_is_told_before_anything_is_loaded(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "trame.app", None)  # its import would fail
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["--no-browser", "--port", str(port)]) == 2
    line = the_error_line(capsys)
    assert line.startswith(f"error[port-in-use]: port {port} on 127.0.0.1: Address already in use (give another --port")

"""The command line: finds the command, runs it, and turns what went wrong into one line and an exit code.

Results go to stdout or into files, progress to stderr. Exit codes: 0 done, 2 bad input (one line ``error[code]: what
was wrong with which value (what to do)`` on stderr), 130 interrupted; whatever else a command returns is its own and is
in its help. An error of our own making keeps its traceback: it belongs in a bug report.

A command module loads torch only inside its ``run``, so that help and wrong arguments answer at once.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from CrossModalSegLib import __version__
from CrossModalSegLib.errors import InputError, typed_error
from CrossModalSegLib.own_process import end_process, prepare_process

COMMANDS = (
    "segment",
    "archive",
    "train",
    "finetune",
    "federate",
    "evaluate",
    "bundle",
    "site",
    "node",
    "pacs",
    "doctor",
)

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineErrorParser(argparse.ArgumentParser):
    """An argument parser that reports a wrong argument in the same form as every other error."""

    def error(self, message: str) -> NoReturn:
        print(in_one_line(f"error[usage]: {message} (see {self.prog} --help)"), file=sys.stderr)
        sys.exit(BAD_INPUT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv`` (default: the process's own arguments) and return its exit code."""
    if argv is None:  # a process of our own, not a notebook that calls this
        prepare_process()
        if isinstance(
            sys.stdout, io.TextIOWrapper
        ):  # names that a terminal's encoding does not have are no reason to end
            sys.stdout.reconfigure(errors="backslashreplace")
        argv = sys.argv[1:]
    parser, modules = build_parser(argv)
    args = parser.parse_args(argv)
    try:
        _require_current_folder()
        return modules[args.command].run(args)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - what is left to flush at exit goes nowhere
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        told = typed_error(error)
        if told is None:
            raise
        print(in_one_line(str(told)), file=sys.stderr)
        return BAD_INPUT


def _require_current_folder() -> None:
    """Raise InputError ``not-found`` where it was removed: numerical libraries end a process in it without a word."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError("not-found", "the current folder was removed", "change to another folder") from error


def build_parser(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, dict[str, ModuleType]]:
    """The parser for ``argv`` and the command modules by name: only the one asked for, or all for the overview."""
    parser = OneLineErrorParser(
        prog="crossmodalseg",
        description="Segments a patient's two scans of different modality together. Not for clinical use.",
        epilog="example: crossmodalseg segment --input T1w=t1.nii.gz --input T2w=t2.nii.gz --output result",
    )
    parser.add_argument("--version", action="version", version=f"crossmodalseg {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = [name for name in argv[:1] if name in COMMANDS] or COMMANDS
    modules = {name: import_module(f"CrossModalSegLib.commands.{name}") for name in names}
    for module in modules.values():
        module.add_parser(subparsers)
    return parser, modules


def in_one_line(text: str) -> str:
    """``text`` as the one line that an error is on stderr."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


if __name__ == "__main__":
    end_process(main())

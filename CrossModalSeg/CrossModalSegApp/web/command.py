"""The command ``crossmodalseg-web``: serves the page on this computer and opens it in the browser."""

import argparse
import asyncio
import errno
import math
import os
import shutil
import signal
import socket
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from CrossModalSegApp.web.access import HOST, Access
from CrossModalSegLib.cli import BAD_INPUT, OneLineErrorParser, in_one_line
from CrossModalSegLib.commands.options import add_orientation_option, given_path, paths_by_modality
from CrossModalSegLib.errors import InputError, typed_error
from CrossModalSegLib.own_process import prepare_process
from CrossModalSegLib.temporary import temporary_folder

_LIMIT_GB = 4.0
_LARGEST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; 0 then, 2 for errors that the user can put right."""
    if arguments is None:
        prepare_process()
    options = _parser().parse_args(arguments)
    try:
        scans = paths_by_modality(options.input)
        _require_free(options.port)
        with temporary_folder() as folder:
            _serve(options, scans, folder)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        told = typed_error(error)
        if told is None:
            raise
        print(in_one_line(str(told)), file=sys.stderr)
        return BAD_INPUT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineErrorParser(
        prog="crossmodalseg-web",
        description="Segment two scans of one patient and correct the result in a browser. Serves this computer only.",
        epilog="example: crossmodalseg-web --input T1w=t1.nii.gz --input T2w=t2.nii.gz --site our-site",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="MODALITY=PATH",
        help="a scan and its modality, a file or a folder with one DICOM series",
    )
    add_orientation_option(parser)
    parser.add_argument("--site", type=given_path, metavar="SITE", help="the site folder that corrections are saved to")
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="default: one that is free")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument(
        "--upload-limit",
        type=_gigabytes,
        default=_LIMIT_GB,
        metavar="GB",
        help=f"most that can be opened from the browser at once (default: {_LIMIT_GB:g})",
    )
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _LARGEST_PORT):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no port: give a number from 1 to {_LARGEST_PORT}, or 0 for a free one"
        )
    return int(text)


def _gigabytes(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no size in GB above 0")
    return size


def _require_free(port: int) -> None:
    """Raises InputError ``port-in-use`` or ``port-refused``: said now, not when everything has been loaded."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")  # as the server itself does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            code = "port-in-use" if error.errno == errno.EADDRINUSE else "port-refused"
            hint = "give another --port, or none for one that is free"
            raise InputError(code, f"port {port} on {HOST}: {error.strerror}", hint) from error


def _serve(options: argparse.Namespace, scans: dict[str, Path], folder: Path) -> None:
    os.environ["WSLINK_READY_MSG"] = ""  # it would be printed before the address
    from trame.app import get_server

    from CrossModalSegApp.web.downloads import Downloads
    from CrossModalSegApp.web.uploads import Uploads
    from CrossModalSegApp.web.workstation import Start, Workstation

    sys.argv = sys.argv[:1]  # trame reads them, too, and could be told to serve others than this computer
    os.environ.pop("TRAME_ARGS", None)
    server = get_server("crossmodalseg", client_type="vue3")
    uploads = Uploads(folder, int(options.upload_limit * 1e9))
    workstation = Workstation(server, uploads, Start(scans, options.site, options.assume_orientation))
    downloads = Downloads(folder, workstation.files_of_result.write)
    access = Access()

    def bind(web_server: Any) -> None:
        application = web_server.app
        application.add_routes([*access.routes(), *uploads.routes(), *downloads.routes()])
        # Its static files are added at its start, to the application that it has then.
        application.add_routes(web_server._default_routes)
        web_server._default_routes = []
        web_server.set_app(access.guard(application))

    def end() -> None:
        """At once: browsers that do not answer are not waited for, nor is the graphics library put away in order."""
        workstation.close()
        shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.flush()
        os._exit(0)

    def ready(**_state: Any) -> None:
        address = access.address(server.port)
        print(f"CrossModalSeg runs at {address}\nStop it with Ctrl+C.", flush=True)
        loop = asyncio.get_running_loop()
        tasks.append(loop.create_task(workstation.run()))
        with suppress(NotImplementedError):  # on Windows, where Ctrl+C interrupts what goes on
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end)
        if not options.no_browser:
            webbrowser.open(address)

    tasks: list[asyncio.Task[None]] = []
    server.controller.on_server_bind.add(bind)
    server.controller.on_server_ready.add(ready)
    try:
        server.start(port=options.port, host=HOST, open_browser=False, show_connection_info=False, timeout=0)
    finally:
        workstation.close()

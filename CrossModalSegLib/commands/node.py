"""``crossmodalseg node``: receives studies, segments them, and sends the results to a PACS."""

import argparse
import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.options import given_path
from CrossModalSegLib.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from CrossModalSegLib.node.config import NodeConfig

EXAMPLES = """examples:
  crossmodalseg node pacs.toml            # works until it is stopped (Ctrl-C or SIGTERM)
  crossmodalseg node pacs.toml --list     # what came, how far it is, and what was refused with which reason
  crossmodalseg node pacs.toml --again 1f0c9a3e

docs/pacs.md describes the configuration. The log has no name, number or date of a patient.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "node",
        help="receive studies from a PACS, segment them, send the results",
        description="A DICOM node. Not for clinical use.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=given_path, metavar="CONFIG.toml")
    parser.add_argument("--list", action="store_true", help="list the studies of the queue instead")
    parser.add_argument("--again", metavar="STUDY", help="try a study that was refused or has failed once more")


def run(args: argparse.Namespace) -> int:
    from CrossModalSegLib.node.config import read_node_config

    config = read_node_config(args.config)
    if not config.node.folder:
        raise ConfigError("config", "node.folder: missing", "name the folder for images, results and the queue")
    folder = (args.config.parent / config.node.folder).resolve()
    if args.list or args.again:
        return _list(folder, args.again)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("crossmodalseg.node").setLevel(logging.INFO)
    _serve(config, folder)
    return 0


def _serve(config: "NodeConfig", folder: Path) -> None:
    from CrossModalSegLib.atomic import output_errors
    from CrossModalSegLib.node.dicom_node import DicomNode
    from CrossModalSegLib.node.receiver import ImageStore, Receiver
    from CrossModalSegLib.node.status_page import StatusPage
    from CrossModalSegLib.node.study_queue import StudyQueue
    from CrossModalSegLib.node.warm_worker import WarmWorker

    with ExitStack() as stack:
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # images of patients
        stack.enter_context(_alone(folder))
        queue = StudyQueue(folder / "queue.sqlite")
        stack.callback(queue.close)
        store = ImageStore(folder, queue, threading.Lock())
        node = DicomNode(config, store, WarmWorker())
        receiver = Receiver(config, store, time.time)
        receiver.start()
        stack.callback(receiver.stop)
        if config.node.status_port:
            stack.callback(StatusPage(queue, config.node.status_port).stop)
            print(f"status: http://127.0.0.1:{config.node.status_port}/", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: node.stop())
        settings = config.node
        print(f"{settings.ae_title} listens at {settings.address}:{settings.port}", flush=True)
        node.run()


def _alone(folder: Path) -> ExitStack:
    """Hold the folder's lock. Raises OutputError ``node-runs``."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "node.lock", timeout=0)
    stack = ExitStack()
    try:
        stack.enter_context(lock)
    except Timeout as error:
        raise OutputError("node-runs", f"another node works in {folder}", "stop it, or give another folder") from error
    return stack


def _list(folder: Path, again: str | None) -> int:
    from CrossModalSegLib.commands.text_table import text_table
    from CrossModalSegLib.node.status_page import facts_of
    from CrossModalSegLib.node.study_queue import StudyQueue

    if not (folder / "queue.sqlite").is_file():
        raise OutputError("not-found", f"there is no queue in {folder}", "start the node first")
    queue = StudyQueue(folder / "queue.sqlite")
    if again:
        named = [one.uid for one in queue.studies(10_000) if one.key.startswith(again)]
        if len(named) != 1 or not queue.again(named[0]):
            message = f"no study {again!r} that was refused or has failed, and whose images are still there"
            raise OutputError("no-such-study", message, "see crossmodalseg node CONFIG.toml --list")
    columns = ("study", "from", "last image", "state", "sent", "to send", "reason")
    rows = [[str(one[name]) for name in columns] for one in facts_of(queue)["studies"]]
    print("\n".join(text_table([list(columns), *rows])))
    queue.close()
    return 0

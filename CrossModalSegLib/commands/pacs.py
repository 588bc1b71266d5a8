"""``crossmodalseg pacs find | get | send | echo``: what a person asks of a PACS."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CrossModalSegLib.commands.options import given_path
from CrossModalSegLib.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from CrossModalSegLib.node.config import NodeConfig

EXAMPLES = """examples:
  crossmodalseg pacs find archive --config pacs.toml --accession A1234
  crossmodalseg pacs get archive --config pacs.toml --study 1.2.840.113619.2.5 --output study
  crossmodalseg segment --study study --format dicom-seg --output result
  crossmodalseg pacs send archive result --config pacs.toml

archive is the [peers.archive] of the configuration; see docs/pacs.md. Exit code 1: some files were not taken.
"""
_FILTERS = {
    "--patient": ("PatientID", "ID of the patient"),
    "--accession": ("AccessionNumber", "accession number"),
    "--study": ("StudyInstanceUID", "study instance UID"),
    "--date": ("StudyDate", "such as 20260131 or 20260101-20260131"),
    "--modality": ("ModalitiesInStudy", "such as MR"),
}
_COLUMNS = ("StudyDate", "ModalitiesInStudy", "StudyDescription", "PatientID", "AccessionNumber", "StudyInstanceUID")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "pacs",
        help="find, get and send studies",
        description="Asks a PACS for studies, and sends results to it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    find = _action(actions, "find", "list the studies that match")
    for option, (keyword, text) in _FILTERS.items():
        find.add_argument(option, dest=keyword, default="", metavar="VALUE", help=text)
    get = _action(actions, "get", "retrieve a study into a folder")
    get.add_argument("--study", required=True, metavar="UID", help="study instance UID")
    get.add_argument("--output", type=given_path, required=True, metavar="FOLDER")
    send = _action(actions, "send", "send DICOM files")
    send.add_argument("files", type=given_path, nargs="+", metavar="FILE_OR_FOLDER")
    _action(actions, "echo", "ask whether a DICOM peer answers")


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.add_argument("peer", metavar="PEER", help="its name in the configuration")
    parser.add_argument(
        "--config", type=given_path, default=Path("pacs.toml"), metavar="FILE", help="default: pacs.toml"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    from CrossModalSegLib.node.config import read_node_config

    config = read_node_config(args.config)
    actions = {"find": _find, "get": _get, "send": _send, "echo": _echo}
    return actions[args.action](config, args)


def _find(config: "NodeConfig", args: argparse.Namespace) -> int:
    from CrossModalSegLib.commands.text_table import text_table
    from CrossModalSegLib.node.peers import peer_named

    wanted = {keyword: getattr(args, keyword) for keyword, _text in _FILTERS.values()}
    if not any(wanted.values()):
        raise InputError(
            "usage", "nothing to look for", "give one of --patient, --accession, --study, --date, --modality"
        )
    found = peer_named(config, args.peer).find(wanted)
    head = ["date", "modalities", "description", "patient", "accession", "study"]
    print("\n".join(text_table([head, *map(_row, found)])))
    return 0


def _row(study: "Dataset") -> list[str]:
    return [_text(study.get(keyword)) for keyword in _COLUMNS]


def _text(value: object) -> str:
    from pydicom.multival import MultiValue

    if value is None:
        return ""
    return "/".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _get(config: "NodeConfig", args: argparse.Namespace) -> int:
    from CrossModalSegLib.atomic import staged_folder
    from CrossModalSegLib.node.peers import peer_named

    with staged_folder(args.output) as folder:
        count = peer_named(config, args.peer).get(args.study, folder)
        if not count:
            raise InputError("not-found", f"{args.peer} sent nothing of the study {args.study}", "check the UID")
    print(f"{count} images in {args.output}")
    return 0


def _send(config: "NodeConfig", args: argparse.Namespace) -> int:
    from CrossModalSegLib.imaging.dicom_header import is_dicom
    from CrossModalSegLib.node.peers import peer_named

    files = sorted({file for path in args.files for file in _files_in(path) if is_dicom(file)})
    if not files:
        raise InputError("not-found", f"no DICOM files in {', '.join(map(str, args.files))}", "check the path")
    answers = dict(peer_named(config, args.peer).send(files))
    for file, why_not in answers.items():
        if why_not:
            print(f"{file}: {why_not}")
    taken = list(answers.values()).count("")
    print(f"{taken} of {len(files)} files sent to {args.peer}")
    return int(taken < len(files))


def _files_in(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError("not-found", f"no such file or folder: {path}", "check the path")
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _echo(config: "NodeConfig", args: argparse.Namespace) -> int:
    from CrossModalSegLib.node.peers import DicomPeer

    if config.peer(args.peer).url:
        raise InputError("usage", f"{args.peer} is a DICOMweb peer, which has no echo", "use find")
    DicomPeer(args.peer, config.peer(args.peer), config).echo()
    print(f"{args.peer} answers")
    return 0

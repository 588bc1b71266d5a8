"""``crossmodalseg bundle list | show NAME | verify NAME``: which models there are, what they say, whether they are
whole."""

import argparse
from collections.abc import Callable, Iterable

from CrossModalSegLib.bundles.bundle import Bundle, bundle_search_path, list_bundles, load_bundle
from CrossModalSegLib.bundles.bundle_metadata import MODEL_CARD_FILE, SEAL_FILE
from CrossModalSegLib.commands.text_table import text_table


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "bundle",
        help="list, show or verify model bundles",
        description="Lists, shows or verifies model bundles.",
        epilog="example: crossmodalseg bundle show brain-mr-pair",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_action(actions, "list", _list, "name, version and modalities of each bundle that is found")
    for action in (
        _add_action(actions, "show", _show, "what a bundle says about itself, and its structures", " brain-mr-pair"),
        _add_action(actions, "verify", _verify, "check the hash of each file and all weights", " brain-mr-pair"),
    ):
        action.add_argument("bundle", metavar="NAME", help="a name from 'bundle list', or a bundle's folder")


def _add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    answer: Callable[[argparse.Namespace], Iterable[str]],
    text: str,
    example: str = "",
) -> argparse.ArgumentParser:
    epilog = f"example: crossmodalseg bundle {name}{example}"
    action = actions.add_parser(name, help=text, description=text, epilog=epilog)
    action.set_defaults(answer=answer)
    return action


def run(args: argparse.Namespace) -> int:
    """Answer on stdout; returns 0. Raises BundleError."""
    print("\n".join(args.answer(args)))
    return 0


def _list(_: argparse.Namespace) -> Iterable[str]:
    bundles = list_bundles()
    if not bundles:
        return ["no bundles in", *(f"  {place}" for place in bundle_search_path())]
    rows = [(b.name, b.version, " + ".join(b.modalities), str(len(b.label_map.structures))) for b in bundles]
    return text_table([("NAME", "VERSION", "MODALITIES", "STRUCTURES"), *rows])


def _show(args: argparse.Namespace) -> Iterable[str]:
    bundle = load_bundle(args.bundle)
    return [*text_table(_facts(bundle)), "", *text_table([("VALUE", "NAME", "TYPE", "MODIFIER"), *_structures(bundle)])]


def _verify(args: argparse.Namespace) -> Iterable[str]:
    bundle = load_bundle(args.bundle)
    files = len(bundle.files)
    whole = f"{bundle.name} {bundle.version} is whole: {files} files match their hashes, all weights are finite"
    unsealed = f"there is no {SEAL_FILE}, as in bundles of earlier versions: a change of the metadata would not be seen"
    return [whole] if (bundle.path / SEAL_FILE).is_file() else [whole, unsealed]


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    return [
        ("name", bundle.name),
        ("version", bundle.version),
        ("task", bundle.metadata["task"]),
        ("modalities", " + ".join(bundle.modalities)),
        ("spacing (i, j, k)", " x ".join(f"{length:g}" for length in bundle.spacing_mm) + " mm"),
        ("patch (k, j, i)", " x ".join(map(str, bundle.patch_size)) + " voxels"),
        ("licence", bundle.licence),
        ("intended use", bundle.intended_use),
        ("parent", bundle.parent or "none"),
        ("sha256", bundle.sha256),
        ("model card", str(bundle.path / MODEL_CARD_FILE)),
    ]


def _structures(bundle: Bundle) -> Iterable[tuple[str, str, str, str]]:
    for structure in bundle.label_map.structures:
        terminology = structure.terminology
        code = f"{terminology.type.scheme} {terminology.type.value} {terminology.type.meaning}" if terminology else ""
        modifier = terminology.modifier.meaning if terminology and terminology.modifier else ""
        yield str(structure.value), structure.name, code, modifier

"""The user's own model bundles: taken in from a folder or a zip file, and removed again.

What comes in was made elsewhere and is trusted with nothing: names are looked at before anything is unpacked, only the
files that the bundle's metadata list are taken over, and each is checked against its hash before the bundle appears.
"""

import importlib.util
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.bundles.bundle import METADATA_FILE, Bundle, list_bundles, read_bundle, user_bundle_folder
from CrossModalSegLib.bundles.bundle_metadata import SEAL_FILE
from CrossModalSegLib.errors import ArchiveError, BundleError, InputError, OutputError
from CrossModalSegLib.imaging.zip_files import leads_outside, unpacked
from CrossModalSegLib.plurals import some_of

LARGEST_UNPACKED_BYTES = 2_000_000_000

_WHAT_TO_GIVE = f"give one bundle, a folder or zip file with {METADATA_FILE}"
_WHAT_TO_DO = "do not use it; get the bundle from those who made it"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")


def import_bundle(folder_or_zip: str | Path, target: str | Path | None = None) -> Bundle:
    """Take a bundle over into the folder ``target``, by default the user's bundles; returns it from there.

    ``folder_or_zip`` is the bundle, or holds exactly one folder that is one. Its name is that folder's, or the zip
    file's where the bundle is the zip's root. All hashes are checked, and the weights where safetensors is installed
    (they are checked again each time they are loaded). The bundle appears whole or not at all. One that is there
    already, by name and hash, is returned as it is, or put right where its files are damaged.

    Raises BundleError ``not-a-bundle``, ``bundle-unsafe`` (pickles, links, names that lead outside, more than 2 GB),
    ``bundle-invalid``, ``bundle-corrupt`` or ``bundle-exists`` (the name is taken by another bundle), OutputError
    ``cannot-write``.
    """
    path = Path(folder_or_zip).expanduser().resolve()
    with _as_folder(path) as folder:
        root = _bundle_in(folder, path)
        with _naming(path, instead_of=root):
            incoming = _trusted(root)
        name = _NOT_IN_NAMES.sub("-", root.name).strip("-.") or "bundle"
        place = (user_bundle_folder() if target is None else Path(target).expanduser()).resolve()
        present = _present_bundle(name, place, alone=target is not None)
        if present is None:
            return copy_bundle(place / name, incoming)
        if present.sha256 != incoming.sha256:
            raise _name_taken(name, present.path)
        return present if is_whole(present) else copy_bundle(present.path, incoming)


def remove_bundle(name: str) -> None:
    """Delete the user's own bundle of this name.

    Raises BundleError ``bundle-not-found`` (lists the user's bundles) or ``not-removable`` (it came with the program,
    or lies elsewhere on the search path), OutputError ``cannot-write``.
    """
    folder = _user_bundles().get(name)
    if folder is None:
        raise _not_ours(name)
    try:
        if folder.is_symlink():  # what it leads to is not ours
            folder.unlink()
        else:  # renamed first, so that it is gone as a whole
            shutil.rmtree(folder.rename(folder.with_name(f".{uuid.uuid4().hex[:12]}.{name}")))
    except OSError as error:
        message = f"{folder}: {error.strerror or error}"
        raise OutputError("cannot-write", message, "check your rights, and close programs that use it") from error


def is_removable(bundle: Bundle) -> bool:
    """True for the user's own bundles, which `remove_bundle` deletes; False for those that came with the program."""
    folder = _user_bundles().get(bundle.name)
    return folder is not None and folder.resolve() == bundle.path


# --- what comes in


@contextmanager
def _as_folder(path: Path) -> Iterator[Path]:
    """``path`` if it is a folder; a zip file is unpacked into a temporary folder of its name."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(unpacked(path, LARGEST_UNPACKED_BYTES))
        except ArchiveError as error:
            raise BundleError("not-a-bundle", error.message, _WHAT_TO_GIVE) from error
        except InputError as error:
            raise BundleError("bundle-unsafe", error.message, _WHAT_TO_DO) from error
        yield folder


def _bundle_in(folder: Path, path: Path) -> Path:
    """``folder`` or the one folder in it that is a bundle; ``path`` is what the user gave."""
    if (folder / METADATA_FILE).is_file():
        return folder
    inside = sorted(file.parents[1] for file in folder.glob(f"[!.]*/{METADATA_FILE}"))
    if not inside:
        raise _no_bundle(path, f"has no {METADATA_FILE}, neither in itself nor in a folder of it")
    if len(inside) > 1:
        raise _no_bundle(path, f"holds several bundles ({some_of([one.name for one in inside])})")
    return inside[0]


def _trusted(root: Path) -> Bundle:
    """The bundle in ``root`` when all of it has been checked."""
    links = [str(entry.relative_to(root)) for entry in sorted(root.rglob("*")) if entry.is_symlink()]
    if links:
        raise _unsafe(root, f"holds links: {some_of(links)}")
    bundle = read_bundle(root)
    outside = [name for name in bundle.files if leads_outside(name)]
    if outside:
        raise _unsafe(root, f"lists names that lead out of it: {some_of(outside)}")
    _verify(bundle)
    return bundle


def _verify(bundle: Bundle) -> None:
    """Raises BundleError. Before the packages for segmenting are installed, all but the weights' values are checked."""
    if importlib.util.find_spec("safetensors") is None:
        bundle.verify_files()
    else:
        bundle.verify()


@contextmanager
def _naming(path: Path, instead_of: Path) -> Iterator[None]:
    """Errors name what the user gave, not the temporary folder it was unpacked to."""
    try:
        yield
    except BundleError as error:
        raise BundleError(error.code, error.message.replace(str(instead_of), str(path)), error.hint) from error


# --- where it goes


def _present_bundle(name: str, place: Path, alone: bool) -> Bundle | None:
    """The bundle of this name in ``place``, or (unless ``alone``) the one that would hide it on the search path."""
    if (place / name).exists():
        try:
            return read_bundle(place / name)
        except BundleError as error:
            raise _name_taken(name, place / name) from error
    return None if alone else next((bundle for bundle in list_bundles() if bundle.name == name), None)


def is_whole(bundle: Bundle) -> bool:
    """Whether all its files match their hashes."""
    try:
        _verify(bundle)
    except BundleError:
        return False
    return True


def copy_bundle(destination: Path, bundle: Bundle) -> Bundle:
    """What the metadata list, and they themselves with their hash; anything else that lay in the folder stays behind.

    It appears whole or not at all. Raises OutputError ``cannot-write``, BundleError ``bundle-corrupt``.
    """
    with staged_folder(destination, overwrite=destination.exists(), marker=METADATA_FILE) as staging:
        seal = [SEAL_FILE] if (bundle.path / SEAL_FILE).is_file() else []
        for name in (METADATA_FILE, *seal, *bundle.files):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(bundle.path / name, staging / name)
            except OSError as error:
                message = f"copying {name} to {destination}: {error.strerror or error}"
                raise OutputError("cannot-write", message, "check that the disk has space") from error
        _verify(read_bundle(staging))  # what was written, not only what was read
    return read_bundle(destination)


def _user_bundles() -> dict[str, Path]:
    return {file.parents[1].name: file.parents[1] for file in user_bundle_folder().glob(f"[!.]*/{METADATA_FILE}")}


# --- what is wrong


def _no_bundle(path: Path, what: str) -> BundleError:
    return BundleError("not-a-bundle", f"{path} {what}", _WHAT_TO_GIVE)


def _unsafe(path: Path, what: str) -> BundleError:
    return BundleError("bundle-unsafe", f"{path} {what}", _WHAT_TO_DO)


def _name_taken(name: str, folder: Path) -> BundleError:
    message = f"{folder} is another bundle with the name {name}"
    return BundleError("bundle-exists", message, "rename the folder or zip file to import, or remove the other bundle")


def _not_ours(name: str) -> BundleError:
    own = user_bundle_folder()
    elsewhere = next((bundle for bundle in list_bundles() if bundle.name == name), None)
    if elsewhere is not None:
        message = f"bundle {name} lies in {elsewhere.path.parent}, not among your own bundles"
        return BundleError("not-removable", message, f"only what lies in {own} can be removed here")
    there = ", ".join(sorted(_user_bundles())) or "none"
    return BundleError("bundle-not-found", f"no bundle {name!r} in {own}", f"your own bundles are: {there}")

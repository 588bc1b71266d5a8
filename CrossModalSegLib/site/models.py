"""The models that a site has adopted, in ``models/<name>``: whole bundles, added one by one and never written over."""

import re
from pathlib import Path

from CrossModalSegLib.bundles.bundle import Bundle, list_bundles, read_bundle
from CrossModalSegLib.bundles.bundle_library import copy_bundle, is_whole

MODELS = "models"
_GENERATION = re.compile(r"-site-(\d+)(?:-(\d+))?$")  # the second number is of copies that earlier versions named so


def site_models(site: Path) -> list[Bundle]:
    """By name; broken ones are logged instead."""
    return list_bundles([site / MODELS])


def adopt(site: Path, candidate: Path) -> Bundle:
    """The bundle in the folder ``candidate`` as one of the site's models; it appears there whole or not at all.

    One that is there already by its hash is returned as it is, or put right where its files are damaged. What is
    adopted last has the highest number: ``brain-site-1`` becomes ``brain-site-3`` where there is a ``brain-site-2``.

    Raises BundleError ``bundle-invalid`` or ``bundle-corrupt``, OutputError ``cannot-write``.
    """
    bundle = read_bundle(candidate)
    known = next((model for model in site_models(site) if model.sha256 == bundle.sha256), None)
    if known is not None and is_whole(known):
        return known
    return copy_bundle(known.path if known is not None else _free_place(site / MODELS / bundle.name), bundle)


def generation(name: str) -> tuple[int, int]:
    """(2, 0) of ``brain-site-2``, (2, 3) of ``brain-site-2-3``, (0, 0) of a model that no site has made."""
    found = _GENERATION.search(name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def stem(name: str) -> str:
    """``brain`` of ``brain-site-2``."""
    return _GENERATION.sub("", name)


def next_name(site: Path, base: str) -> str:
    """``brain-site-3`` after ``brain-site-2``: above the generation of ``base`` and of all its relatives at the
    site."""
    there = (site / MODELS).glob("[!.]*")
    relatives = [base, *(place.name for place in there if stem(place.name) == stem(base))]
    return f"{stem(base)}-site-{max(generation(name)[0] for name in relatives) + 1}"


def _free_place(wanted: Path) -> Path:
    if generation(wanted.name) > (0, 0):
        following = wanted.with_name(next_name(wanted.parents[1], stem(wanted.name)))
        return max(wanted, following, key=lambda place: generation(place.name))
    place, number = wanted, 2
    while place.exists():
        place, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return place

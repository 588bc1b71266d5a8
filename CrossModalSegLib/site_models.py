"""The models that a site has adopted, in ``models/<name>``: whole bundles, added one by one and never written over."""

from pathlib import Path

from CrossModalSegLib.bundle import Bundle, list_bundles, read_bundle
from CrossModalSegLib.bundle_library import copy_bundle, is_whole

MODELS = "models"


def site_models(site: Path) -> list[Bundle]:
    """By name; broken ones are logged instead."""
    return list_bundles([site / MODELS])


def adopt(site: Path, candidate: Path) -> Bundle:
    """The bundle in the folder ``candidate`` as one of the site's models; it appears there whole or not at all.

    One that is there already by its hash is returned as it is, or put right where its files are damaged. Where its name
    belongs to another model, the copy gets a number: ``brain-site-1`` becomes ``brain-site-1-2``.

    Raises BundleError ``bundle-invalid`` or ``bundle-corrupt``, OutputError ``cannot-write``.
    """
    bundle = read_bundle(candidate)
    known = next((model for model in site_models(site) if model.sha256 == bundle.sha256), None)
    if known is not None and is_whole(known):
        return known
    return copy_bundle(known.path if known is not None else _free_place(site / MODELS / bundle.name), bundle)


def _free_place(wanted: Path) -> Path:
    place, number = wanted, 2
    while place.exists():
        place, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return place

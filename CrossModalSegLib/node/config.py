"""One TOML file with the node, its peers and its rules; all that is wrong in it is reported at once."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from CrossModalSegLib.errors import ConfigError, read_error
from CrossModalSegLib.pacs.pair import PREFERENCES, PairRule
from CrossModalSegLib.pacs.segmentation_object import TYPES
from CrossModalSegLib.tables import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    Entries,
    Number,
    Problem,
    Switch,
    Whole,
    one_of,
    read_table,
    table,
    within,
    wrong,
)

_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")  # printable ASCII without backslash (PS3.5 6.2)
PORT = within("from 1 to 65535", lambda port: 1 <= port <= 65535)
PORT_OR_NONE = within("from 0 to 65535", lambda port: 0 <= port <= 65535)
PLANES = ("", "axial", "coronal", "sagittal")


def _ae_title(title: str) -> str:
    if title and (not _AE_TITLE.fullmatch(title) or not title.strip()):
        raise wrong(f"{title!r} is no AE title: 1 to 16 characters of ASCII")
    return title


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise wrong(f"{text!r} is no regular expression: {error}") from None
    return text


def _preferences(given: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [one for one in given if one not in PREFERENCES]
    if unknown:
        raise wrong(f"must be of {', '.join(PREFERENCES)}, not {unknown[0]!r}")
    return given


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Pattern = Annotated[str, AfterValidator(_pattern)]


@table()
class TlsConfig:
    """Files in PEM: ``certificate`` and ``key`` of our own, and the ``authority`` that the other side's is checked
    with. Empty: none."""

    certificate: str = ""
    key: str = ""
    authority: str = ""

    @property
    def is_on(self) -> bool:
        return bool(self.certificate or self.authority)


@table()
class PeerConfig:
    """Another system. DICOM: ``ae_title``, ``address``, ``port``; DICOMweb: ``url``. ``may_send``: the node takes
    images from it, where both its AE title and its address are these."""

    ae_title: AeTitle = ""
    address: str = ""
    port: Annotated[Whole, PORT_OR_NONE] = 0
    url: str = ""
    may_send: Switch = False
    tls: Switch = False


@table()
class RuleConfig:
    """`pair.PairRule`, as it is written in the file."""

    description: Pattern = ""
    exclude: Pattern = ""
    plane: Annotated[str, one_of(PLANES)] = ""
    derived: Switch = False
    prefer: Annotated[tuple[str, ...], AfterValidator(_preferences)] = ()

    @property
    def rule(self) -> PairRule:
        return PairRule(self.description, self.exclude, self.plane, self.derived, self.prefer)


@table()
class NodeSettings:
    """The node itself. Times in seconds unless their names say otherwise."""

    ae_title: AeTitle = "CROSSMODALSEG"
    address: str = "127.0.0.1"
    port: Annotated[Whole, PORT] = 11112
    folder: str = ""
    status_port: Annotated[Whole, PORT_OR_NONE] = 0  # 0: no status page
    bundle: str = "brain-mr-pair"
    device: Annotated[str, one_of(("auto", "cpu", "cuda"))] = "auto"
    seg_type: Annotated[str, one_of(TYPES)] = "binary"
    structure_set: Switch = False  # the contours as well, for radiotherapy
    require_both: Switch = True  # a study with one of the two scans is refused
    send_to: tuple[str, ...] = ()
    quiet_seconds: Annotated[Number, ABOVE_0] = 60.0  # without an image, after which a study is complete
    retries: Annotated[Whole, AT_LEAST_0] = 10
    retry_seconds: Annotated[Number, ABOVE_0] = 60.0
    most_images: Annotated[Whole, AT_LEAST_1] = 20_000  # of a study
    largest_study_gb: Annotated[Number, ABOVE_0] = 20.0
    keep_days: Annotated[Number, ABOVE_0] = 2.0  # images and results, after the last image


def _unknown_peers(entries: Entries) -> Iterator[Problem]:
    known = entries.names("peers")
    for number, name in enumerate(entries["node.send_to"]):
        if name not in known:
            yield f"node.send_to[{number}]", f"there is no [peers.{name}]"


def _half_peers(entries: Entries) -> Iterator[Problem]:
    for name in entries.names("peers"):
        web, port = entries[f"peers.{name}.url"], entries[f"peers.{name}.port"]
        named = bool(entries[f"peers.{name}.ae_title"] and entries[f"peers.{name}.address"])
        if web and port:
            yield f"peers.{name}", "has both a url and a port: make it two peers"
        elif not web and not (named and port):
            yield f"peers.{name}", "needs ae_title, address and port, or a url"
        if entries[f"peers.{name}.may_send"] and not named:
            yield f"peers.{name}.may_send", "needs ae_title and address"


@table()
class NodeConfig:
    """All of the file."""

    CHECKS: ClassVar = (_unknown_peers, _half_peers)

    node: NodeSettings = field(default_factory=NodeSettings)
    peers: Mapping[str, PeerConfig] = field(default_factory=dict)
    rules: Mapping[str, RuleConfig] = field(default_factory=dict)
    tls: TlsConfig = field(default_factory=TlsConfig)

    def peer(self, name: str) -> PeerConfig:
        """Raises ConfigError ``no-such-peer``."""
        if name not in self.peers:
            known = ", ".join(self.peers) or "none"
            raise ConfigError("no-such-peer", f"there is no [peers.{name}]", f"the configuration has {known}")
        return self.peers[name]


def read_node_config(path: Path) -> NodeConfig:
    """Raises ConfigError ``config``, or those of `read_error`."""
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise read_error(f"configuration file {path}", error, ConfigError) from error
    except (ValueError, RecursionError) as error:  # malformed TOML, or not UTF-8
        raise ConfigError("config", f"{path} is not valid TOML: {error}", "correct that line") from error
    return read_table(NodeConfig, tables)

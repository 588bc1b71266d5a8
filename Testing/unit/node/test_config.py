"""The configuration of node and peers: all that is wrong is told at once."""

import pytest

from CrossModalSegLib.errors import ConfigError
from CrossModalSegLib.node.config import read_node_config

GOOD = """
[node]
folder = "node"
send_to = ["archive"]
[peers.archive]
ae_title = "ORTHANC"
address = "127.0.0.1"
port = 4242
may_send = true
[rules.T1w]
prefer = ["thinnest"]
"""


def read(tmp_path, text):
    (tmp_path / "pacs.toml").write_text(text)
    return read_node_config(tmp_path / "pacs.toml")


def test_what_is_not_said_has_its_default(tmp_path):
    config = read(tmp_path, GOOD)
    assert (config.node.ae_title, config.node.address, config.node.port) == ("CROSSMODALSEG", "127.0.0.1", 11112)
    assert config.rules["T1w"].rule.prefer == ("thinnest",)
    assert config.peer("archive").port == 4242
    with pytest.raises(ConfigError, match=r"no-such-peer.*the configuration has archive"):
        config.peer("other")


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    wrong = """
    [node]
    prot = 1
    port = 70000
    ae_title = "A TITLE THAT IS TOO LONG"
    quiet_seconds = 0
    send_to = ["nobody"]
    [peers.half]
    ae_title = "X"
    [peers.both]
    url = "http://127.0.0.1"
    port = 1
    [peers.caller]
    url = "http://127.0.0.1"
    may_send = true
    [rules.T1w]
    description = "("
    prefer = ["best"]
    plane = "flat"
    """
    with pytest.raises(ConfigError) as told:
        read(tmp_path, wrong)
    for words in (
        "node.prot: unknown name", "node.port: must be from 1 to 65535", "node.ae_title", "node.quiet_seconds",
        "there is no [peers.nobody]", "peers.half: needs ae_title, address and port", "peers.both: has both",
        "peers.caller.may_send", "rules.T1w.description", "rules.T1w.prefer", "rules.T1w.plane",
    ):  # fmt: skip
        assert words in told.value.message, words


def test_a_file_that_is_no_toml_is_told(tmp_path):
    with pytest.raises(ConfigError, match="not valid TOML"):
        read(tmp_path, "[node")

"""A federation in NVFlare's simulator: weights alone are sent, the last round's model is judged and accepted or not."""

import json

import pytest

from CrossModalSegLib.cli import main
from CrossModalSegLib.federation.report import read_history
from CrossModalSegLib.site.models import site_models
from Testing.tiny_bundle import intensity_bundle
from Testing.tiny_site import make_site

pytest.importorskip("nvflare", reason="NVFlare is not installed: pip install 'crossmodalseg[federated]'")

CONFIG = """
[federation]
name = "three"
parent = "{parent}"
rounds = 1
steps = 3
[hospitals]
north = "north"
south = "south"
bad = "bad"
[training]
loss_stride = 2
"""


def test_a_job_for_a_real_federation_names_no_folder_of_a_hospital(tmp_path, capsys):
    (tmp_path / "real.toml").write_text('[federation]\nname = "real"\nrounds = 2\n')
    assert main(["federate", str(tmp_path / "real.toml"), "--export", str(tmp_path / "jobs")]) == 0
    assert "submit it to the server" in capsys.readouterr().out
    files = list((tmp_path / "jobs" / "real").rglob("config_fed_client.json"))
    (client,) = [json.loads(file.read_text()) for file in files]
    assert "HospitalExecutor" in json.dumps(client)
    assert str(tmp_path) not in json.dumps(client)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hospitals_in_the_simulator_and_the_one_with_exchanged_labels_takes_no_part(tmp_path, capsys):
    bundle = intensity_bundle(tmp_path / "tiny", (16, 16, 16), 4.0)
    (tmp_path / "federation.toml").write_text(CONFIG.format(parent=bundle.path))
    make_site(tmp_path / "north", 4, 0)
    make_site(tmp_path / "south", 3, 0, modalities=("T1w",))
    make_site(tmp_path / "bad", 3, 0, exchanged=True, shift=0.0)
    command = ["federate", str(tmp_path / "federation.toml"), "--simulate", str(tmp_path / "trial"), "--at-once", "3"]
    assert main([*command, "--device", "cpu"]) == 0
    (file,) = (tmp_path / "trial").rglob("federation.json")
    history = read_history(file)
    assert "exchanged" in history.hospitals["bad"].refused
    assert list(history.rounds[0].judgements) == ["north", "south"]
    assert set(history.rounds[0].sent_bytes) == {"north", "south"}
    assert len(set(history.rounds[0].sent_bytes.values())) == 1
    assert history.rounds[0].sent_bytes["north"] == sum(row[2] for row in history.sent)
    for name in ("north", "south", "bad"):
        assert len(site_models(tmp_path / name)) == int(name in history.models)
    told = capsys.readouterr().out
    assert "bad: keeps its own model" in told

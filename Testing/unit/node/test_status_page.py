"""The status page: for this computer alone, and without a patient."""

import json
import urllib.error
import urllib.request

import pytest

from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.node.status_page import StatusPage
from CrossModalSegLib.node.study_queue import ReceivedImage, StudyQueue
from Testing.orthanc import free_port


@pytest.fixture
def page(tmp_path):
    """The address of a page about one study that was refused."""
    queue, port = StudyQueue(tmp_path / "queue.sqlite"), free_port()
    queue.received(ReceivedImage("1.2.3.4", "1.2.3", "abcdef0123", "digest", 10, "SCANNER"), 1000.0)
    queue.settle(2000.0, 10)
    queue.refuse(queue.take(2000.0), "unpaired: <b>no T2w</b>")
    served = StatusPage(queue, port)
    yield f"http://127.0.0.1:{port}"
    served.stop()
    queue.close()


def test_it_says_what_came_of_each_study(page):
    with urllib.request.urlopen(f"{page}/status.json") as answer:
        facts = json.loads(answer.read())
    (study,) = facts["studies"]
    assert facts["counts"] == {"refused": 1}
    assert (study["study"], study["from"], study["reason"]) == ("abcdef01", "SCANNER", "unpaired: <b>no T2w</b>")
    with urllib.request.urlopen(page) as answer:
        text = answer.read().decode()
    assert "unpaired: &lt;b&gt;no T2w" in text
    assert "1.2.3" not in text


def test_a_page_elsewhere_cannot_read_it(page):
    request = urllib.request.Request(page, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request)
    told.value.close()
    assert told.value.code == 403


def test_a_port_that_is_taken_is_told(page, tmp_path):
    queue = StudyQueue(tmp_path / "other.sqlite")
    with pytest.raises(OutputError, match="port-taken"):
        StatusPage(queue, int(page.rsplit(":", 1)[1]))
    queue.close()

"""The queue: nothing is lost, nothing is twice, whatever happens between two changes."""

import sqlite3

import pytest

from CrossModalSegLib.node.study_queue import Delivery, Made, ReceivedImage, StudyQueue

OBJECTS = [Made("1.1", "a.dcm"), Made("1.2", "b.dcm")]


@pytest.fixture
def queue(tmp_path):
    queue = StudyQueue(tmp_path / "queue.sqlite")
    yield queue
    queue.close()


def arrive(queue, image="1.5", digest="d", now=100.0, study="1.9"):
    return queue.received(ReceivedImage(image, study, "key" + study, digest, 10, "CT1"), now)


def taken(queue, now=200.0):
    queue.settle(now, 30)
    return queue.take(now)


def test_a_study_is_complete_when_nothing_came_for_a_while(queue):
    arrive(queue)
    arrive(queue, "1.6", now=110.0)
    assert taken(queue, 139.0) is None
    assert taken(queue, 140.0).uid == "1.9"
    assert taken(queue, 141.0) is None  # it is being segmented


def test_an_image_that_is_there_already_changes_nothing(queue):
    assert arrive(queue)
    study = taken(queue)
    assert not arrive(queue, now=500.0)
    queue.made(study, OBJECTS, ["archive"])
    assert queue.counts() == {"sending": 1}


def test_an_image_that_comes_while_its_study_is_segmented_is_not_forgotten(queue):
    arrive(queue)
    study = taken(queue)
    arrive(queue, "1.6", now=210.0)
    queue.made(study, OBJECTS, ["archive"])
    queue.refuse(study, "bad")
    queue.put_off(study, "bad", 220.0, 0, 1)
    assert queue.counts() == {"arriving": 1}
    assert queue.due_deliveries(1000.0, 3) == []
    again = taken(queue, 240.0)
    assert (again.uid, again.version) == ("1.9", study.version + 1)


def test_what_was_segmenting_when_the_node_ended_is_segmented_again(queue, tmp_path):
    arrive(queue)
    assert taken(queue)
    other = StudyQueue(tmp_path / "queue.sqlite")  # as after a kill: nothing was closed
    other.resume()
    assert other.take(300.0).uid == "1.9"
    other.close()


def test_each_object_goes_to_each_peer_once(queue):
    arrive(queue)
    queue.made(taken(queue), OBJECTS, ["one", "two"])
    for _peer in range(2):
        for delivery in queue.due_deliveries(300.0, 3):
            queue.sent(delivery)
    assert queue.due_deliveries(300.0, 3) == []
    assert queue.counts() == {"done": 1}
    arrive(queue, "1.6", now=400.0)  # it has no part in the pair: the same objects are made
    queue.made(taken(queue, 500.0), OBJECTS, ["one", "two"])
    assert queue.due_deliveries(600.0, 3) == []
    assert queue.counts() == {"done": 1}


def test_sending_is_tried_again_later_and_not_for_ever(queue):
    arrive(queue)
    queue.made(taken(queue), OBJECTS[:1], ["archive"])
    now = 300.0
    for attempt in range(3):  # the first, and two retries
        (delivery,) = queue.due_deliveries(now, 2)
        assert delivery == Delivery("archive", "1.1", "1.9", "a.dcm", attempt)
        queue.not_sent(delivery, "no answer", now, 2, 60)
        assert queue.due_deliveries(now + 59, 2) == []
        now += 60
    assert queue.due_deliveries(now, 2) == []
    assert queue.counts() == {"failed": 1}
    assert queue.studies()[0].reason == "not sent to archive: no answer"
    assert queue.again("1.9")
    (delivery,) = queue.due_deliveries(now, 2)
    queue.sent(delivery)


def test_segmenting_is_tried_again_later_and_not_for_ever(queue):
    arrive(queue)
    now = 200.0
    for _attempt in range(3):
        study = taken(queue, now)
        queue.put_off(study, "no memory", now, 2, 60)
        assert taken(queue, now + 59) is None
        now += 60
    assert taken(queue, now) is None
    assert queue.counts() == {"failed": 1}


def test_files_go_only_where_nothing_came_meanwhile(queue):
    arrive(queue)
    queue.refuse(taken(queue), "no pair")
    (study,) = queue.to_clear(1000.0)
    assert queue.to_clear(50.0) == []
    arrive(queue, "1.6", now=210.0)
    assert not queue.cleared(study)
    queue.refuse(taken(queue, 300.0), "no pair")
    (study,) = queue.to_clear(1000.0)
    assert queue.cleared(study)
    assert queue.to_clear(1000.0) == []
    assert arrive(queue, now=2000.0)  # it has been forgotten, and counts as new


def test_a_change_is_whole_or_not_there(queue):
    arrive(queue)
    study = taken(queue)
    with pytest.raises(sqlite3.Error):
        queue.made(study, [OBJECTS[0], Made(object(), "b.dcm")], ["archive"])
    assert queue.due_deliveries(1000.0, 3) == []
    assert queue.counts() == {"segmenting": 1}

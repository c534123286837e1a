"""The check of the replies' shapes sees all replies, and sees what is wrong with one."""

import json

import pytest
import shapes


@pytest.fixture
def recorded(sim, client):
    client.server_types.get_list()
    return json.loads(sim.replies.read_text())


@pytest.mark.parametrize(
    ("key", "value"), [("cores", None), ("deprecated", False), ("cores", "two")]
)
def test_a_missing_an_invented_and_a_mistyped_key_are_noticed(recorded, key, value):
    body = recorded["body"]
    assert shapes.problem("list_server_types", 200, body) is None
    kind = body["server_types"][0]
    kind.pop(key, None)
    if value is not None:
        kind[key] = value
    assert key in shapes.problem("list_server_types", 200, body)


def test_a_reply_is_exempt_for_the_fault_that_spoiled_it_and_for_nothing_else(sim, client, tmp_path):
    rule = {"fault": {"kind": "replace_keys", "keys": {"total_entries": -1}}}
    sim.control("POST", "/faults", rule)
    client.ssh_keys.get_list()
    client.ssh_keys.get_list()
    spoiled, right = map(json.loads, sim.replies.read_text().splitlines())
    assert spoiled["odd"]
    assert "total_entries" in shapes.problem("list_ssh_keys", 200, spoiled["body"])
    assert not right["odd"]
    right["body"]["novelty"] = 1
    forged = tmp_path / "replies.jsonl"
    forged.write_text(json.dumps(right))
    with pytest.raises(AssertionError, match="novelty"):
        shapes.check_recording(forged)

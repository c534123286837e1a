"""Hetzner's own Python client, unchanged, against the simulator."""

import time

import pytest
from hcloud import APIException
from hcloud.actions import ActionFailedException
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import Server, ServerCreatePublicNetwork
from hcloud.ssh_keys import SSHKey

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me"


def create(client, name="a", **more):
    order = {
        "name": name,
        "server_type": ServerType(name="cx23"),
        "image": Image(id=123456),
        "location": Location(name="nbg1"),
    }
    return client.servers.create(**(order | more))


def created(client, name="a", **more):
    reply = create(client, name, **more)
    reply.action.wait_until_finished()
    for action in reply.next_actions:
        action.wait_until_finished()
    return client.servers.get_by_id(reply.server.id)


def eventually(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Servers


def test_a_server_is_created_waited_for_and_deleted(client):
    reply = create(client, user_data="#cloud-config\n", labels={"team": "x"})
    assert reply.server.status == Server.STATUS_INIT
    assert reply.root_password
    assert reply.action.command == "create_server"
    assert [action.command for action in reply.next_actions] == ["start_server"]
    reply.action.wait_until_finished()
    for action in reply.next_actions:
        action.wait_until_finished()
    server = client.servers.get_by_name("a")
    assert server.status == Server.STATUS_RUNNING
    assert server.server_type.name == "cx23"
    assert server.location.name == "nbg1"
    assert server.image.id == 123456
    assert server.public_net.ipv4.ip.startswith("198.1")
    assert server.labels == {"team": "x"}
    assert server.created.year >= 2026
    server.delete().wait_until_finished()
    with pytest.raises(APIException) as gone:
        client.servers.get_by_id(server.id)
    assert gone.value.code == "not_found"
    assert client.servers.get_by_name("a") is None


def test_lists_are_selected_sorted_and_paged_to_the_end(client):
    for number in range(55):
        create(client, f"s{number:02}", labels={"half": str(number % 2), "all": "yes"})
    assert len(client.servers.get_all()) == 55
    assert len(client.servers.get_all(label_selector="half=1")) == 27
    assert len(client.servers.get_all(label_selector="half in (0,1),all,!none")) == 55
    page = client.servers.get_list(page=2, per_page=50)
    assert [server.name for server in page.servers] == ["s50", "s51", "s52", "s53", "s54"]
    assert page.meta.pagination.next_page is None
    assert page.meta.pagination.total_entries == 55
    assert client.servers.get_list(status=["off"]).servers == []


def test_labels_and_name_are_replaced(client):
    server = created(client, labels={"a": "1", "b": "2"})
    server = server.update(name="z", labels={"b": "3"})
    assert (server.name, server.labels) == ("z", {"b": "3"})
    assert client.servers.get_by_name("z").labels == {"b": "3"}


def test_power_is_switched(client):
    server = created(client)
    for act, status in [
        ("power_off", "off"),
        ("power_on", "running"),
        ("reboot", "running"),
        ("reset", "running"),
    ]:
        getattr(server, act)().wait_until_finished()
        server.reload()
        assert server.status == status, act
    server.shutdown().wait_until_finished()
    eventually(lambda: client.servers.get_by_id(server.id).status == "off")


def test_a_server_can_stay_off_and_have_no_ipv4(client):
    server = created(
        client,
        start_after_create=False,
        public_net=ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=True),
    )
    assert server.status == "off"
    assert server.public_net.ipv4 is None


def test_a_server_is_rebuilt_protected_and_imaged(client):
    server = created(client)
    image = client.images.get_by_name_and_architecture("debian-12", "x86")
    server.rebuild(image).action.wait_until_finished()
    server.reload()
    assert (server.status, server.image.name) == ("running", "debian-12")
    server.change_protection(delete=True, rebuild=True).wait_until_finished()
    with pytest.raises(APIException) as refused:
        server.delete()
    assert refused.value.code == "protected"
    made = server.create_image(description="mine", labels={"k": "v"})
    assert client.images.get_by_id(made.image.id).created_from.id == server.id


def test_actions_are_listed_and_asked_for_by_id(client):
    server = created(client)
    commands = [action.command for action in server.get_actions()]
    assert sorted(commands) == ["create_server", "start_server"]
    action = client.servers.actions.get_all(status=["success"])[0]
    assert client.actions.get_by_id(action.id).progress == 100
    assert action.resources[0]["id"] == server.id


def test_a_failing_creation_is_an_action_that_fails(sim, client):
    sim.control(
        "POST",
        "/faults",
        {"match": {"operation": "create_server"}, "fault": {"kind": "action_error"}},
    )
    reply = create(client)
    with pytest.raises(ActionFailedException):
        reply.action.wait_until_finished()
    assert client.servers.get_by_name("a") is None


# Around servers


def test_firewalls(client):
    rule = FirewallRule(
        direction="in", protocol="udp", port="41641", source_ips=["0.0.0.0/0", "::/0"]
    )
    selector = FirewallResource(
        type="label_selector",
        label_selector=FirewallResourceLabelSelector(selector="team=x"),
    )
    made = client.firewalls.create(
        name="fw", rules=[rule], labels={"fleet": "f"}, resources=[selector]
    )
    for action in made.actions:
        action.wait_until_finished()
    server = created(client, labels={"team": "x"})

    def applied():
        server.reload()
        return [f.status for f in server.public_net.firewalls] == ["applied"]

    eventually(applied)
    firewall = client.firewalls.get_by_name("fw")
    assert firewall.rules[0].port == "41641"
    members = firewall.applied_to[0].applied_to_resources
    assert [member.server.id for member in members] == [server.id]
    with pytest.raises(APIException) as used:
        firewall.delete()
    assert used.value.code == "resource_in_use"
    for action in firewall.remove_from_resources([selector]):
        action.wait_until_finished()
    for action in firewall.set_rules([]):
        action.wait_until_finished()
    assert client.firewalls.get_by_id(firewall.id).rules == []
    assert firewall.update(labels={"ledger": "a.2"}).labels == {"ledger": "a.2"}
    direct = FirewallResource(type="server", server=server)
    for action in firewall.apply_to_resources([direct]):
        action.wait_until_finished()
    for action in firewall.remove_from_resources([direct]):
        action.wait_until_finished()
    assert firewall.delete()
    assert client.firewalls.get_all() == []


def test_a_firewall_given_at_creation_is_applied(client):
    firewall = client.firewalls.create(name="fw").firewall
    server = created(client, firewalls=[firewall])
    assert [f.status for f in server.public_net.firewalls] == ["applied"]


def test_ssh_keys(client):
    key = client.ssh_keys.create(name="k", public_key=KEY)
    assert client.ssh_keys.get_by_fingerprint(key.fingerprint).id == key.id
    assert create(client, ssh_keys=[SSHKey(name="k")]).root_password is None
    assert key.update(labels={"a": "b"}).labels == {"a": "b"}
    with pytest.raises(APIException) as taken:
        client.ssh_keys.create(name="k", public_key=KEY)
    assert taken.value.code == "uniqueness_error"
    assert key.delete()
    assert client.ssh_keys.get_by_name("k") is None


def test_images(client):
    found = client.images.get_all(
        type=["snapshot"],
        label_selector="role=cattle-image",
        architecture=["arm"],
        sort=["created:desc"],
    )
    assert [image.id for image in found] == [123457]
    assert client.images.get_by_name_and_architecture("debian-12", "arm").architecture == "arm"
    old = client.images.get_by_name_and_architecture(
        "debian-11", "x86", include_deprecated=True
    )
    assert old.deprecation.unavailable_after.isoformat() == "2026-11-30T00:00:00+00:00"


def test_server_types_locations_and_prices(client):
    types = client.server_types.get_all()
    assert len(types) == 25
    cx23 = client.server_types.get_by_name("cx23")
    assert (cx23.cores, cx23.memory, cx23.disk, cx23.architecture) == (2, 4, 40, "x86")
    assert [place.location.name for place in cx23.locations] == ["fsn1", "nbg1", "hel1"]
    assert all(place.available for place in cx23.locations)
    assert client.server_types.get_by_name("cx22") is None
    retired = client.server_types.get_by_name("cpx11").locations[0]
    assert retired.deprecation.unavailable_after.year == 2025
    assert client.locations.get_by_name("hil").network_zone == "us-west"
    pricing = client._client.request(method="GET", url="/pricing")["pricing"]
    assert pricing["currency"] == "EUR"


def test_placement_groups_and_primary_ips(client):
    group = client.placement_groups.create(name="g", type="spread").placement_group
    server = created(client, placement_group=group)
    assert client.placement_groups.get_by_name("g").servers == [server.id]
    assert server.placement_group.id == group.id
    ips = client.primary_ips.get_all()
    assert sorted(ip.type for ip in ips) == ["ipv4", "ipv6"]
    assert {ip.assignee_id for ip in ips} == {server.id}


@pytest.mark.parametrize(
    "collection",
    ["networks", "volumes", "floating_ips", "isos", "load_balancers", "certificates"],
)
def test_what_is_not_imitated_is_an_empty_list(client, collection):
    assert getattr(client, collection).get_all() == []


# Refusals


def refused(call, *arguments, **more):
    with pytest.raises(APIException) as refusal:
        call(*arguments, **more)
    return refusal.value


def test_refusals_have_the_codes_of_the_api(sim, client):
    assert refused(create, client, user_data="x" * 32769).code == "invalid_input"
    error = refused(create, client, server_type=ServerType(name="cx22"))
    assert (error.code, error.message) == ("invalid_input", "server type 104 is deprecated")
    error = refused(create, client, image=Image(id=123457))
    assert error.message == "image has incompatible architecture"
    error = refused(create, client, location=Location(name="ash"))
    assert error.message == "unsupported location for server type"
    sim.control("PUT", "/timing", {"createMs": 60_000})
    create(client)
    error = refused(create, client)
    assert (error.code, error.details) == ("uniqueness_error", {})
    sim.control("PUT", "/stock", {"all": "out_of_stock"})
    assert refused(create, client, "b").code == "resource_unavailable"
    sim.control("PUT", "/quota", {"maxServers": 1})
    error = refused(create, client, "b")
    assert error.code == "resource_limit_exceeded"
    assert error.details == {"limits": [{"name": "server_limit"}]}
    sim.control("PUT", "/account", {"restricted": True})
    assert refused(create, client, "b").code == "forbidden"
    assert refused(client.servers.delete, client.servers.get_by_name("a")).code == "locked"


def test_tokens(start):
    sim = start("--read-only-token", "reader")
    assert refused(sim.client("wrong").servers.get_all).code == "unauthorized"
    reader = sim.client("reader")
    assert reader.servers.get_all() == []
    assert refused(create, reader).code == "token_readonly"


def test_an_empty_bucket_is_a_429_that_the_client_waits_out(sim, client):
    sim.control("PUT", "/rate-limit", {"limit": 36000, "remaining": 0})
    began = time.monotonic()
    assert client.servers.get_all() == []
    statuses = [call["status"] for call in sim.control("GET", "/calls")["calls"]]
    assert statuses[0] == 429 and statuses[-1] == 200, statuses
    assert time.monotonic() > began


def test_datacenters_are_gone(client):
    error = refused(client._client.request, method="GET", url="/datacenters")
    assert error.code == "deprecated_api_endpoint"
    assert error.details["announcement"].startswith("https://")


def test_a_gateways_text_is_retried_and_its_create_ends_in_one_server(sim, client):
    sim.control(
        "POST",
        "/faults",
        {
            "match": {"operation": "create_server"},
            "when": "after",
            "fault": {"kind": "text", "status": 504},
        },
    )
    # The client repeats a POST of itself; the unique name keeps that from making two.
    assert refused(create, client).code == "uniqueness_error"
    assert len(client.servers.get_all()) == 1


def test_the_legacy_keys_can_be_had(start):
    client = start("--legacy-deprecated").client()
    raw = client._client.request(method="GET", url="/server_types/114")
    assert raw["server_type"]["deprecated"] is False
    assert len(client.server_types.get_all()) == 25


def test_the_cost_is_that_of_started_hours(sim, client):
    created(client).delete().wait_until_finished()
    cost = sim.control("GET", "/cost")
    assert (cost["total"], cost["serversTotal"], cost["ipv4Total"]) == (
        "0.0096",
        "0.0088",
        "0.0008",
    )

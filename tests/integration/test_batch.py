"""JSON-RPC batches: revision 2025-03-26 has them, no other does (P-008..P-010, P-121)."""
import json
import subprocess

import pytest
from conftest import binary, fixture_server


def batch(gw, session, messages, **headers):
    return gw.request("POST", "/mcp", messages, {"Mcp-Session-Id": session.id, "Accept": "application/json, text/event-stream", **headers})


def request(number, method="ping", params=None):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}


def call(number, name, **arguments):
    return request(number, "tools/call", {"name": name, "arguments": arguments})


def test_requests_run_at_once_and_come_back_together(gateway):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    s = gw.session("2025-03-26")
    answer = batch(gw, s, [call(1, "up__echo", text="a"), {"jsonrpc": "2.0", "method": "notifications/initialized"},
                           request("two"), call(3, "nope"), call(4, "up__echo", text="d")])
    assert answer.status == 200
    got = {m["id"]: m for m in answer.json}
    assert set(got) == {1, "two", 3, 4}
    assert got[1]["result"]["content"][0]["text"] == "a" and got[4]["result"]["content"][0]["text"] == "d"
    assert got["two"]["result"] == {} and got[3]["error"]["code"] == -32602


def test_nothing_to_answer_is_202(gateway):
    gw = gateway()
    s = gw.session("2025-03-26")
    answer = batch(gw, s, [{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}},
                           {"jsonrpc": "2.0", "id": "never-asked", "result": {}}])
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("messages,code", [([], -32600), ([request(i) for i in range(200)], -32600)])
def test_batches_that_are_none(gateway, messages, code):
    gw = gateway()
    answer = batch(gw, gw.session("2025-03-26"), messages)
    assert answer.status == 400 and answer.json["error"]["code"] == code


def test_items_that_are_no_messages_are_answered_each(gateway):
    gw = gateway()
    answer = batch(gw, gw.session("2025-03-26"), [1, [request(5)], request(1, "initialize"), {"jsonrpc": "1.0", "id": 7, "method": "ping"}, request(2)])
    codes = [m.get("error", {}).get("code") for m in answer.json]
    assert codes == [-32600, -32600, -32600, -32600, None]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25", None])
def test_no_other_revision_has_them(gateway, version):
    gw = gateway()
    headers = {"Mcp-Session-Id": gw.session(version).id} if version else {}
    answer = gw.request("POST", "/mcp", [request(1)], headers)
    assert answer.status == 400 and answer.json["error"]["code"] == -32600


@pytest.mark.parametrize("version,ids", [("2026-07-28", []), ("2025-11-25", []), ("2025-06-18", [None])])
def test_the_refusal_has_the_id_that_the_revision_of_the_header_wants(gateway, version, ids):
    """P-007, P-008"""
    answer = gateway().request("POST", "/mcp", [request(1)], {"MCP-Protocol-Version": version})
    assert answer.status == 400 and [answer.json[k] for k in answer.json if k == "id"] == ids


def test_a_line_may_be_a_batch():
    lines = [request(0, "initialize", {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
             [request(1), call(2, "get_current_time"), {"jsonrpc": "2.0", "method": "notifications/initialized"}]]
    done = subprocess.run([binary(), "serve", "--role", "server:time", "--stdio"], text=True, timeout=60,
                          input="".join(json.dumps(line) + "\n" for line in lines), stdout=subprocess.PIPE, check=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    together = next(m for m in said if isinstance(m, list))
    assert [m["id"] for m in together] == [1, 2] and together[1]["result"]["content"]

"""Sessions of legacy clients as a whole (P-146..P-148): many of them, several uses of one at once, on several workers;
and both eras side by side on one connection."""
import http.client
import json
import os
import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Stream, http_server, sanitized, wait_for

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {"roots": {}, "elicitation": {"form": {}}},
    "clientInfo": {"name": "a client whose name is of usual length", "version": "1"}}}


class Connection:
    """One connection that is kept; which worker has it, the kernel decided."""

    def __init__(self, gateway):
        self.gateway, self.http = gateway, http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)

    def post(self, message, headers):
        self.http.request("POST", "/mcp", json.dumps(message), {
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {self.gateway.key}", **headers})
        answer = self.http.getresponse()
        body = answer.read()
        return answer.status, answer.headers, json.loads(body) if body.startswith(b"{") else body.decode()

    def legacy(self, session, method, params=None, number=1):
        message = {"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params is not None else {})}
        return self.post(message, {"Mcp-Session-Id": session.id, "MCP-Protocol-Version": session.version})

    def modern(self, method, params=None, number=1):
        params = {**(params or {}), "_meta": MODERN}
        name = {"Mcp-Name": params["name"]} if "name" in params else {}
        return self.post({"jsonrpc": "2.0", "id": number, "method": method, "params": params},
                         {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, **name})

    def close(self):
        self.http.close()


# Of two workers, each has some of so many connections: the kernel deals them out by a hash of their ports.
ENOUGH = 32


@pytest.fixture
def two_workers(gateway, processes):
    server = http_server(processes)
    gw = gateway({"workers": 2, "builtins": ["time"], "upstreams": {"up": {"url": server.url}},
                  "limits": {"stream_after": "0s"}})  # a call that took long is no stream, so its status is its own
    gw.wait_ready("up")
    return gw


def test_a_session_is_the_same_on_every_worker(two_workers):
    """What one connection changes is so for the next one, wherever it is served."""
    session = two_workers.session()
    connections = [Connection(two_workers) for _ in range(ENOUGH)]
    for i, c in enumerate(connections):
        status, _, answer = c.legacy(session, "ping", number=i)
        assert (status, answer) == (200, {"jsonrpc": "2.0", "id": i, "result": {}})
    assert connections[0].legacy(session, "logging/setLevel", {"level": "debug"})[0] == 200
    assert all(c.legacy(session, "initialize", INITIALIZE["params"])[2]["error"]["code"] == -32600 for c in connections)
    assert connections[1].http.request("DELETE", "/mcp", headers={
        "Mcp-Session-Id": session.id, "Authorization": f"Bearer {two_workers.key}"}) is None
    assert connections[1].http.getresponse().read() == b""
    assert all(c.legacy(session, "ping")[0] == 404 for c in connections)
    for c in connections:
        c.close()


def test_a_session_is_used_from_two_workers_at_once(two_workers):
    """Calls of one session on many connections at the same moment: each gets its own answer."""
    session = two_workers.session()
    begin = threading.Barrier(ENOUGH)

    def use(i):
        c = Connection(two_workers)
        begin.wait(60)
        for k in range(10):
            number = i * 100 + k
            text = f"text {number}"
            status, _, answer = c.legacy(session, "tools/call", {"name": "up__echo", "arguments": {"text": text}}, number)
            assert status == 200 and answer["id"] == number
            assert answer["result"]["content"][0]["text"] == text
        c.close()

    with ThreadPoolExecutor(ENOUGH) as pool:
        list(pool.map(use, range(ENOUGH)))


def test_a_call_is_cancelled_from_another_worker(two_workers):
    """P-243: the notification comes on a connection of its own."""
    session = two_workers.session()

    def call(number):
        c = Connection(two_workers)
        answer = c.legacy(session, "tools/call", {"name": "up__slow", "arguments": {"seconds": 30}}, number)
        c.close()
        return answer

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call, n) for n in range(1, 9)]
        wait_for(lambda: two_workers.metric("gatespan_exchanges_in_flight") >= 8, what="eight calls in flight")
        for number in range(1, 9):
            c = Connection(two_workers)  # on either worker
            notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}
            assert c.post(notice, {"Mcp-Session-Id": session.id})[0] == 202
            c.close()
        for done in calls:
            status, _, answer = done.result()
            assert (status, answer) == (202, "")
    wait_for(lambda: two_workers.metric("gatespan_exchanges_in_flight") <= 1, what="nothing is left in flight")


def test_one_stream_of_many_openers(two_workers):
    """The newest GET stream wins, whichever workers the openers came to; the others end."""
    session = two_workers.session()
    streams = [Stream(two_workers, "GET", "/mcp", {"Accept": "text/event-stream", "Mcp-Session-Id": session.id})
               for _ in range(8)]
    assert [s.status for s in streams] == [200] * 8
    wait_for(lambda: two_workers.metric("gatespan_streams_open") == 1, what="one stream")
    assert all(s.rest() == [] for s in streams[:-1])
    assert session.gateway.request("DELETE", "/mcp", None, session.headers).status == 200
    assert streams[-1].rest() == []
    wait_for(lambda: two_workers.metric("gatespan_streams_open") == 0, what="no stream")
    for s in streams:
        s.close()


def test_one_of_many_deletes_ends_it(two_workers):
    """P-147: to the others it is gone."""
    session = two_workers.session()
    begin = threading.Barrier(16)

    def delete(_):
        begin.wait(60)
        return two_workers.request("DELETE", "/mcp", None, {"Mcp-Session-Id": session.id}).status

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(delete, range(16)))
    assert set(statuses) <= {200, 404} and 200 in statuses
    wait_for(lambda: two_workers.metric("gatespan_sessions") == 0, what="sessions")
    assert session.call("ping").status == 404


def test_a_session_that_ends_ends_its_calls(two_workers):
    """P-147: on whichever worker they run; each client is told, nothing new begins, other sessions are left alone."""
    session, other = two_workers.session(), two_workers.session()
    slow = {"name": "up__slow", "arguments": {"seconds": 30}}
    with ThreadPoolExecutor(9) as pool:
        calls = [pool.submit(session.call, "tools/call", slow, request_id=n) for n in range(1, 9)]
        stays = pool.submit(other.call, "tools/call", slow, request_id="stays")
        wait_for(lambda: two_workers.metric("gatespan_exchanges_in_flight") >= 9, what="nine calls in flight")
        assert two_workers.request("DELETE", "/mcp", None, {"Mcp-Session-Id": session.id}).status == 200
        assert session.call("ping").status == 404
        for n, call in enumerate(calls, 1):
            answer = call.result().message
            assert answer["id"] == n and "session was closed" in answer["error"]["message"]
        assert other.notify("notifications/cancelled", {"requestId": "stays"}).status == 202
        assert stays.result().status == 202  # it ran until its own end
    wait_for(lambda: two_workers.metric("gatespan_exchanges_in_flight") <= 1, what="nothing is left in flight")
    wait_for(lambda: two_workers.metric("gatespan_sessions") == 1, what="sessions")


def test_both_eras_on_one_connection(two_workers):
    """P-055: each request says its era; what one is does not stick to the connection."""
    session, c = two_workers.session("2025-06-18"), Connection(two_workers)
    other = two_workers.session("2025-03-26")
    for i in range(10):
        status, headers, answer = c.legacy(session, "tools/call", {"name": "up__echo", "arguments": {"text": "old"}}, i)
        assert status == 200 and "resultType" not in answer["result"] and "mcp-session-id" not in headers
        status, headers, answer = c.modern("tools/call", {"name": "up__echo", "arguments": {"text": "new"}}, i)
        assert status == 200 and answer["result"]["resultType"] == "complete" and "mcp-session-id" not in headers
        status, _, answer = c.modern("ping")
        assert answer["error"]["code"] == -32601  # legacy alone has it
        assert c.legacy(other, "ping")[0] == 200  # another session's turn
        assert c.legacy(session, "server/discover")[2]["error"]["code"] == -32601
        assert c.modern("server/discover")[2]["result"]["supportedVersions"] == ["2026-07-28"]
    c.close()


# ---- what many cost -----------------------------------------------------------------------------------


def family(pid):
    """The process and what it started."""
    found = [pid]
    for each in found:
        for children in pathlib.Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def pss(pid):
    """KiB of the whole tree."""
    total = 0
    for each in family(pid):
        rows = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        # of files only what others do not map too: their coming and going changes the rest
        total += sum(int(row.split()[1]) for row in rows if row.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total


def open_sessions(gw, count):
    """Their ids; over a few connections, so that these are not what is measured."""
    def some(n):
        c = Connection(gw)
        ids = []
        for _ in range(n):
            status, headers, _ = c.post(INITIALIZE, {})
            assert status == 200
            ids.append(headers["mcp-session-id"])
            notice = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert c.post(notice, {"Mcp-Session-Id": ids[-1]})[0] == 202
        c.close()
        return ids

    with ThreadPoolExecutor(4) as pool:
        return [i for ids in pool.map(some, [count // 4] * 4) for i in ids]


def end_sessions(gw, ids):
    c = Connection(gw)
    for i in ids:
        c.http.request("DELETE", "/mcp", headers={"Mcp-Session-Id": i, "Authorization": f"Bearer {gw.key}"})
        answer = c.http.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    c.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="the kernel tells no sums of memory")
def test_five_thousand_idle_sessions(gateway):
    """At most 2 KiB each (DESIGN §11), records in shared state included; nothing is left when they have ended."""
    gw = gateway({"workers": 2, "builtins": ["time"]})
    end_sessions(gw, open_sessions(gw, 400))  # whatever the first ones make
    before = pss(gw.process.pid)
    ids = open_sessions(gw, 5000)
    wait_for(lambda: gw.metric("gatespan_sessions") == 5000, what="sessions")
    wait_for(lambda: gw.metric("gatespan_shared_entries") == 5000, what="shared_entries")
    assert gw.metric("gatespan_shared_bytes") < 5000 * 512
    grown = pss(gw.process.pid) - before
    if not sanitized():  # which keeps what was freed, and a margin around each block
        assert grown <= 5000 * 2, f"{grown / 5000:.2f} KiB for each session"
    end_sessions(gw, ids)
    wait_for(lambda: gw.metric("gatespan_sessions") == 0, what="sessions")
    wait_for(lambda: gw.metric("gatespan_shared_entries") == 0, what="shared_entries")
    wait_for(lambda: gw.metric("gatespan_shared_bytes") == 0, what="shared_bytes")


def test_without_room_for_its_record_no_session_is_opened(gateway):
    """limits.shared: a refusal that says why and when to come back, then room again."""
    gw = gateway({"limits": {"shared": "1MiB"}})
    c, ids = Connection(gw), []
    while True:
        status, headers, answer = c.post(INITIALIZE, {})
        if status != 200:
            break
        ids.append(headers["mcp-session-id"])
        assert len(ids) < 100000
    assert status == 503 and int(headers["retry-after"]) >= 1
    assert "limits: shared" in answer["error"]["message"]
    assert gw.metric("gatespan_shared_bytes") <= gw.metric("gatespan_shared_limit_bytes") == 1 << 20
    wait_for(lambda: gw.metric("gatespan_sessions") == len(ids), what="sessions")
    assert c.legacy(type("S", (), {"id": ids[0], "version": "2025-11-25"}), "ping")[0] == 200
    end_sessions(gw, ids[:1])
    assert c.post(INITIALIZE, {})[0] == 200
    c.close()

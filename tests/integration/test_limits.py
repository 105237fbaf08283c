"""Bounds on what clients can make the gateway hold: each is answered with 429 or 503 and Retry-After, and
room that becomes free is given again."""
import json
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import http_server, replace, wait_for

KEY_A, KEY_B = "key-a-secret-0123456789", "key-b-secret-0123456789"
KEYS = {"a": {"secret": KEY_A}, "b": {"secret": KEY_B}}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def initialize(gateway, key=""):
    return gateway.request("POST", "/mcp", {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}, ACCEPT, key)


def refused(answer, status):
    assert answer.status == status, (answer.status, answer.body)
    assert int(answer.headers["retry-after"]) >= 1
    return answer.message["error"]["message"]


def end(gateway, answer, key=""):
    headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
    assert gateway.request("DELETE", "/mcp", None, headers, key).status == 200


def test_sessions_of_one_key(gateway):
    """One key's sessions are no other key's trouble."""
    gw = gateway({"keys": KEYS, "limits": {"sessions_per_key": 3}})
    opened = [initialize(gw, KEY_A) for _ in range(3)]
    assert [a.status for a in opened] == [200] * 3
    assert "session" in refused(initialize(gw, KEY_A), 429)
    assert initialize(gw, KEY_B).status == 200
    end(gw, opened[0], KEY_A)
    assert initialize(gw, KEY_A).status == 200


def test_sessions_in_all(gateway):
    gw = gateway({"keys": KEYS, "limits": {"sessions": 4}})
    opened = [initialize(gw, key) for key in (KEY_A, KEY_B, KEY_A, KEY_B)]
    assert [a.status for a in opened] == [200] * 4
    refused(initialize(gw, KEY_A), 429)
    end(gw, opened[0], KEY_A)
    assert initialize(gw, KEY_B).status == 200
    assert gw.modern("tools/list").status == 200  # modern clients need none


def test_idle_sessions_end(gateway):
    """Used ones live on; an ended one is 404, so its client initializes anew (P-146)."""
    gw = gateway({"limits": {"session_idle": "3s"}})
    used, idle = gw.session(), gw.session()
    began = before = time.monotonic()
    while time.monotonic() - began < 5:
        time.sleep(0.1)  # the time itself is what is tested
        now = time.monotonic()
        if used.call("ping").status != 200:  # only where this machine stood still for the whole time
            assert time.monotonic() - before > 3, "a session that is used ended"
            used = gw.session()
        before = now
    assert idle.call("ping").status == 404


class Open:
    """An event stream that stays open until close(); its status."""

    def __init__(self, gateway, head, body=b""):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), 60)
        self.socket.sendall(head.encode() + f"Host: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        self.answer = self.socket.recv(4096)
        self.status = int(self.answer[9:12])

    def close(self):
        self.socket.close()


def listen(gateway, key):
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
            "params": {"notifications": {"toolsListChanged": True}, "_meta": meta}}
    return Open(gateway, f"POST /mcp HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
                f"Mcp-Method: subscriptions/listen\r\n", json.dumps(body).encode())


def get_stream(gateway, key):
    session = initialize(gateway, key).headers["mcp-session-id"]
    return Open(gateway, f"GET /mcp HTTP/1.1\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n"
                f"Mcp-Session-Id: {session}\r\n")


@pytest.mark.parametrize("open_one", [listen, get_stream])
def test_streams_of_one_key(gateway, open_one):
    gw = gateway({"workers": 1, "keys": KEYS, "limits": {"streams_per_key": 3}})
    streams = [open_one(gw, KEY_A) for _ in range(3)]
    assert [s.status for s in streams] == [200] * 3
    more = open_one(gw, KEY_A)
    assert more.status == 429 and b"retry-after" in more.answer.lower()
    other = open_one(gw, KEY_B)
    assert other.status == 200
    streams[0].close()
    wait_for(lambda: gw.metric("gatespan_streams_open") == 3, what="one stream less")
    assert (last := open_one(gw, KEY_A)).status == 200
    for s in [*streams[1:], more, other, last]:
        s.close()


def test_calls_in_flight(gateway, processes):
    """More get 503 at once instead of a place in a queue without end; operation is not shut out."""
    server = http_server(processes)
    gw = gateway({"workers": 1, "builtins": ["time"], "upstreams": {"up": {"url": server.url}}, "limits": {"in_flight": 3}})
    gw.wait_ready("up")
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(gw.call_tool, "up__slow", until="released") for _ in range(3)]
        try:
            wait_for(lambda: server.busy() == 3, what="three in flight")
            refused(gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}), 503)
            assert gw.request("GET", "/health").status == 200
        finally:
            server.release()
        assert all("content" in c.result() for c in calls)
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="room again")
    assert "content" in gw.call_tool("time__get_current_time")


def greet(gw):
    """A connection that asked once, and the status of its answer."""
    s = socket.create_connection(("127.0.0.1", gw.port), 10)
    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(4096)
        assert more, head
        head += more
    return s, int(head.split()[1])


def wait_for_connections(gw, n):
    """Those that were closed may be counted for a moment yet; the one that asks is one, too."""
    wait_for(lambda: gw.metric("gatespan_client_connections") == n + 1, what=f"{n} connections")


def test_connections_are_bounded_as_one_number(gateway):
    """However the kernel spreads them over the workers: not one is refused too early, or let in too late."""
    gw = gateway({"workers": 3, "limits": {"connections": 40}})
    wait_for_connections(gw, 0)
    open_ones = [greet(gw) for _ in range(40)]
    assert [status for _, status in open_ones] == [200] * 40
    for _ in range(3):
        s, status = greet(gw)
        assert status == 503
        s.close()
    for s, _ in open_ones:
        s.close()
    wait_for_connections(gw, 0)


def few_files(n):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))


def test_connections_leave_descriptors_for_the_rest(gateway):
    """Where there are fewer than limits.connections wants, the bound is lowered at the start, named with its remedy:
    clients get 503, those that are there go on, and their calls find descriptors."""
    gw = gateway({"workers": 2, "limits": {"connections": 5000}}, preexec_fn=few_files(300))
    told = next(json.loads(line) for line in gw.logs().splitlines() if "fewer file descriptors" in line)
    assert (told["have"], told["want"]) == (300, 6000) and "LimitNOFILE" in told["remedy"]
    wait_for_connections(gw, 0)
    kept = [greet(gw) for _ in range(told["connections"] - 1)]
    assert {status for _, status in kept} == {200}
    assert "content" in gw.call_tool("time__get_current_time")
    wait_for_connections(gw, len(kept))
    last = greet(gw)
    assert last[1] == 200 and greet(gw)[1] == 503
    assert "out of file descriptors" not in gw.logs()
    for s, _ in [*kept, last]:
        s.close()
    wait_for_connections(gw, 0)


def test_limits_are_raised_while_it_runs(gateway, tmp_path):
    """An operator who needs more under load cannot restart."""
    conf = {"workers": 2, "limits": {"connections": 5, "buffers": "8MiB"}}
    gw = gateway(conf, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (1100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    wait_for_connections(gw, 0)
    held = [greet(gw) for _ in range(5)]
    assert greet(gw)[1] == 503
    replace(tmp_path / "gatespan.json", {**conf, "limits": {"connections": 2000, "buffers": "64MiB"}})
    gw.wait_log("configuration reloaded")
    wait_for(lambda: gw.metric("gatespan_buffer_limit_bytes") == 64 << 20, what="more memory")
    assert gw.metric("process_max_fds") >= 3000  # as far as they may be raised, they are
    held += [greet(gw) for _ in range(5)]
    assert [status for _, status in held] == [200] * 10
    for s, _ in held:
        s.close()


def test_memory_of_bodies(gateway):
    """Bodies that are on their way count; beyond the bound large ones get 503, small ones are served."""
    gw = gateway({"workers": 1, "limits": {"buffers": "1MiB", "body": "1MiB"}})
    wait_for(gw.tools, what="time listed")
    head = (f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {gw.key}\r\nContent-Type: application/json\r\n"
            "Content-Length: 600000\r\n\r\n").encode()
    held = []
    for _ in range(4):
        s = socket.create_connection(("127.0.0.1", gw.port), 60)
        s.sendall(head + b" " * 500000)
        held.append(s)

    def refusals():
        found = 0
        for s in held:
            s.settimeout(0.05)
            try:
                found += s.recv(4096, socket.MSG_PEEK).startswith(b"HTTP/1.1 503")
            except TimeoutError:
                pass
        return found

    assert wait_for(refusals, what="a refusal") < 4
    assert gw.modern("tools/list").status == 200
    for s in held:
        s.close()
    big = {"name": "time__get_current_time", "arguments": {}, "pad": "x" * 500000}
    wait_for(lambda: gw.modern("tools/call", big).status == 200, what="room again")

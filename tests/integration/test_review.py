"""Ways around the rules: permissions, Host and Origin, limits, what a reload must not leave behind."""
import concurrent.futures
import http.client
import json
import signal
import socket
import sys
import time

import pytest
from conftest import (catches, fixture_server, free_port, http_server, memory_bound, replace, resident, upstream_config,
                      wait_for)

CLIENT_KEY = "a-client-key-of-the-tests"

RESOURCES = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    p, r = m.get("params", {}), None
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-11-25", "capabilities": {"resources": {}, "tools": {}},
             "serverInfo": {"name": "r", "version": "1"}}
    elif m["method"] == "resources/list":
        r = {"resources": [{"uri": "file:///listed", "name": "listed"}]}
    elif m["method"] == "resources/templates/list":
        r = {"resourceTemplates": [{"uriTemplate": "file:///tree/{+path}", "name": "tree"}]}
    elif m["method"] == "resources/read":
        r = {"contents": [{"uri": p["uri"], "text": "text of " + p["uri"]}]}
    elif m["method"] == "tools/list":
        r = {"tools": [{"name": "a", "inputSchema": {"type": "object"}},
                       {"name": "b", "inputSchema": {"type": "object"}}]}
    elif m["method"] == "tools/call":
        r = {"content": [{"type": "text", "text": p["name"]}]}
    body = {"result": r} if r is not None else {"error": {"code": -32601, "message": "no"}}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **body}), flush=True)
"""


def resources(keys):
    return {**upstream_config("r", command=sys.executable, args=["-c", RESOURCES]), "keys": keys}


def read(gw, uri, key):
    return gw.modern("resources/read", {"uri": uri}, key=key).message


# ---- permissions

@pytest.mark.parametrize("uri", [
    "gatespan+file://r//tree/secret/x",        # an expansion of an allowed template
    "gatespan+file://r//other/secret/x",       # in no list
    "GATESPAN+file://r//other/secret/x",       # other spellings of it
    "gatespan+FILE://r//other/secret/x",
    "gatespan://r/file:///other/secret/x",
])
def test_a_denied_uri_is_denied_however_it_is_reached(gateway, uri):
    gw = gateway(resources({"c": {"secret": CLIENT_KEY, "deny": ["gatespan+file://r//*/secret/*"]}}))
    gw.wait_ready("r")
    for fine in ("gatespan+file://r//tree/x", "gatespan+file://r//other/x", "gatespan+file://r//listed"):
        assert "result" in read(gw, fine, CLIENT_KEY), fine
    assert read(gw, uri, CLIENT_KEY)["error"]["code"] == -32602


def test_a_key_that_loses_a_right_loses_it_with_the_reload(gateway, tmp_path):
    """Also on a worker that serves it in the very moment of the reload."""
    config = resources({"c": {"secret": CLIENT_KEY}})
    gw = gateway(config, "--workers", "1")
    gw.wait_ready("r")
    for _ in range(10):
        for deny, code in (["r__b"], -32602), ([], None):
            config["keys"]["c"]["deny"] = deny
            before = gw.logs().count("configuration reloaded")
            replace(tmp_path / "gatespan.json", config)
            gw.process.send_signal(signal.SIGHUP)

            def reloaded():
                gw.modern("tools/call", {"name": "r__b"}, key=CLIENT_KEY)
                return gw.logs().count("configuration reloaded") > before
            wait_for(reloaded, what="the reload")
            wait_for(lambda: gw.modern("tools/call", {"name": "r__b"}, key=CLIENT_KEY).message.get(
                "error", {}).get("code") == code, what="the new right")


def test_a_revoked_key_reads_the_log_no_longer(gateway):
    gw = gateway()
    made = gw.request("POST", "/api/v1/keys", {"name": "spy", "admin": True}).json
    connection = http.client.HTTPConnection("127.0.0.1", gw.port, timeout=60)
    connection.request("GET", "/api/v1/logs", headers={"Authorization": f"Bearer {made['key']}"})
    stream = connection.getresponse()
    assert stream.status == 200 and stream.readline()
    tag = gw.request("GET", f"/api/v1/keys/{made['id']}").headers["etag"]
    assert gw.request("DELETE", f"/api/v1/keys/{made['id']}", None, {"If-Match": tag}).status == 204
    gw.request("POST", "/api/v1/proxy/servers", {"name": "after-it", "config": {"builtin": "time"}})
    assert b"after-it" not in stream.read()


def test_two_keys_with_one_id_are_refused(gateway):
    keys = {n: {"secret": f"gs_abcdefghjkmn_{n * 20}"} for n in ("a", "b")}
    gw = gateway(resources(keys), wait=False)
    gw.process.wait(60)
    assert gw.process.returncode != 0
    wait_for(lambda: "id" in gw.logs())
    gw.process.returncode = 0


# ---- Host (P-171)

@pytest.mark.parametrize("host, status", [
    ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200),
    ("127.0.0.1.evil.example", 401), ("evil.example:8000", 401),
])
def test_a_foreign_host_is_not_anonymous(gateway, host, status):
    """A page whose name was pointed at this machine comes from it, and its Origin fits its Host."""
    port = free_port()
    gw = gateway({"anonymous": "loopback"}, "--listen", f"0.0.0.0:{port}", listen=False, wait=False)
    gw.port, gw.url = port, f"http://127.0.0.1:{port}"
    gw.wait_log('"event":"listening"')
    answer = gw.modern("tools/list", key=None, headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status == status, answer.body


# ---- messages

def test_a_name_spelled_with_escapes_fits_its_header(gateway):
    gw = gateway(resources({}))
    gw.wait_ready("r")
    uri = "gatespan+file://r//listed"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}}}}).replace(uri, uri.replace("/", "\\/"))
    answer = gw.request("POST", "/mcp", body.encode(), {
        "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "resources/read", "Mcp-Name": uri})
    assert "result" in answer.message, answer.body


def test_no_spelling_of_a_meta_key_passes_for_ours(gateway, processes):
    """What the client says of its era stays here, also where a server resolves the escapes."""
    server = http_server(processes, era="modern")
    gw = gateway(upstream_config("h", url=server.url))
    gw.wait_ready("h")
    key = "io.modelcontextprotocol/ours"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "h__echo", "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        key: 1, "a/b": 2}}}).replace(key, key.replace("/", "\\/"))
    answer = gw.request("POST", "/mcp", body.encode(), {
        "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call", "Mcp-Name": "h__echo"})
    assert answer.status == 200, answer.body
    meta = server.seen("tools/call")[-1]["message"]["params"]["_meta"]
    assert key not in meta and meta["a/b"] == 2


def test_an_initialize_over_the_rate_leaves_no_session(gateway):
    gw = gateway({"keys": {"c": {"secret": CLIENT_KEY, "rate": "1/m", "burst": 1}}})
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}
    answers = [gw.request("POST", "/mcp", body, key=CLIENT_KEY).status for _ in range(5)]
    assert answers == [200, 429, 429, 429, 429]
    wait_for(lambda: gw.metric("gatespan_sessions") == 1, what="one session")  # closed behind the answer


# ---- life

def test_an_end_before_the_opening(gateway):
    """SIGTERM while the first lists are waited for."""
    gw = gateway({**upstream_config("w", **fixture_server("mute")), "limits": {"list_wait": "1m"}}, wait=False)
    wait_for(lambda: catches(gw.process, signal.SIGTERM), what="a handler of SIGTERM")
    assert '"event":"listening"' not in gw.logs()
    assert gw.stop() == 0


def test_the_listeners_open_when_the_last_upstream_has_answered(gateway, tmp_path):
    """The first start of a server that takes its time: the first client finds its tools."""
    gate, slow = tmp_path / "gate", fixture_server("modern")
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done; exec \"$0\" \"$@\""
    config = upstream_config("slow", command="/bin/sh", args=["-c", wait, slow["command"], *slow["args"]], probe_timeout="1m")
    config["upstreams"]["quick"] = fixture_server("modern", probe_timeout="1m")
    gw = gateway({**config, "limits": {"list_wait": "1m"}}, wait=False)
    wait_for(lambda: '"event":"upstream connected","upstream":"quick"' in gw.logs(), what="the quick one's lists")
    assert '"event":"listening"' not in gw.logs()
    gate.touch()
    wait_for(lambda: '"event":"listening"' in gw.logs(), what="listening")
    assert {name.split("__")[0] for name in gw.tools()} == {"quick", "slow"}


def test_an_upstream_that_was_given_up_starts_again_with_a_reload(gateway, processes, tmp_path):
    port = free_port()
    gw = gateway(upstream_config("h", url=f"http://127.0.0.1:{port}/mcp", restart_limit=1))
    wait_for(lambda: "given up" in (gw.upstream("h").get("reason") or ""), what="giving up")
    http_server(processes, port)
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_ready("h")


def test_an_upstream_is_lost_while_sessions_are_opened_on_it(gateway, processes):
    """The keeper lets go of its sessions; who waits for one gets an error, and the next a session."""
    server = http_server(processes)
    gw = gateway(upstream_config("h", url=server.url, share="session", timeout="3s", restart_backoff="10ms"))
    gw.wait_ready("h")
    clients = [gw.session() for _ in range(6)]
    server.behave(faults={"initialize": {"kind": "nothing"}, "tools/list": {"kind": "status", "status": 500}})
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(c.call, "tools/call", {"name": "h__echo", "arguments": {"text": "x"}})
                 for c in clients for _ in range(2)]
        wait_for(lambda: len(server.seen("initialize")) > 1, what="a session being opened")
        wait_for(lambda: server.push("notifications/tools/list_changed"), what="the stream upstream")
        wait_for(lambda: gw.upstream("h")["failures"] > 0, what="the loss")
        server.behave(faults={})
        assert all(c.result().status == 200 for c in calls)
    gw.wait_ready("h")
    assert "content" in clients[0].result("tools/call", {"name": "h__echo", "arguments": {"text": "x"}})


# ---- lines and subscriptions

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}

WATCHABLE = """
import json, sys, time
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    r = {} if m["method"].startswith("resources/") else None
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-11-25", "capabilities": {"resources": {"subscribe": True}},
             "serverInfo": {"name": "w", "version": "1"}}
    elif m["method"] == "resources/list":
        r = {"resources": [{"uri": "x://a", "name": "a"}]}
    elif m["method"] == "resources/subscribe":
        time.sleep(1.5)
    body = {"result": r} if r is not None else {"error": {"code": -32601, "message": "no"}}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **body}), flush=True)
"""


class Deaf:
    """A WebSocket client that takes nothing from its socket after the handshake."""

    def __init__(self, gw):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", gw.port))
        self.socket.sendall((
            f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {gw.key}\r\nConnection: upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        assert self.socket.recv(12) == b"HTTP/1.1 101"

    def send(self, method, params, number):
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        size = (bytes([0x80 | len(body)]) if len(body) < 126 else
                b"\xfe" + len(body).to_bytes(2, "big") if len(body) < 65536 else b"\xff" + len(body).to_bytes(8, "big"))
        self.socket.sendall(b"\x81" + size + b"\0\0\0\0" + body)


def test_a_line_that_lags_ends_with_all_its_streams(gateway):
    """The notification that is too much for it is one of several: the others go with the line."""
    gw = gateway(upstream_config("up", **fixture_server("legacy")), "--workers", "1")
    gw.wait_ready("up")
    c = Deaf(gw)
    for i in range(4):
        c.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": META}, 1000 + i)
    wait_for(lambda: gw.metric("gatespan_streams_open") == 4, what="the streams")
    for i in range(80):
        c.send("tools/call", {"name": "up__echo", "arguments": {"text": "x" * 60000}, "_meta": META}, i)
    time.sleep(1)  # its answers pile up; were they not all there, they would end the line later
    made = gw.request("POST", "/api/v1/proxy/servers", {"name": "late", "config": {"builtin": "time"}})
    assert made.status == 201, made.body
    wait_for(lambda: gw.metric("gatespan_lines_open") == 0, what="the end of the line that is not read")
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="the end of its streams")
    c.socket.close()


def test_a_session_that_ends_while_it_subscribes_leaves_nothing(gateway):
    gw = gateway(upstream_config("w", command=sys.executable, args=["-c", WATCHABLE]))
    gw.wait_ready("w")
    session = gw.session()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "resources/subscribe", {"uri": "gatespan+x://w/a"})
        wait_for(lambda: gw.metric("gatespan_watched_resources") == 1, what="the subscription")
        assert gw.request("DELETE", "/mcp", headers=session.headers).status == 200
        call.result()
    wait_for(lambda: gw.metric("gatespan_watched_resources") == 0, what="the end of the subscription")


def test_large_messages_of_a_line_count_while_they_are_worked_on(gateway, processes):
    """As bodies of requests do: one client with many calls does not take all memory there is."""
    server = http_server(processes)
    gw = gateway({**upstream_config("up", url=server.url), "limits": {"buffers": "64MiB"}}, "--workers", "1")
    gw.wait_ready("up")
    c = Deaf(gw)
    before = resident(gw)
    with pytest.raises(OSError):
        for i in range(250):
            c.send("tools/call", {"name": "up__slow", "arguments": {"x": "x" * 4000000, "seconds": 20}, "_meta": META}, i)
    assert resident(gw) - before < memory_bound(200)
    wait_for(lambda: gw.metric("gatespan_lines_open") == 0, what="the end of the line")
    c.socket.close()

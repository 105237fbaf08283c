"""Clients on a connection that carries messages both ways: WebSocket on /mcp, HTTP+SSE of revision
2024-11-05 (P-130..P-133), and the one-method-for-each-path surface under /mcp/v1."""
import http.client
import json
import queue
import signal
import socket
import threading

import anyio
import pytest
from conftest import ADMIN_KEY, fixture_server, http_server, wait_for
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}}


def initialize(version="2025-11-25", capabilities=None):
    return {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": {"name": "t", "version": "1"}}


class Peer:
    """JSON-RPC over whatever sends and receives text."""

    def __init__(self):
        self.ids, self.others = 0, []

    def request(self, method, params=None):
        self.ids += 1
        self.send({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params or {}})
        return self.ids

    def answer(self, number, seconds=60):
        for m in self.others:
            if m.get("id") == number and "method" not in m:
                self.others.remove(m)
                return m
        while True:
            m = self.receive(seconds)
            if m.get("id") == number and "method" not in m:
                return m
            self.others.append(m)

    def heard(self, method, seconds=60):
        """The first message of that method, whether it has come already or not."""
        while True:
            for m in self.others:
                if m.get("method") == method:
                    self.others.remove(m)
                    return m
            self.others.append(self.receive(seconds))

    def call(self, method, params=None):
        return self.answer(self.request(method, params))

    def open(self, version="2025-11-25", capabilities=None):
        result = self.call("initialize", initialize(version, capabilities))["result"]
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result


class WebSocket(Peer):
    def __init__(self, gateway, path="/mcp", headers=HEADERS, **options):
        super().__init__()
        self.ws = connect(f"ws://127.0.0.1:{gateway.port}{path}", additional_headers=headers, subprotocols=["mcp"],
                          max_size=None, **options)

    def send(self, message):
        self.ws.send(json.dumps(message))

    def receive(self, seconds=60):
        return json.loads(self.ws.recv(seconds))


class Sse(Peer):
    """The two endpoints of 2024-11-05 by hand."""

    def __init__(self, gateway, path="/sse", key=ADMIN_KEY):
        super().__init__()
        self.gateway, self.key, self.events = gateway, key, queue.Queue()
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        self.stream = self.connection.getresponse()
        assert self.stream.status == 200, self.stream.read()
        threading.Thread(target=self._read, daemon=True).start()
        kind, self.endpoint = self.events.get(timeout=60)
        assert kind == "endpoint"

    def _read(self):
        kind = data = ""
        try:
            for line in self.stream:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data:
                    self.events.put((kind, data))
                    kind = data = ""
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        self.events.put(("end", ""))

    def post(self, body, key=None):
        return self.gateway.request("POST", self.endpoint, body, key=key or self.key)

    def send(self, message):
        assert self.post(message).status == 202

    def receive(self, seconds=60):
        kind, data = self.events.get(timeout=seconds)
        assert kind == "message", kind
        return json.loads(data)

    def close(self):
        self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


@pytest.fixture(params=[WebSocket, Sse])
def kind(request):
    return request.param


def nothing_left(gw):
    wait_for(lambda: gw.metric("gatespan_lines_open") == 0 and gw.metric("gatespan_exchanges_in_flight") == 0,
             what="the end of every line")
    wait_for(lambda: gw.metric("gatespan_sessions") == 0, what="the end of every session")


def test_a_session_on_a_line(gateway, kind):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    c = kind(gw)
    version = "2024-11-05" if kind is Sse else "2025-11-25"
    assert c.open(version)["protocolVersion"] == version
    assert c.call("ping")["result"] == {}
    assert "up__echo" in [t["name"] for t in c.call("tools/list")["result"]["tools"]]
    ids = [c.request("tools/call", {"name": "up__echo", "arguments": {"text": str(i)}}) for i in range(50)]
    assert [c.answer(i)["result"]["content"][0]["text"] for i in ids] == [str(i) for i in range(50)]
    number = c.request("tools/call", {"name": "up__progress", "arguments": {}, "_meta": {"progressToken": "p"}})
    assert c.answer(number)["result"]
    assert [m for m in c.others if m.get("method") == "notifications/progress"]
    c.call("tools/call", {"name": "up__change", "arguments": {}})
    c.heard("notifications/tools/list_changed")


def test_large_messages(gateway, kind):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    c = kind(gw)
    c.open()
    text = "ä" * 600_000
    assert c.call("tools/call", {"name": "up__echo", "arguments": {"text": text}})["result"]["content"][0]["text"] == text


def test_before_initialize(gateway, kind):
    c = kind(gateway())
    assert c.call("tools/list")["error"]["code"] == -32600
    assert c.call("ping")["result"] == {}
    c.open()
    assert c.call("initialize", initialize())["error"]["code"] == -32600


def test_modern_requests_need_no_session(gateway, kind):
    c = kind(gateway())
    result = c.call("tools/list", {"_meta": META})["result"]
    assert result["resultType"] == "complete" and result["tools"]
    number = c.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}, "_meta": META})
    c.heard("notifications/subscriptions/acknowledged")
    c.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number, "_meta": META}})
    assert c.call("tools/list", {"_meta": META})["result"]


def test_an_upstream_asks_the_client_on_its_line(gateway, kind):
    gw = gateway({"upstreams": {"up": fixture_server("legacy", share="session")}})
    gw.wait_ready("up")
    c = kind(gw)
    c.open(capabilities={"sampling": {}})
    number = c.request("tools/call", {"name": "up__ask", "arguments": {}})
    asked = c.heard("sampling/createMessage")
    c.send({"jsonrpc": "2.0", "id": asked["id"], "result": {
        "role": "assistant", "model": "m", "content": {"type": "text", "text": "hello from the client"}}})
    assert "hello from the client" in json.dumps(c.answer(number))


def test_cancellation(gateway, kind):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    c = kind(gw)
    c.open()
    number = c.request("tools/call", {"name": "up__silent", "arguments": {}})
    gw.wait_log("silent call")
    c.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="its end")
    assert c.call("ping")["result"] == {}


def test_a_client_that_vanishes_leaves_nothing(gateway, kind):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    for mark in "abcde":
        c = kind(gw)
        c.open()
        c.request("tools/call", {"name": "up__silent", "arguments": {"mark": mark}})
        gw.wait_log(f"silent call {mark}")
        c.ws.socket.shutdown(socket.SHUT_RDWR) if kind is WebSocket else c.close()
        nothing_left(gw)


def test_broken_messages_are_answered(gateway, kind):
    c = kind(gateway())
    c.open()
    if kind is WebSocket:
        c.ws.send("{")
    else:
        assert c.post(b"{").status == 202
    assert c.receive()["error"]["code"] == -32700


def test_a_profile_on_a_line(gateway, kind):
    gw = gateway({"builtins": ["time"], "profiles": {"few": {"allow": ["time__get_current_time"]}}})
    c = kind(gw, "/mcp/few" if kind is WebSocket else "/sse/few")
    c.open()
    assert [t["name"] for t in c.call("tools/list")["result"]["tools"]] == ["time__get_current_time"]


def test_drain_answers_what_is_in_flight(gateway, processes, kind):
    server = http_server(processes)
    gw = gateway({"upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    c = kind(gw)
    c.open()
    number = c.request("tools/call", {"name": "up__slow", "arguments": {"seconds": 1}})
    wait_for(lambda: server.seen("tools/call"), what="the call upstream")
    gw.process.send_signal(signal.SIGTERM)
    assert c.answer(number)["result"]
    if kind is WebSocket:
        with pytest.raises(ConnectionClosed) as closed:
            c.receive()
        assert closed.value.rcvd.code == 1001
    assert gw.process.wait(25) == 0


# ---- WebSocket alone


def test_the_subprotocol_is_mcp(gateway):
    assert WebSocket(gateway()).ws.subprotocol == "mcp"


@pytest.mark.parametrize("headers,status", [({}, 401), ({**HEADERS, "Origin": "http://evil.example"}, 403),
                                            ({**HEADERS, "Host": "evil.example"}, None)])
def test_who_may_not_open_one(gateway, headers, status):
    with pytest.raises(InvalidStatus) as refused:
        WebSocket(gateway(), headers=headers)
    assert status in (None, refused.value.response.status_code)


@pytest.mark.parametrize("header,value,status", [("Sec-WebSocket-Version", "12", 426), ("Sec-WebSocket-Key", "short", 400),
                                                 ("Sec-WebSocket-Key", "", 400)])
def test_broken_handshakes(gateway, header, value, status):
    headers = {**HEADERS, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", header: value}
    connection = http.client.HTTPConnection("127.0.0.1", gateway().port, timeout=60)
    connection.request("GET", "/mcp", headers=headers)
    answer = connection.getresponse()
    assert answer.status == status
    assert status != 426 or answer.headers["sec-websocket-version"] == "13"


def closed_with(c):
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            c.receive()
    return closed.value.rcvd.code


def test_rules_of_frames(gateway):
    """RFC 6455: text alone, whole UTF-8, masked, bounded; pings are answered, fragments joined."""
    gw = gateway({"limits": {"body": "64KiB"}})
    c = WebSocket(gw)
    c.ws.send(b"binary")
    assert closed_with(c) == 1003
    c = WebSocket(gw)
    c.ws.send("x" * 100_000)
    assert closed_with(c) == 1009
    c = WebSocket(gw)
    c.ws.socket.sendall(b"\x81\x05hello")  # not masked
    assert closed_with(c) == 1002
    c = WebSocket(gw)
    c.ws.socket.sendall(b"\x81\x82\0\0\0\0\xff\xfe")
    assert closed_with(c) == 1007
    c = WebSocket(gw)
    c.open()
    assert c.ws.ping().wait(60)
    message = json.dumps({"jsonrpc": "2.0", "id": 99, "method": "ping"})
    c.ws.send(iter([message[:10], message[10:20], message[20:]]))
    assert c.answer(99)["result"] == {}
    c.ws.close()
    nothing_left(gw)


def test_a_reader_that_stops_is_cut_off(gateway):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}, "limits": {"send_timeout": "1s"}})
    gw.wait_ready("up")
    c = WebSocket(gw)
    c.open()
    with socket.create_connection(("127.0.0.1", gw.port)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall((f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: upgrade\r\n"
                   "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        assert s.recv(12) == b"HTTP/1.1 101"
        text = "x" * 60000
        for i in range(60):
            body = json.dumps({"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
                "name": "up__echo", "arguments": {"text": text}, "_meta": META}}).encode()
            try:
                s.sendall(b"\x81\xff" + len(body).to_bytes(8, "big") + b"\0\0\0\0" + body)
            except OSError:
                break
        wait_for(lambda: gw.metric("gatespan_lines_open") == 1, 25, "the end of the line that is not read")
    assert c.call("ping")["result"] == {}


def test_answers_wait_in_line_for_a_slow_reader(gateway):
    """One of them waits for the client, the others for their turn; none is dropped."""
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    connection = http.client.HTTPConnection("127.0.0.1", gw.port, timeout=60)
    connection.request("GET", "/sse", headers=HEADERS)
    stream = connection.getresponse()
    assert stream.readline() == b"event: endpoint\n"
    endpoint = stream.readline().decode()[6:].strip()
    text = "x" * 1_000_000
    for i in range(12):
        body = {"jsonrpc": "2.0", "id": i, "method": "tools/call",
                "params": {"name": "up__echo", "arguments": {"text": text}, "_meta": META}}
        assert gw.request("POST", endpoint, body).status == 202
    other = WebSocket(gw)  # behind them at the same upstream
    other.open()
    assert other.call("tools/call", {"name": "up__echo", "arguments": {"text": "last"}})["result"]
    heard = set()
    while len(heard) < 12:
        line = stream.readline()
        assert line, f"the stream ended after the answers to {sorted(heard)}"
        if line.startswith(b"data: "):
            heard.add(json.loads(line[6:])["id"])
    connection.close()


def test_a_flood_of_pings_that_nobody_reads(gateway):
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.port)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall((f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: upgrade\r\n"
                   "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode())
        with pytest.raises(OSError):
            for _ in range(8000):
                s.sendall((b"\x89\xfd\0\0\0\0" + b"p" * 125) * 100)
    nothing_left(gw)


def test_a_revoked_key_ends_its_lines(gateway):
    gw = gateway()
    made = gw.request("POST", "/api/v1/keys", {"name": "short-lived"}).json
    c = WebSocket(gw, headers={"Authorization": f"Bearer {made['key']}"})
    c.open()
    answer = gw.request("GET", f"/api/v1/keys/{made['id']}")
    gone = gw.request("DELETE", f"/api/v1/keys/{made['id']}", None, {"If-Match": answer.headers["etag"]})
    assert gone.status in (200, 204), gone.body
    assert closed_with(c) == 1008  # without a word of its own


# ---- HTTP+SSE alone


def test_the_python_sdk_over_sse(gateway):
    """The official client of that transport."""
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")

    async def go():
        with anyio.fail_after(60):
            async with sse_client(f"http://127.0.0.1:{gw.port}/sse", headers=HEADERS) as (read, write):
                async with ClientSession(read, write) as session:
                    await session.initialize()
                    tools = await session.list_tools()
                    result = await session.call_tool("up__echo", {"text": "over sse"})
                    return [t.name for t in tools.tools], result.content[0].text
    names, text = anyio.run(go)
    assert "up__echo" in names and text == "over sse"
    nothing_left(gw)


def test_messages_of_nobody(gateway):
    """P-132, P-148"""
    gw = gateway({"keys": {"other": {"secret": "another-key-0123456789"}}})
    c = Sse(gw)
    assert gw.request("POST", "/messages?sessionId=x", {}).status == 404
    assert gw.request("POST", "/messages", {}).status == 404
    assert c.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, key="another-key-0123456789").status == 404
    assert gw.request("POST", c.endpoint, b"x", {"Content-Type": "text/plain"}).status == 415
    c.close()
    wait_for(lambda: c.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 404, what="the end of the session")


# ---- one method for each path


def test_bare_params_and_bare_results(gateway):
    gw = gateway()
    tools = gw.request("POST", "/mcp/v1/tools/list", {})
    assert tools.status == 200 and tools.json["tools"]
    assert gw.request("POST", "/mcp/v1/tools/list/").json == tools.json
    called = gw.request("POST", "/mcp/v1/tools/call", {"name": "time__get_current_time", "arguments": {}}).json
    assert called["structuredContent"]["zone"] == "UTC"
    unknown = gw.request("POST", "/mcp/v1/tools/call", {"name": "nope"})
    assert (unknown.status, unknown.json["error"]["code"]) == (400, -32602)


def test_whole_messages_and_whole_answers(gateway):
    gw = gateway()
    answer = gw.request("POST", "/mcp/v1/tools/list", {"jsonrpc": "2.0", "id": "a", "method": "tools/list"}).json
    assert answer["id"] == "a" and answer["result"]["tools"]
    wrong = gw.request("POST", "/mcp/v1/tools/list", {"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    assert wrong.status == 400


def test_a_session_by_method(gateway):
    gw = gateway()
    opened = gw.request("POST", "/mcp/v1/initialize", initialize("2025-06-18"))
    assert opened.json["protocolVersion"] == "2025-06-18"
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
    assert gw.request("POST", "/mcp/v1/tools/list", {}, session).json["tools"]
    assert gw.request("POST", "/mcp/v1/tools/list", {}, {"Mcp-Session-Id": "x"}).status == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"{}x", b'{"jsonrpc":"2.0","method":"tools/list"}', b"\xff"])
def test_bodies_that_are_no_params(gateway, body):
    gw = gateway()
    assert gw.request("POST", "/mcp/v1/tools/list", body, {"Content-Type": "application/json"}).status == 400
    assert gw.request("GET", "/mcp/v1/tools/list").status == 405
    assert gw.request("POST", "/mcp/v1/tools/list", {}, key="nobody").status == 401

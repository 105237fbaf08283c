"""HTTP/2 on the client's side: the same surface, many requests on one connection, and what an enemy
can do with frames (rapid reset, header and CONTINUATION floods, zero windows, settings and ping floods)."""
import json
import signal
import socket
import struct
import subprocess
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
from conftest import ADMIN_KEY, fixture_server, http_server, wait_for
from test_tls import authority, https  # noqa: F401

MODERN = "2026-07-28"


class Client:
    """One connection; answers by stream."""

    def __init__(self, gateway, context=None, settings=None, consume=True):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), 25)
        if context:
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.consume, self.goaway, self.floods = consume, None, False
        self.status, self.headers, self.body, self.ended, self.reset = {}, {}, {}, set(), {}
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        if self.floods:
            return  # or frames of two threads would mix
        try:
            self.socket.sendall(self.h2.data_to_send())
        except OSError:
            pass  # it is ended: what it said before is read yet

    def flood(self, data):
        """Sends it all beside the reading; from now on nothing else is said."""
        def send():
            try:
                self.socket.sendall(data)
            except OSError:
                pass
        self.floods = True
        threading.Thread(target=send, daemon=True).start()

    def head(self, method="GET", path="/health", authority="localhost", key="", headers=()):
        return [(":method", method), (":path", path), (":scheme", "http"), (":authority", authority),
                *([("authorization", f"Bearer {key or ADMIN_KEY}")] if key is not None else []), *headers]

    def send(self, method="GET", path="/health", body=None, **how):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, self.head(method, path, **how), end_stream=body is None)
        while body is not None:
            self.flush()
            window = min(self.h2.local_flow_control_window(stream), 16384)
            if not window and body and stream not in self.reset:
                self.step()
                continue
            if stream in self.reset or stream in self.ended:
                break
            piece, body = body[:window], body[window:]
            self.h2.send_data(stream, piece, end_stream=not body)
            if not body:
                break
        self.flush()
        return stream

    def modern(self, method, params=None, **how):
        params = {**(params or {}), "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}}}
        headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream"),
                   ("mcp-protocol-version", MODERN), ("mcp-method", method)]
        if "name" in params:
            headers.append(("mcp-name", params["name"]))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        return self.send("POST", "/mcp", body, headers=headers, **how)

    def take(self, event):
        kind, stream = type(event).__name__, getattr(event, "stream_id", None)
        if kind == "ResponseReceived":
            self.headers[stream] = dict(event.headers)
            self.status[stream] = int(self.headers[stream][":status"])
        elif kind == "DataReceived":
            self.body[stream] = self.body.get(stream, b"") + event.data
            if self.consume:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif kind == "StreamEnded":
            self.ended.add(stream)
        elif kind == "StreamReset":
            self.reset[stream] = event.error_code
        elif kind == "ConnectionTerminated":
            self.goaway = event.error_code

    def step(self):
        """False once the peer has closed."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, socket.timeout):
            data = b""
        for event in self.h2.receive_data(data) if data else []:
            self.take(event)
        self.flush()
        return bool(data)

    def until(self, condition):
        while not condition():
            if not self.step():
                return condition()
        return True

    def answer(self, stream):
        assert self.until(lambda: stream in self.ended or stream in self.reset), (self.status, self.goaway)
        return self.status.get(stream), self.body.get(stream, b"")

    def get(self, *args, **how):
        return self.answer(self.send(*args, **how))

    def message(self, stream):
        """The answer, in whichever of the two forms it came."""
        status, body = self.answer(stream)
        text = body.decode()
        if text.startswith(("event:", "data:", "id:", ":")):
            text = [line[5:] for line in text.splitlines() if line.startswith("data:")][-1]
        return json.loads(text)

    def close(self):
        self.socket.close()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def test_the_same_surface_by_prior_knowledge(gateway):
    gw = gateway()
    c = Client(gw)
    status, body = c.get()
    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert c.get("HEAD")[1] == b""
    assert c.get(path="/nowhere")[0] == 404
    assert c.get("POST", body=b"x")[0] == 405
    assert c.get("GET", "/api/v1/health/detailed", key=None)[0] == 401
    assert c.get(authority="evil.example")[0] == 403
    assert c.message(c.modern("tools/list"))["result"]["tools"]
    called = c.message(c.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}))
    assert "isError" not in called["result"] or called["result"]["isError"] is False


def test_a_request_has_one_id_in_its_headers(gateway):
    c = Client(gateway())
    stream = c.send()
    c.answer(stream)
    assert len(c.headers[stream]["x-request-id"]) == 16
    assert "connection" not in c.headers[stream] and "transfer-encoding" not in c.headers[stream]


def test_curl_takes_it_over_tls_by_alpn(https, authority):
    gw = https()

    def curl(*options):
        done = subprocess.run(["curl", "-sS", "--cacert", authority.file, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                               *options, f"https://localhost:{gw.port}/health"], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr
    assert curl("--http2") == "2 200"
    assert curl("--http1.1") == "1.1 200"
    c = Client(gw, authority.client())
    assert c.get()[0] == 200


def test_one_connection_too_many_is_told_so_over_tls(https, authority):
    """503 with Retry-After, in the protocol that was agreed on; then the connection ends."""
    gw = https(workers=1, limits={"connections": 1})
    first = Client(gw, authority.client())
    assert first.get()[0] == 200
    second = Client(gw, authority.client())
    stream = second.send()
    status, body = second.answer(stream)
    assert status == 503 and b"limits.connections" in body
    assert second.headers[stream]["retry-after"] == "1"
    with socket.create_connection(("127.0.0.1", gw.port), 10) as raw, \
            authority.client().wrap_socket(raw, server_hostname="localhost") as s:
        s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b"".join(iter(lambda: s.recv(4096), b""))
    assert said.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in said and b"limits.connections" in said
    assert first.get()[0] == 200


def test_without_streams_there_is_http_1_alone(https, authority):
    gw = https(limits={"http2_streams": 0})
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", gw.port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as s:
        assert s.selected_alpn_protocol() == "http/1.1"
        s.sendall(PREFACE)
        assert s.recv(100).startswith(b"HTTP/1.1 ")


def test_a_hundred_requests_at_once_are_each_answered(gateway):
    gw = gateway()
    c = Client(gw)
    c.get()
    streams = [c.modern("tools/call", {"name": "time__get_current_time", "arguments": {"timezone": "Asia/Tokyo"}}) for _ in range(100)]
    assert all("Tokyo" in json.dumps(c.message(s)) for s in streams)
    refused = [c.send() for _ in range(60)]
    assert all(c.get()[0] == 200 for _ in range(3)) and all(c.answer(s)[0] == 200 for s in refused)


def test_large_bodies_both_ways(gateway):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    c = Client(gw)
    text = "x" * 1_000_000
    answer = c.message(c.modern("tools/call", {"name": "up__echo", "arguments": {"text": text}}))
    assert text in answer["result"]["content"][0]["text"]
    c2 = Client(gw)
    assert c2.get("POST", "/mcp", b"y" * (5 << 20), headers=[("content-type", "application/json")])[0] == 413
    assert c2.get()[0] == 200  # the connection lives on


def test_progress_streams_and_a_reset_cancels(gateway):
    """Closing the stream cancels the call of a modern client (P-165)."""
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    c = Client(gw)
    stream = c.modern("tools/call", {"name": "up__silent", "arguments": {}})
    gw.wait_log("silent call")
    c.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
    c.flush()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="its end")
    assert c.get()[0] == 200


def test_the_stream_of_a_session(gateway):
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    session = gw.session()
    c = Client(gw)
    stream = c.send(path="/mcp", headers=[("accept", "text/event-stream"), ("mcp-session-id", session.id)])
    assert c.until(lambda: stream in c.status) and c.status[stream] == 200
    assert c.headers[stream]["content-type"].startswith("text/event-stream")
    session.call("tools/call", {"name": "up__change", "arguments": {}})
    assert c.until(lambda: b"list_changed" in c.body.get(stream, b""))
    c.close()
    assert gw.request("GET", "/health").status == 200


@pytest.mark.parametrize("headers,status", [
    ([("content-type", "application/json"), ("content-type", "text/plain")], 400),
    ([("host", "other.example")], 400),
    ([("x-long", "a" * 20000)], 431),
    ([(f"x-{i}", "1") for i in range(120)], 431),
    ([("mcp-session-id", "a"), ("mcp-session-id", "b")], 400),
])
def test_heads_are_held_to_the_rules_of_http_1(gateway, headers, status):
    c = Client(gateway())
    assert c.get(headers=headers)[0] == status


@pytest.mark.parametrize("headers", [[("Upper", "1")], [("connection", "close")], [("transfer-encoding", "chunked")],
                                     [("x-bad", "a\nb")], [(":late", "1")], [("te", "gzip")]])
def test_malformed_heads_end_their_stream(gateway, headers):
    c = Client(gateway())
    stream = c.send(headers=headers)
    assert c.until(lambda: stream in c.reset or c.goaway is not None or stream in c.ended)
    assert stream in c.reset or c.goaway is not None or c.status[stream] == 400


def test_a_window_of_zero_holds_nobody_up(gateway):
    """The answer waits for send_timeout, then its stream ends; others go on."""
    gw = gateway({"limits": {"send_timeout": "1s"}})
    c = Client(gw, settings={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    stream = c.modern("tools/list")
    assert c.until(lambda: stream in c.reset), c.status
    assert c.reset[stream] == h2.errors.ErrorCodes.CANCEL and c.body.get(stream, b"") == b""
    assert gw.request("GET", "/health").status == 200


def test_a_body_that_does_not_come_is_408(gateway):
    gw = gateway({"limits": {"body_timeout": "1s"}})
    c = Client(gw)
    stream = c.h2.get_next_available_stream_id()
    c.h2.send_headers(stream, c.head("POST", "/mcp", headers=[("content-type", "application/json")]))
    c.h2.send_data(stream, b"{")
    c.flush()
    assert c.answer(stream)[0] == 408
    assert c.get()[0] == 200


def calm(c):
    assert c.until(lambda: c.goaway is not None), "no GOAWAY came"
    assert c.goaway == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def test_rapid_reset(gateway):
    """CVE-2023-44487"""
    gw = gateway()
    c = Client(gw)
    for _ in range(400):
        stream = c.h2.get_next_available_stream_id()
        c.h2.send_headers(stream, c.head(), end_stream=True)
        c.h2.reset_stream(stream)
    c.flood(c.h2.data_to_send())
    calm(c)
    assert gw.request("GET", "/health").status == 200
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing left in flight")


@pytest.mark.parametrize("one", [frame(4, 0, 0, b"\0\3\0\0\0\x64"), frame(6, 0, 0, b"12345678"),
                                 frame(2, 0, 1, b"\0\0\0\0\1"), frame(8, 0, 0, b"\0\0\0\1")],
                         ids=["settings", "ping", "priority", "window_update"])
def test_floods_of_frames_without_work(gateway, one):
    gw = gateway()
    c = Client(gw)
    c.get()
    c.flood(one * 3000)
    calm(c)
    assert gw.request("GET", "/health").status == 200


def test_empty_data_flood(gateway):
    c = Client(gateway())
    stream = c.h2.get_next_available_stream_id()
    c.h2.send_headers(stream, c.head("POST", "/mcp", headers=[("content-type", "application/json")]))
    c.flush()
    c.flood(frame(0, 0, stream) * 3000)
    calm(c)


def test_continuation_flood(gateway):
    """CVE-2024-27316 and its like: a head without end."""
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.port), 60) as s:
        s.sendall(PREFACE + frame(1, 1, 1, b"\x82"))
        piece = frame(9, 0, 1, b"\x00\x01a\x01b" * 3000)
        with pytest.raises(OSError):
            for _ in range(2000):
                s.sendall(piece)
    assert gw.request("GET", "/health").status == 200


@pytest.mark.parametrize("bytes_", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"PRI * HTTP/1.1\r\n\r\n",
                                    PREFACE[:24] + b"garbage that is no frame at all........",
                                    PREFACE[:24] + frame(0, 0, 1, b"data on an idle stream"),
                                    PREFACE + frame(5, 4, 1, b"\0\0\0\2"), PREFACE + frame(1, 5, 2, b"\x82")])
def test_broken_beginnings(gateway, bytes_):
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.port), 60) as s:
        try:
            s.sendall(bytes_)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except ConnectionError:
            pass  # the other way to be told
    assert gw.request("GET", "/health").status == 200


def test_a_preface_in_pieces(gateway):
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.port), 60) as s:
        for byte in PREFACE:
            s.sendall(bytes([byte]))
        assert s.recv(9)[3] == 4  # SETTINGS


def test_drain_answers_what_is_in_flight(gateway, processes):
    server = http_server(processes)
    gw = gateway({"upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "up__slow", "arguments": {"seconds": 1}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}}})
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json", "mcp-name": "up__slow",
               "accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
    options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    curl = processes("curl", "-sS", "--http2-prior-knowledge", *options, "-d", body, f"http://127.0.0.1:{gw.port}/mcp")
    wait_for(lambda: server.seen("tools/call"), what="the call upstream")
    gw.process.send_signal(signal.SIGTERM)
    assert curl.wait(60) == 0
    wait_for(lambda: any('"result"' in line for line in curl.lines), what="its answer")
    assert gw.process.wait(25) == 0


def test_the_stream_of_a_line_that_is_reset_while_it_lags(gateway, processes):
    """HTTP+SSE of 2024-11-05: a task waits for the client to take its answer when the stream goes."""
    server = http_server(processes, tools=["large"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    for _ in range(5):
        c = Client(gw, consume=False)
        line = c.send("GET", "/sse", headers=[("accept", "text/event-stream")])
        assert c.until(lambda: b"endpoint" in c.body.get(line, b""))
        where = c.body[line].decode().split("data: ")[1].split("\n")[0]

        def post(method, **params):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            headers = [("content-type", "application/json")]
            assert c.answer(c.send("POST", where, json.dumps(body).encode(), headers=headers))[0] == 202
        post("initialize", protocolVersion="2024-11-05", capabilities={}, clientInfo={"name": "t", "version": "1"})
        assert c.until(lambda: b'"result"' in c.body[line])
        for _ in range(4):
            post("tools/call", name="up__large", arguments={"bytes": 600_000})
        assert c.until(lambda: len(c.body[line]) > 60_000)  # the window is full
        c.h2.reset_stream(line, 8)
        c.flush()
        wait_for(lambda: gw.metric("gatespan_lines_open") == 0, what="the line gone")
        c.close()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="no call in flight")

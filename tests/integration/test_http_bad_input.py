"""What hostile or broken clients send: framing over raw sockets, JSON, MCP over HTTP.

Each case gets its exact answer, the connection that may be out of step is closed, nothing that was
smuggled behind it is served, and the gateway goes on.
"""
import json
import socket
import time
from random import Random

import pytest
from conftest import ADMIN_KEY, fixture_server, memory_bound, resident, upstream_config, wait_for

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode()
AUTH = f"Authorization: Bearer {ADMIN_KEY}\r\n"
MODERN = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n"
FIELDS = f"{AUTH}{MODERN}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
SMUGGLED = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def gw(module_gateway):
    return module_gateway({"limits": {"body": "64KiB", "head": "16KiB"}})


@pytest.fixture(autouse=True)
def goes_on(request):
    """Whatever a test did, the gateway it shares with the others still serves."""
    yield
    if "gw" in request.fixturenames:
        gw = request.getfixturevalue("gw")
        assert gw.request("GET", "/health").status == 200
        assert "time__get_current_time" in gw.tools()


class Wire:
    """A connection on which a test says exactly what it wants."""

    def __init__(self, gateway, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def try_send(self, data):
        """For what may be refused half way through."""
        try:
            self.send(data)
        except OSError:
            pass
        return self

    def read_all(self):
        """Everything up to the close by the gateway; a timeout is a failure: it had to close."""
        data = b""
        while True:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return data
            if not piece:
                return data
            data += piece

    def read_answer(self):
        """One answer with a content-length."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            assert piece, data
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        length = next((int(l.split(b":")[1]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length")), 0)
        while len(body) < length:
            body += self.socket.recv(65536)
        return status_of(head), body[:length]


def status_of(data):
    assert data.startswith(b"HTTP/1.1 "), data[:200]
    return int(data[9:12])


def exchange(gateway, data):
    """Sends it all; (status, number of answers, everything that came back) once the gateway closed."""
    with Wire(gateway) as wire:
        back = wire.try_send(data).read_all()
    return status_of(back), back.count(b"HTTP/1.1 "), back


def post(fields="", body=LIST, length=None, host="Host: 127.0.0.1\r\n", line="POST /mcp HTTP/1.1\r\n"):
    length = f"Content-Length: {len(body)}\r\n" if length is None else length
    head = f"{line}{host}{FIELDS}{fields}{length}\r\n"
    return head.encode("latin-1") + body


def chunked(body, head="Transfer-Encoding: chunked\r\n"):
    return post(length=head, body=body)


def test_the_ground_that_all_cases_stand_on(gw):
    """The message of the cases below, without their fault, is served; on one connection, again and again."""
    with Wire(gw) as wire:
        for _ in range(3):
            status, body = wire.send(post()).read_answer()
            assert status == 200
            assert b"time__get_current_time" in body


# ---- framing ---------------------------------------------------------------------------------------

BAD_FRAMING = {
    # two readers could see two different ends of the body
    "both-lengths": (post("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
    "both-lengths-other-order": (chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400),
    "length-twice-different": (post("Content-Length: 3\r\n"), 400),
    "length-twice-equal": (post(f"Content-Length: {len(LIST)}\r\n"), 400),
    "length-list": (post(length=f"Content-Length: {len(LIST)}, {len(LIST)}\r\n"), 400),
    "length-signed": (post(length=f"Content-Length: +{len(LIST)}\r\n"), 400),
    "length-negative": (post(length="Content-Length: -1\r\n"), 400),
    "length-hex": (post(length="Content-Length: 0x10\r\n"), 400),
    "length-empty": (post(length="Content-Length: \r\n"), 400),
    "length-with-space": (post(length="Content-Length: 1 0\r\n"), 400),
    "length-exponent": (post(length="Content-Length: 1e3\r\n"), 400),
    "length-beyond-64-bits": (post(length="Content-Length: 18446744073709551617\r\n"), 400),
    "length-beyond-53-bits": (post(length="Content-Length: 9007199254740993\r\n"), 400),
    # lines
    "folded-header": (post("X-One: a\r\n b\r\n"), 400),
    "folded-with-tab": (post("X-One: a\r\n\tb\r\n"), 400),
    "folded-first-header": (post(host=" Host: 127.0.0.1\r\n"), 400),
    "bare-cr-in-value": (post("X-One: a\rb\r\n"), 400),
    "bare-cr-ends-line": (post("X-One: a\rX-Two: b\r\n"), 400),
    "bare-lf-ends-line": (post("X-One: a\nX-Two: b\r\n"), 400),
    "bare-lf-everywhere": (post().replace(b"\r\n", b"\n"), 400),
    "bare-lf-ends-head": (post()[:-len(LIST) - 2] + b"\n" + LIST, 400),
    "space-before-colon": (post(length=f"Content-Length : {len(LIST)}\r\n"), 400),
    "tab-before-colon": (post("X-One\t: a\r\n"), 400),
    "no-colon": (post("X-One\r\n"), 400),
    "empty-name": (post(": a\r\n"), 400),
    "name-with-parenthesis": (post("X(One): a\r\n"), 400),
    "name-not-ascii": (post("X-\xe9: a\r\n"), 400),
    "nul-in-value": (post("X-One: a\0b\r\n"), 400),
    "control-byte-in-value": (post("X-One: a\x01b\r\n"), 400),
    "delete-in-value": (post("X-One: a\x7fb\r\n"), 400),
    "nul-in-name": (post("X\0One: a\r\n"), 400),
    # request line
    "control-byte-in-target": (post(line="POST /mcp\x01 HTTP/1.1\r\n"), 400),
    "two-spaces-in-request-line": (post(line="POST  /mcp HTTP/1.1\r\n"), 400),
    "tab-in-request-line": (post(line="POST\t/mcp HTTP/1.1\r\n"), 400),
    "no-version": (post(line="POST /mcp\r\n"), 400),
    "lower-case-version": (post(line="POST /mcp http/1.1\r\n"), 400),
    "version-2-0": (post(line="POST /mcp HTTP/2.0\r\n"), 505),
    "version-1-2": (post(line="POST /mcp HTTP/1.2\r\n"), 505),
    "connect": (post(line="CONNECT 127.0.0.1:80 HTTP/1.1\r\n"), 400),
    "tls-hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, 400),
    "almost-http-2": (b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 400),
    # Host
    "no-host": (post(host=""), 400),
    "two-hosts": (post(host="Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n"), 400),
    "empty-host": (post(host="Host: \r\n"), 400),
    "host-with-user": (post(host="Host: me@127.0.0.1\r\n"), 400),
    "host-with-two-ports": (post(host="Host: 127.0.0.1:1:2\r\n"), 400),
    "host-with-space": (post(host="Host: 127.0.0.1 x\r\n"), 400),
    "host-and-target-differ": (post(line="POST http://other.example/mcp HTTP/1.1\r\n"), 400),
    # transfer codings
    "coding-gzip": (chunked(b"0\r\n\r\n", "Transfer-Encoding: gzip\r\n"), 400),
    "coding-gzip-chunked": (chunked(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked\r\n"), 400),
    "coding-chunked-gzip": (chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked, gzip\r\n"), 400),
    "coding-chunked-twice": (chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked, chunked\r\n"), 400),
    "coding-identity": (chunked(b"0\r\n\r\n", "Transfer-Encoding: identity\r\n"), 400),
    "coding-almost-chunked": (chunked(b"0\r\n\r\n", "Transfer-Encoding: xchunked\r\n"), 400),
    "coding-quoted": (chunked(b"0\r\n\r\n", 'Transfer-Encoding: "chunked"\r\n'), 400),
    "coding-with-vertical-tab": (chunked(b"0\r\n\r\n", "Transfer-Encoding: \x0bchunked\r\n"), 400),
    "coding-empty": (chunked(b"0\r\n\r\n", "Transfer-Encoding: \r\n"), 400),
    "coding-in-two-lines": (chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
    "coding-in-http-1-0": (post(line="POST /mcp HTTP/1.0\r\n", length="Transfer-Encoding: chunked\r\n",
                                body=b"0\r\n\r\n"), 400),
    # chunks
    "chunk-size-0x": (chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-plus": (chunked(b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-minus": (chunked(b"-5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-empty": (chunked(b"\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-space-before": (chunked(b" 5\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-space-after": (chunked(b"5 \r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-huge": (chunked(b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-bare-lf": (chunked(b"5\nhello\r\n0\r\n\r\n"), 400),
    "chunk-size-bare-cr": (chunked(b"5\rhello\r\n0\r\n\r\n"), 400),
    "chunk-longer-than-it-says": (chunked(b"5\r\nhello!\r\n0\r\n\r\n"), 400),
    "chunk-ends-with-bare-lf": (chunked(b"5\r\nhello\n0\r\n\r\n"), 400),
    "chunk-extension-with-lf": (chunked(b"5;a\nhello\r\n0\r\n\r\n"), 400),
    "chunk-extension-with-nul": (chunked(b"5;a=\0\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-extension-endless": (chunked(b"5;" + b"a" * 10000 + b"\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-trailer-no-field": (chunked(b"5\r\nhello\r\n0\r\nwhat is this\r\n\r\n"), 400),
    "chunk-trailers-endless": (chunked(b"5\r\nhello\r\n0\r\n" + b"X-T: a\r\n" * 10000 + b"\r\n"), 400),
    "chunks-end-with-bare-lf": (chunked(b"5\r\nhello\r\n0\r\n\n"), 400),
    # fields of MCP that decide: two of them would let two readers see two calls
    "two-methods": (post("Mcp-Method: tools/call\r\n"), 400),
    "two-names": (post("Mcp-Name: a\r\nMcp-Name: b\r\n"), 400),
    "two-sessions": (post("Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\n"), 400),
    "two-authorizations": (post(AUTH), 400),
    "two-content-types": (post("Content-Type: text/plain\r\n"), 400),
    # size
    "a-hundred-and-one-headers": (post("X-One: a\r\n" * 101), 431),
    "100000-headers": (post("X: y\r\n" * 100000), 431),
    "one-huge-header": (post(f"X-One: {'a' * 20000}\r\n"), 431),
    "endless-header-name": (post("X" * 20000 + ": a\r\n"), 431),
    "long-target": (post(line=f"POST /{'a' * 9000} HTTP/1.1\r\n"), 414),
    "long-method": (post(line=f"{'A' * 100} /mcp HTTP/1.1\r\n"), 400),
    "large-body": (post(body=b" " * 65536 + LIST), 413),
    "large-body-announced": (post(length="Content-Length: 9007199254740991\r\n"), 413),
    "large-body-in-chunks": (chunked(b"8000\r\n" + b" " * 0x8000 + b"\r\n" + b"8001\r\n" + b" " * 0x8001 + b"\r\n"), 413),
}


@pytest.mark.parametrize("case", BAD_FRAMING)
def test_bad_framing_is_refused_and_closed(gw, case):
    """One answer of exactly this status, then the end: the request smuggled behind it is never served."""
    request, expected = BAD_FRAMING[case]
    status, answers, back = exchange(gw, request + SMUGGLED)
    assert (status, answers) == (expected, 1), back[:500]
    assert b"connection: close" in back.lower()
    assert b'"status":"ok"' not in back


GOOD_FRAMING = {
    "header-case": (post().replace(b"Content-Length", b"cOnTeNt-LeNgTh")),
    "no-space-after-colon": (post("X-One:a\r\n")),
    "spaces-around-value": (post("X-One: \t a b \t \r\n")),
    "empty-value": (post("X-One:\r\n")),
    "obsolete-text-in-value": (post("X-One: \xe9\r\n")),
    "blank-line-before": b"\r\n" + post(),
    "absolute-target": (post(line="POST http://127.0.0.1/mcp HTTP/1.1\r\n")),
    "query": (post(line="POST /mcp?x=1 HTTP/1.1\r\n")),
    "trailing-slash": (post(line="POST /mcp/ HTTP/1.1\r\n")),
    "hundred-headers-in-all": (post("X-One: a\r\n" * 93)),
    "length-with-leading-zeros": (post(length=f"Content-Length: 000{len(LIST)}\r\n")),
    "one-chunk": (chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST))),
    "chunked-capital": (chunked(b"%X\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST), "Transfer-Encoding: Chunked\r\n")),
    "byte-chunks": (chunked(b"".join(b"1\r\n%c\r\n" % c for c in LIST) + b"0\r\n\r\n")),
    "chunk-extension": (chunked(b"%x;a=b;c=\"d;e\"\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST))),
    "chunk-trailers": (chunked(b"%x\r\n%s\r\n0\r\nX-T: a\r\nX-U: b\r\n\r\n" % (len(LIST), LIST))),
    "leading-zeros-in-chunk-size": (chunked(b"000%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST))),
}


@pytest.mark.parametrize("case", GOOD_FRAMING)
def test_unusual_but_correct_framing_is_served(gw, case):
    """The strictness above costs no correct client anything; the connection stays."""
    with Wire(gw) as wire:
        for _ in range(2):
            status, body = wire.send(GOOD_FRAMING[case]).read_answer()
            assert status == 200, body
            assert b'"tools":[' in body


def test_a_request_that_comes_byte_by_byte_is_served(gw):
    with Wire(gw) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post():
            wire.send(bytes([byte]))
        assert wire.read_answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(gw):
    bodies = [LIST.replace(b'"id": 1', b'"id": %d' % i) for i in (11, 12, 13)]
    with Wire(gw) as wire:
        wire.send(b"".join(post("Connection: close\r\n" if i == 2 else "", body=b) for i, b in enumerate(bodies)))
        back = wire.read_all()
    assert [back.index(b'"id":%d,' % i) for i in (11, 12, 13)] == sorted(back.index(b'"id":%d,' % i) for i in (11, 12, 13))
    assert back.count(b"HTTP/1.1 200") == 3


def test_expect_100_continue(gw):
    with Wire(gw) as wire:
        wire.send(post("Expect: 100-continue\r\n", body=b"", length=f"Content-Length: {len(LIST)}\r\n"))
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        assert wire.send(LIST).read_answer()[0] == 200


def test_http_1_0_is_answered_and_closed(gw):
    status, answers, back = exchange(gw, post(line="POST /mcp HTTP/1.0\r\n"))
    assert (status, answers) == (200, 1)
    assert b"transfer-encoding" not in back.lower()


def test_a_stranger_may_not_send_a_body(gw):
    """The head alone decides: no key, no byte of the body is waited for."""
    head = post(length="Content-Length: 60000\r\n", body=b"").replace(AUTH.encode(), b"")
    status, answers, back = exchange(gw, head)
    assert (status, answers) == (401, 1)
    assert b"connection: close" in back.lower()


# ---- slow clients ------------------------------------------------------------------------------------

@pytest.fixture
def quick(gateway):
    return gateway({"limits": {"head_timeout": "300ms", "body_timeout": "300ms", "idle_timeout": "1s"}})


@pytest.mark.parametrize("part", ["head", "body", "chunks"])
def test_slow_requests_get_408(quick, part):
    """A client that dribbles does not hold a connection longer than the configured time."""
    whole = {"head": post()[:100], "body": post()[:-5], "chunks": chunked(b"5\r\nhel")}[part]
    began = time.monotonic()
    with Wire(quick) as wire:
        back = wire.send(whole).read_all()
    assert status_of(back) == 408
    assert 0.25 < time.monotonic() - began < 9, "the time of the configuration, not of the default"
    wait_for(lambda: quick.request("GET", "/health").status == 200, what="others served")  # if they are quick themselves


def test_dribbled_bytes_do_not_extend_the_time(quick):
    """The time is for the whole head, not from byte to byte."""
    with Wire(quick) as wire:
        began = time.monotonic()
        wire.socket.settimeout(0.05)
        data, sent = b"", post(f"X-One: {'a' * 3000}\r\n")
        while time.monotonic() - began < 9 and not data:
            wire.try_send(sent[:1])
            sent = sent[1:]
            try:
                data = wire.socket.recv(65536)
            except TimeoutError:
                pass
        assert status_of(data) == 408


@pytest.mark.parametrize("said", [b"", post()])
def test_idle_connections_are_closed_silently(quick, said):
    with Wire(quick) as wire:
        if said:
            wire.send(said).read_answer()
        assert wire.read_all() == b""


def test_too_many_connections_get_503(gateway):
    gw = gateway({"workers": 1, "limits": {"connections": 5}})
    wait_for(lambda: gw.metric("gatespan_client_connections") == 1, what="no connection but the one that asks")
    held = []
    try:
        statuses = []
        for _ in range(12):
            wire = Wire(gw)
            held.append(wire)
            back = wire.try_send(SMUGGLED).socket.recv(4096)
            statuses.append(status_of(back))
            if statuses[-1] == 503:
                assert b"retry-after" in back.lower()
        assert statuses[:5] == [200] * 5
        assert statuses[-1] == 503
    finally:
        for wire in held:
            wire.socket.close()
    wait_for(lambda: gw.request("GET", "/health").status == 200, what="room again")


def test_a_client_that_stops_reading_is_cut_off(gateway):
    """It cannot make the gateway hold its answers: memory stays bounded, the call ends, others go on."""
    gw = gateway({**upstream_config("noisy", **fixture_server("legacy"), timeout="60s"),
                  "limits": {"send_timeout": "300ms"}})
    gw.wait_ready("noisy")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
               "params": {"name": "noisy__flood", "arguments": {"count": 20000, "size": 10000},
                          "_meta": {**META, "progressToken": 1}}}
    fields = "Mcp-Name: noisy__flood\r\n"
    before = resident(gw)
    with Wire(gw) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(post(fields, json.dumps(message).encode()).replace(b"Mcp-Method: tools/list", b"Mcp-Method: tools/call"))
        wait_for(lambda: gw.metric("mcp_server_operation_duration_seconds_count", gen_ai_tool_name="noisy__flood") == 1,
                 25, "the call ended")
    assert resident(gw) - before < memory_bound(64)
    assert gw.call_tool("noisy__echo", text="still here")["content"][0]["text"] == "still here"


# ---- JSON ----------------------------------------------------------------------------------------------

def deep(levels):
    return b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":' + b"[" * levels + b"]" * levels + b"}}"


BAD_JSON = {
    "empty": (b"", -32700),
    "blank": (b"  \r\n ", -32700),
    "word": (b"hello", -32700),
    "html": (b"<html></html>", -32700),
    "cut": (LIST[:-3], -32700),
    "garbage-behind": (LIST + b"x", -32700),
    "two-messages": (LIST + LIST, -32700),
    "trailing-comma": (b'{"jsonrpc":"2.0","id":1,"method":"ping",}', -32700),
    "comment": (b'{"jsonrpc":"2.0",/**/"id":1,"method":"ping"}', -32700),
    "single-quotes": (b"{'jsonrpc':'2.0'}", -32700),
    "nan": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":NaN}}', -32700),
    "infinity": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":-Infinity}}', -32700),
    "leading-zero": (b'{"jsonrpc":"2.0","id":01,"method":"tools/list"}', -32700),
    "hex": (b'{"jsonrpc":"2.0","id":0x1,"method":"tools/list"}', -32700),
    "bom": (b"\xef\xbb\xbf" + LIST, -32700),
    "utf-16": (LIST.decode().encode("utf-16"), -32700),
    "invalid-utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\xff"}}', -32700),
    "overlong-utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\xc0\xaf"}}', -32700),
    "surrogate-in-utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\xed\xa0\x80"}}', -32700),
    "cut-utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\xe2\x82"}}', -32700),
    "lone-surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\\ud800"}}', -32700),
    "raw-newline-in-string": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"a\nb"}}', -32700),
    "nul": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"a\0b"}}', -32700),
    "bad-escape": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":"\\x41"}}', -32700),
    "deep": (deep(65), -32700),
    "very-deep": (deep(20000), -32700),
    "deep-and-open": (b"[" * 60000, -32700),
    "deep-objects": (b'{"a":' * 10000, -32700),
    "duplicate-in-envelope": (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}', -32600),
    "duplicate-id": (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', -32600),
    "duplicate-in-params": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}', -32600),
    "duplicate-in-meta": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"a":1,"a":2}}}', -32600),
    "duplicate-behind-escape": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\\u0061me":"b"}}', -32600),
    "array": (b"[" + LIST + b"]", -32600),
    "empty-array": (b"[]", -32600),
    "string": (b'"hello"', -32600),
    "number": (b"17", -32600),
    "null": (b"null", -32600),
    "empty-object": (b"{}", -32600),
    "no-jsonrpc": (b'{"id":1,"method":"tools/list"}', -32600),
    "jsonrpc-1-0": (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600),
    "jsonrpc-number": (b'{"jsonrpc":2.0,"id":1,"method":"tools/list"}', -32600),
    "method-number": (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
    "method-empty": (b'{"jsonrpc":"2.0","id":1,"method":""}', -32600),
    "id-fractional": (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', -32600),
    "id-exponent": (b'{"jsonrpc":"2.0","id":1e3,"method":"tools/list"}', -32600),
    "id-array": (b'{"jsonrpc":"2.0","id":[1],"method":"tools/list"}', -32600),
    "id-bool": (b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}', -32600),
    "result-and-error": (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600),
    "method-and-result": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}', -32600),
    "params-array": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[1]}', -32602),
    "params-string": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":"x"}', -32602),
    "meta-array": (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":[]}}', -32602),
}


@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25", "2025-06-18"])
@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_gets_400_and_its_code(gw, case, version):
    """P-001, P-002, P-006, P-008, P-012: refused before anything is done, in every revision."""
    body, code = BAD_JSON[case]
    answer = gw.request("POST", "/mcp", body, {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list",
                                               "Accept": "application/json, text/event-stream"})
    assert (answer.status, answer.json["error"]["code"]) == (400, code), answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["jsonrpc"] == "2.0"
    if code == -32700:  # P-007: an id that could not be read
        assert answer.json.get("id", "absent") == (None if version == "2025-06-18" else "absent")


def test_deep_but_allowed_body_is_served(gw):
    """The limit counts from the message's own brace: 62 arrays below params are 64 levels."""
    body = json.loads(deep(61))
    answer = gw.modern("tools/list", body["params"])
    assert answer.status == 200, answer.body


def test_depth_limit_is_configurable(gateway):
    gw = gateway({"limits": {"json_depth": 8}})
    assert gw.request("POST", "/mcp", deep(8)).status == 400
    assert gw.modern("tools/list", json.loads(deep(4))["params"]).status == 200


@pytest.mark.parametrize("request_id", [0, -1, 2**63, 1795234146123, "", "1", "ä", "a\"b\\c", "x" * 500])
def test_ids_come_back_as_they_were(gw, request_id):
    """P-002: type and exact value."""
    body = {"jsonrpc": "2.0", "id": request_id, "method": "tools/list", "params": {"_meta": META}}
    answer = gw.request("POST", "/mcp", body, {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"})
    assert answer.status == 200
    assert type(answer.json["id"]) is type(request_id) and answer.json["id"] == request_id


# ---- modern requests over HTTP: headers and _meta -------------------------------------------------------

def modern_case(method="tools/list", name=None, meta=META, drop=(), params=None, **headers):
    head = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream", **({"Mcp-Name": name} if name else {})}
    head |= {k.replace("_", "-"): v for k, v in headers.items()}
    for key in drop:
        head.pop(key)
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**(params or {}), **({"_meta": meta} if meta is not None else {})}}
    return head, body


CALL = {"name": "time__get_current_time", "arguments": {}}
NAME = CALL["name"]
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


def without(key):
    return {k: v for k, v in META.items() if k != key}


MODERN_CASES = {
    # P-041: what _meta must hold
    "P-041-no-meta-but-version-header": (modern_case(meta=None), 400, -32602),
    "P-041-no-version-in-meta": (modern_case(meta=without(VERSION)), 400, -32602),
    "P-041-version-is-a-number": (modern_case(meta={**META, VERSION: 20260728}), 400, -32602),
    "P-041-no-capabilities": (modern_case(meta=without(CAPABILITIES)), 400, -32602),
    "P-041-capabilities-is-a-list": (modern_case(meta={**META, CAPABILITIES: []}), 400, -32602),
    "P-041-no-client-info-is-fine": (modern_case(), 200, None),
    # P-071, P-072: headers that must be there and say the same as the body
    "P-071-no-version-header": (modern_case(drop=["MCP-Protocol-Version"]), 400, -32020),
    "P-071-version-header-differs": (modern_case(MCP_Protocol_Version="2025-11-25"), 400, -32020),
    "P-071-no-method-header": (modern_case(drop=["Mcp-Method"]), 400, -32020),
    "P-071-method-header-differs": (modern_case(Mcp_Method="tools/call"), 400, -32020),
    "P-070-method-header-in-capitals": (modern_case(Mcp_Method="TOOLS/LIST"), 400, -32020),
    "P-070-spaces-around-method": (modern_case(Mcp_Method="  tools/list  "), 200, None),
    "P-073-name-header-in-latin-1": (modern_case("tools/call", "time__z\xe9ro", params={"name": "time__z\xe9ro"}), 400, -32020),
    "P-071-no-name-header": (modern_case("tools/call", params=CALL), 400, -32020),
    "P-071-name-header-differs": (modern_case("tools/call", "time__add_duration", params=CALL), 400, -32020),
    "P-070-name-header-in-capitals": (modern_case("tools/call", NAME.upper(), params=CALL), 400, -32020),
    "P-070-spaces-around-name": (modern_case("tools/call", f"  {NAME}  ", params=CALL), 200, None),
    "P-074-name-in-base64": (modern_case("tools/call", "=?base64?dGltZV9fZ2V0X2N1cnJlbnRfdGltZQ==?=", params=CALL), 200, None),
    "P-074-name-in-bad-base64": (modern_case("tools/call", "=?base64?dGltZV9fZ2V0X2N1cnJlbnRfdGltZQ?=", params=CALL), 400, -32020),
    "P-074-name-with-bad-alphabet": (modern_case("tools/call", "=?base64?d*==?=", params=CALL), 400, -32020),
    "P-074-half-a-sentinel-is-literal": (modern_case("tools/call", "=?base64?dGltZQ==", params=CALL), 400, -32020),
    # P-042: versions
    "P-042-unknown-version": (modern_case(meta={**META, VERSION: "2099-01-01"}, MCP_Protocol_Version="2099-01-01"), 400, -32022),
    "P-042-legacy-version-in-modern-form": (modern_case(meta={**META, VERSION: "2025-11-25"},
                                                        MCP_Protocol_Version="2025-11-25"), 400, -32022),
    # P-049, P-168: methods
    "P-168-unknown-method": (modern_case("tools/destroy"), 404, -32601),
    "P-049-initialize": (modern_case("initialize"), 404, -32601),
    "P-049-ping": (modern_case("ping"), 404, -32601),
    "P-049-set-level": (modern_case("logging/setLevel", params={"level": "info"}), 404, -32601),
    "P-049-subscribe": (modern_case("resources/subscribe", params={"uri": "a:b"}), 404, -32601),
    "P-049-unsubscribe": (modern_case("resources/unsubscribe", params={"uri": "a:b"}), 404, -32601),
    "P-049-tasks-list": (modern_case("tasks/list"), 404, -32601),
    "P-049-tasks-result": (modern_case("tasks/result", params={"taskId": "x"}), 404, -32601),
    # params
    "P-025-unknown-tool": (modern_case("tools/call", "nobody__nothing", params={"name": "nobody__nothing"}), 200, -32602),
    "P-192-no-arguments": (modern_case("tools/call", NAME, params={"name": NAME}), 200, None),
    "P-072-arguments-is-a-list": (modern_case("tools/call", NAME, params={"name": NAME, "arguments": [1]}), 400, -32602),
    "P-090-cursor-of-nobody": (modern_case(params={"cursor": "abc"}), 200, -32602),
    "P-161-session-id-is-ignored": (modern_case(Mcp_Session_Id="abc"), 200, None),
    "P-161-last-event-id-is-ignored": (modern_case(Last_Event_ID="abc"), 200, None),
    "P-141-accept-nothing-we-have": (modern_case(Accept="text/html"), 406, -32600),
    "P-141-no-accept": (modern_case(drop=["Accept"]), 200, None),
    "P-141-accept-anything": (modern_case(Accept="*/*"), 200, None),
    "P-141-body-is-text": (modern_case(Content_Type="text/plain"), 415, -32600),
    "P-141-body-is-form": (modern_case(Content_Type="application/x-www-form-urlencoded"), 415, -32600),
    "P-141-body-with-charset": (modern_case(Content_Type="application/json; charset=utf-8"), 200, None),
}


@pytest.mark.parametrize("case", MODERN_CASES)
def test_modern_request(gw, case):
    """The status and code that PROTOCOL names for each case, in the order of P-072."""
    (headers, body), status, code = MODERN_CASES[case]
    answer = gw.request("POST", "/mcp", body, headers)
    assert answer.status == status, answer.body
    assert answer.message.get("error", {}).get("code") == code, answer.body
    assert "mcp-session-id" not in answer.headers  # P-161: never minted
    if code and status == 400:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["id"] == 7
    if code == -32022:
        requested = body["params"]["_meta"][VERSION]
        data = answer.json["error"]["data"]
        assert (data["supported"], data["requested"]) == (["2026-07-28"], requested)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_client_that_takes_event_streams_only_gets_one(gw, era):
    """P-141, P-163: the answer as the one event, with the headers that keep proxies from holding it back."""
    accept = {"Accept": "text/event-stream"}
    if era == "modern":
        headers, body = modern_case()
        answer = gw.request("POST", "/mcp", body, {**headers, **accept})
    else:
        answer = gw.session().call("tools/list", headers=accept)
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache" and answer.headers["x-accel-buffering"] == "no"
    assert len(answer.events()) == 1 and "tools" in answer.events()[0]["result"]


def test_modern_results_say_what_they_are(gw):
    """P-046, P-085, P-086: resultType on every result, caching on lists, who answered."""
    listed = gw.modern("tools/list").message["result"]
    assert listed["resultType"] == "complete"
    assert listed["cacheScope"] == "private" and isinstance(listed["ttlMs"], int) and listed["ttlMs"] >= 0
    assert listed["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "gatespan"
    called = gw.modern("tools/call", CALL).message["result"]
    assert called["resultType"] == "complete" and "ttlMs" not in called


def test_modern_notifications_are_accepted(gw):
    """P-162, P-049: 202 and no body, known or not; a response body is refused."""
    for method in ("notifications/cancelled", "notifications/initialized", "notifications/whatever"):
        headers, body = modern_case(method)
        del body["id"]
        answer = gw.request("POST", "/mcp", body, headers)
        assert (answer.status, answer.body) == (202, b"")
    headers, _ = modern_case()
    answer = gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "result": {}}, headers)
    assert answer.status in (202, 400)


def test_discover_names_modern_versions_only(gw):
    """P-047, P-042."""
    result = gw.modern("server/discover").message["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["resultType"] == "complete" and {"ttlMs", "cacheScope", "capabilities"} <= set(result)


# ---- legacy sessions --------------------------------------------------------------------------------------

LEGACY_HEADERS = {"Accept": "application/json, text/event-stream"}


def initialize(version="2025-11-25"):
    return {"jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}


@pytest.mark.parametrize("asked,got", [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"),
                                       ("2026-07-28", "2025-11-25"), ("2099-01-01", "2025-11-25"),
                                       ("nonsense", "2025-11-25")])
def test_initialize_negotiates(gw, asked, got):
    """P-031, P-023: the requested version when known, else the latest legacy one, never an error."""
    answer = gw.request("POST", "/mcp", initialize(asked), LEGACY_HEADERS)
    assert answer.status == 200
    assert answer.message["result"]["protocolVersion"] == got


def test_session_id_is_long_visible_and_new_each_time(gw):
    """P-146."""
    ids = {gw.request("POST", "/mcp", initialize(), LEGACY_HEADERS).headers["mcp-session-id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(len(i) >= 22 and all(0x21 <= ord(c) <= 0x7E for c in i) for i in ids)


def test_request_without_session_is_400(gw):
    """P-146, P-056."""
    answer = gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, LEGACY_HEADERS)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32600)


@pytest.mark.parametrize("session", ["unknown", "", "x" * 64, "../../etc/passwd"])
def test_unknown_session_is_404(gw, session):
    """P-146: the client then initializes anew."""
    answer = gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                        {**LEGACY_HEADERS, "Mcp-Session-Id": session})
    assert answer.status == 404, answer.body


def test_ended_session_is_404(gw):
    """P-147: DELETE ends it, for good."""
    session = gw.session()
    assert session.call("tools/list").status == 200
    assert gw.request("DELETE", "/mcp", None, session.headers).status == 200
    assert session.call("tools/list").status == 404
    assert gw.request("GET", "/mcp", None, session.headers).status == 404
    assert gw.request("DELETE", "/mcp", None, session.headers).status == 404


def test_altered_session_id_is_404(gw):
    session = gw.session()
    for at in (0, len(session.id) // 2, len(session.id) - 1):
        other = session.id[:at] + ("A" if session.id[at] != "A" else "B") + session.id[at + 1:]
        assert session.call("tools/list", headers={"Mcp-Session-Id": other}).status == 404
    assert session.call("tools/list").status == 200


def test_version_header_must_be_that_of_the_session(gw):
    """P-149: contradicting or invalid is 400; absent is what older clients do."""
    session = gw.session("2025-06-18")
    assert session.call("tools/list", headers={"MCP-Protocol-Version": "2025-11-25"}).status == 400
    assert session.call("tools/list", headers={"MCP-Protocol-Version": "nonsense"}).status == 400
    del session.headers["MCP-Protocol-Version"]
    assert session.call("tools/list").status == 200


def test_legacy_errors_come_with_200(gw):
    """§5.6: an ordinary JSON-RPC error of a legacy session is no HTTP error."""
    session = gw.session()
    for method, params, code in (("tools/destroy", {}, -32601), ("tools/call", {"name": "x__y"}, -32602),
                                 ("server/discover", {}, -32601), ("logging/setLevel", {"level": "loud"}, None),
                                 ("resources/read", {"uri": "a:b"}, None), ("tools/list", {"cursor": "x"}, -32602)):
        answer = session.call(method, params)
        assert answer.status == 200, (method, answer.body)
        assert "error" in answer.message
        if code:
            assert answer.message["error"]["code"] == code


def test_second_initialize_on_a_session_is_refused(gw):
    """P-034."""
    session = gw.session()
    answer = session.call("initialize", initialize()["params"])
    assert answer.json["error"]["code"] == -32600
    assert session.call("ping").message["result"] == {}


def test_legacy_notifications_and_responses_are_202(gw):
    """P-142, P-005."""
    session = gw.session()
    for body in ({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
                 {"jsonrpc": "2.0", "method": "notifications/whatever"},
                 {"jsonrpc": "2.0", "id": 5, "result": {}},
                 {"jsonrpc": "2.0", "id": 5, "error": {"code": 1, "message": "x"}}):
        answer = gw.request("POST", "/mcp", body, session.headers)
        assert (answer.status, answer.body) == (202, b""), body


def test_get_and_delete_without_session(gw):
    """P-145, P-160, P-147."""
    for method in ("GET", "DELETE"):
        answer = gw.request(method, "/mcp", None, {"Accept": "text/event-stream"})
        assert answer.status == 405
        assert "POST" in answer.headers["allow"]


def test_get_that_accepts_no_event_stream_is_406(gw):
    """P-141."""
    session = gw.session()
    assert gw.request("GET", "/mcp", None, {**session.headers, "Accept": "application/json"}).status == 406


def test_other_methods_are_405(gw):
    for method in ("PUT", "PATCH", "TRACE", "BREW"):
        assert gw.request(method, "/mcp", b"" if method in ("PUT", "PATCH") else None).status == 405
    assert gw.request("POST", "/health", b"{}").status == 405


# ---- who may ---------------------------------------------------------------------------------------------

TWO_KEYS = {
    "profiles": {"one": {}, "two": {}},
    "keys": {"ann": {"secret": "ann-secret-0123456789"}, "bob": {"secret": "bob-secret-0123456789"},
             "cat": {"secret": "cat-secret-0123456789", "profiles": ["one"]}},
}


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer nobody-0123456789", f"Basic {ADMIN_KEY}",
                                           f"Bearer {ADMIN_KEY}x", f"Bearer {ADMIN_KEY[:-1]}", f"Bearer {ADMIN_KEY} x"])
def test_no_or_wrong_key_is_401(gw, authorization):
    """§5.6: with a WWW-Authenticate, before any word about what is there."""
    headers, body = modern_case()
    if authorization is not None:
        headers["Authorization"] = authorization
    answer = gw.request("POST", "/mcp", body, headers, key=None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/metrics", "/api/v1/health/detailed"):
        assert gw.request("GET", path, None, {"Authorization": authorization or ""}, key=None).status == 401


def test_key_in_other_places(gw):
    """P-326, P-172: X-API-Key is taken; a key in the URL is none."""
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, {**headers, "X-API-Key": ADMIN_KEY}, key=None).status == 200
    assert gw.request("POST", f"/mcp?key={ADMIN_KEY}", body, headers, key=None).status == 401


def test_operation_needs_an_admin_key(gateway):
    gw = gateway(TWO_KEYS)
    for path in ("/metrics", "/api/v1/health/detailed"):
        assert gw.request("GET", path).status == 200
        assert gw.request("GET", path, key="ann-secret-0123456789").status == 403


def test_session_belongs_to_its_key_and_profile(gateway):
    """P-148, P-327: a session id is a name, no credential; another key or profile sees a dead session."""
    gw = gateway(TWO_KEYS)
    session = gw.session(path="/mcp/one", key="ann-secret-0123456789")
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    assert gw.request("POST", "/mcp/one", call, session.headers, key="ann-secret-0123456789").status == 200
    assert gw.request("POST", "/mcp/one", call, session.headers, key="bob-secret-0123456789").status == 404
    assert gw.request("POST", "/mcp/two", call, session.headers, key="ann-secret-0123456789").status == 404
    assert gw.request("POST", "/mcp", call, session.headers, key="ann-secret-0123456789").status == 404
    assert gw.request("GET", "/mcp/one", None, session.headers, key="bob-secret-0123456789").status == 404
    assert gw.request("DELETE", "/mcp/one", None, session.headers, key="bob-secret-0123456789").status == 404
    assert gw.request("POST", "/mcp/one", call, session.headers, key="ann-secret-0123456789").status == 200


def test_profile_that_is_not_there_or_not_granted_is_404(gateway):
    gw = gateway(TWO_KEYS)
    assert gw.modern("tools/list", path="/mcp/three").status == 404
    assert gw.modern("tools/list", path="/mcp/one", key="cat-secret-0123456789").status == 200
    for path in ("/mcp/two", "/mcp"):
        assert gw.modern("tools/list", path=path, key="cat-secret-0123456789").status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "127.evil.example", "localhost.evil.example",
                                  "192.168.1.1", "[::2]"])
def test_foreign_host_is_403(gw, host):
    """P-171: DNS rebinding."""
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, {**headers, "Host": host}).status == 403
    assert gw.request("GET", "/health", None, {"Host": host}).status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]", "[::1]:8000"])
def test_loopback_hosts_are_served(gw, host):
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, {**headers, "Host": host}).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example", "null", "http://127.0.0.1:1", "",
                                    "file://", "http://user@127.0.0.1"])
def test_foreign_origin_is_403(gw, origin):
    """P-170: any path, before the key is looked at."""
    headers, body = modern_case()
    answer = gw.request("POST", "/mcp", body, {**headers, "Origin": origin}, key=None)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_own_origin_is_served(gw):
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, {**headers, "Origin": gw.url}).status == 200


def test_hosts_and_origins_of_the_configuration(gateway):
    gw = gateway({"hosts": ["gate.example"], "cors": {"origins": ["https://app.example"]}})
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, {**headers, "Host": "gate.example"}).status == 200
    assert gw.request("POST", "/mcp", body, {**headers, "Host": "other.example"}).status == 403
    assert gw.request("POST", "/mcp", body, {**headers, "Origin": "https://app.example"}).status == 200
    assert gw.request("POST", "/mcp", body, {**headers, "Origin": "https://app.example.evil"}).status == 403


def test_cors_preflight(gateway):
    """P-173: a browser may send what MCP needs and read what MCP answers; no key in a preflight."""
    gw = gateway({"cors": {"origins": ["https://app.example"]}})
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization, mcp-method"}
    answer = gw.request("OPTIONS", "/mcp", None, asked, key=None)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    allowed = {h.strip() for h in answer.headers["access-control-allow-headers"].lower().split(",")}
    assert {"authorization", "content-type", "accept", "mcp-session-id", "mcp-protocol-version", "mcp-method",
            "mcp-name", "last-event-id"} <= allowed
    assert {"POST", "GET", "DELETE"} <= {m.strip() for m in answer.headers["access-control-allow-methods"].split(",")}
    assert gw.request("OPTIONS", "/mcp", None, {**asked, "Origin": "https://evil.example"}, key=None).status == 403
    headers, body = modern_case()
    answer = gw.request("POST", "/mcp", body, {**headers, "Origin": "https://app.example"})
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert {"mcp-session-id", "www-authenticate"} <= {h.strip() for h in answer.headers["access-control-expose-headers"].split(",")}
    assert "origin" in answer.headers["vary"].lower()


def test_cors_of_annotated_parameters(gateway):
    """A browser client must be able to send Mcp-Param-* headers, whatever their names (P-173, §4.1)."""
    gw = gateway({"cors": {"origins": ["https://app.example"]}})
    answer = gw.request("OPTIONS", "/mcp", None,
                        {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                         "Access-Control-Request-Headers": "authorization,mcp-param-region"}, key=None)
    assert "mcp-param-region" in answer.headers["access-control-allow-headers"].lower()


def test_refusals_carry_cors_headers_too(gateway):
    """Else a page cannot tell 401 from a broken network."""
    gw = gateway({"cors": {"origins": ["https://app.example"]}})
    headers, body = modern_case()
    answer = gw.request("POST", "/mcp", body, {**headers, "Origin": "https://app.example"}, key=None)
    assert answer.status == 401
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


def test_anonymous_from_this_machine(gateway):
    """Rule 2 of DESIGN §12: only where the operator says so, and a wrong key is still wrong."""
    gw = gateway({"anonymous": "loopback"})
    headers, body = modern_case()
    assert gw.request("POST", "/mcp", body, headers, key=None).status == 200
    assert gw.request("POST", "/mcp", body, headers, key="nobody-0123456789").status == 401
    assert gw.request("GET", "/metrics", key=None).status == 403


def test_unknown_paths_are_404_in_our_shape(gw):
    for path in ("/", "/nothing", "/mcpx", "/api/v1/nothing", "/../etc/passwd", "/mcp/../metrics"):
        answer = gw.request("GET", path)
        assert answer.status in (404, 405), path
        assert answer.headers["content-type"] == "application/json"
    assert set(gw.request("GET", "/nothing").json) >= {"error", "message", "details", "timestamp"}


# ---- damage at random ------------------------------------------------------------------------------------

def damaged(data, random):
    """Some bytes changed, cut out, doubled or put in, as noise and attackers do."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at, kind = random.randrange(len(data)), random.randrange(5)
        if kind == 0:
            data[at] = random.randrange(256)
        elif kind == 1:
            del data[at:at + random.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = data[at:at + random.randrange(1, 40)]
        elif kind == 3:
            data[at:at] = random.choice((b"\r\n", b"\n", b"\0", b":", b" ", b"\xff", b"{", b"]", b'"', b"\\", b"9" * 30))
        else:
            data[at] ^= 1 << random.randrange(8)
        if not data:
            data = bytearray(b"x")
    return bytes(data)


def test_damaged_requests_hurt_nobody(gateway):
    """Whatever comes of each: the process lives, a sanitizer is silent, nothing stays in flight."""
    gw = gateway({"limits": {"head_timeout": "100ms", "body_timeout": "100ms"}})
    random = Random(7)
    call = json.dumps({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": {
        "name": "time__convert_time", "_meta": {**META, "progressToken": 3},
        "arguments": {"time": "2026-01-01T00:00:00Z", "to": "Europe/Berlin", "note": "ä\\u00e4\\n"}}}).encode()
    called = post("Mcp-Name: time__convert_time\r\n", call).replace(b"Mcp-Method: tools/list", b"Mcp-Method: tools/call")
    samples = [post(), called, chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST)), post() + called]
    statuses = set()
    for i in range(600):
        with Wire(gw, timeout=0.2) as wire:
            wire.try_send(damaged(random.choice(samples), random))
            try:
                statuses.add(wire.socket.recv(4096)[9:12])
            except OSError:
                pass
    assert {b"400", b"200"} <= statuses
    wait_for(lambda: gw.request("GET", "/health").status == 200, what="others served")  # if they are quick themselves
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing in flight")


def test_damaged_messages_hurt_nobody(gw):
    """Sound HTTP around broken JSON-RPC: an answer each time, of one of the statuses that there are."""
    random = Random(11)
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        **CALL, "arguments": {"zone": "Europe/Berlin"}, "_meta": META}}).encode()
    for _ in range(600):
        body = damaged(random.choice((LIST, call)), random)
        answer = gw.request("POST", "/mcp", body, {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": NAME})
        assert answer.status in (200, 202, 400, 404), (answer.status, body)
        if answer.body:
            assert answer.json["jsonrpc"] == "2.0"


def test_a_gateway_without_sessions_says_what_it_speaks(gateway):
    """P-056, P-062: protocol.oldest of 2026-07-28 leaves nothing to initialize."""
    gw = gateway({"protocol": {"oldest": "2026-07-28"}})
    accept = {"Accept": "application/json, text/event-stream"}
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}
    answer = gw.request("POST", "/mcp", initialize, accept)
    assert answer.status == 400 and "mcp-session-id" not in answer.headers
    assert answer.message["error"]["code"] == -32022
    data = answer.message["error"]["data"]
    assert (data["supported"], data["requested"]) == (["2026-07-28"], "2025-11-25")
    assert "2026-07-28" in answer.message["error"]["message"]
    plain = gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, accept)
    assert (plain.status, plain.message["error"]["code"]) == (400, -32020)
    assert gw.request("GET", "/mcp", headers=accept).status == 405
    assert "time__get_current_time" in gw.tools()
    assert gw.request("GET", "/api/v1/info").json["revisions"] == ["2026-07-28"]

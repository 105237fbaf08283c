"""`gatespan connect`: clients that only speak stdio, at a gateway that speaks HTTP."""
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ADMIN_KEY, binary, free_port, replace, run_client_job, start_gateway, wait_for
from test_clients import CLIENT_KINDS, STEPS, call, text_of

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def environment(key=ADMIN_KEY, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    return env | ({"GATESPAN_KEY": key} if key else {}) | more


# ---- real clients ---------------------------------------------------------------------------------

STDIO_KINDS = {**CLIENT_KINDS, "typescript-2-legacy": ("modern", "legacy", "2025-11-25")}


def job_of(gateway, kind, steps):
    program, mode, _ = STDIO_KINDS[kind]
    return program, {"command": [str(binary()), "connect", gateway.mcp, "--quiet"],
                     "env": environment(), "steps": steps, **({"mode": mode} if mode else {})}


@pytest.mark.parametrize("kind", STDIO_KINDS)
def test_a_real_client_does_everything_through_the_pipe(world, kind):
    plan = [(step, check) for name in STEPS for step, check in STEPS[name](world)]
    lists = [{"op": k} for k in ("tools", "prompts", "resources", "templates")]
    program, job = job_of(world["gateway"], kind, lists + [step for step, _ in plan])
    out = run_client_job(program, job, node=world["node"])
    assert out["server"]["name"] == "gatespan"
    if program != "legacy":  # that library does not tell the revision of a pipe
        assert out["version"] == STDIO_KINDS[kind][2]
    assert "Text of the gateway." in out["instructions"]
    shown = [t["name"] for t in out["results"][0]["ok"]]
    for server, own in world["own"].items():
        assert [n for n in shown if n.startswith(f"{server}__")] == [f"{server}__{t['name']}" for t in own["tools"]]
    for (step, check), answer in zip(plan, out["results"][len(lists):]):
        # The TypeScript libraries drop progress that a pipe delivers together with the result.
        dropped = kind.startswith("typescript") and step.get("progress")
        assert "ok" in answer and (check(answer) or dropped), (step, answer)


@pytest.mark.parametrize("kind", STDIO_KINDS)
def test_a_real_client_cancels_and_goes_on(world, kind):
    """P-123, P-165"""
    steps = [{"op": "call", "name": "python-stdio__stepwise", "arguments": {"steps": 600, "pause": 100},
              "progress": True, "cancelAfter": 2}, call("python-stdio__add", a=2, b=2)]
    program, job = job_of(world["gateway"], kind, steps)
    long, short = run_client_job(program, job, node=world["node"])["results"]
    assert "error" in long and len(long["progress"]) >= 2
    assert text_of(short["ok"]) == "4"
    wait_for(lambda: world["gateway"].metric("gatespan_exchanges_in_flight") == 0, what="nothing left in flight")


# ---- a client by hand -------------------------------------------------------------------------------

class Pipe:
    def __init__(self, url, *arguments, key=ADMIN_KEY, **env):
        self.process = subprocess.Popen([str(binary()), "connect", url, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(key, **env))
        self.lines, self.errors = queue.Queue(), []
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def send(self, message):
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self, seconds=60):
        message = self.lines.get(timeout=seconds)
        assert message is not None, self.log()
        return message

    def answer(self, request_id, seconds=60):
        """The response to that request; what comes before it is kept in `others`."""
        self.others = []
        while True:
            message = self.read(seconds)
            if message.get("id") == request_id and "method" not in message:
                return message
            self.others.append(message)

    def ask(self, method, params=None, request_id=1, seconds=60):
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, **({"params": params} if params is not None else {})})
        return self.answer(request_id, seconds)

    def modern(self, method, request_id=1, **params):
        return self.ask(method, {**params, "_meta": META}, request_id)

    def initialize(self, version="2025-11-25"):
        result = self.ask("initialize", {"protocolVersion": version, "capabilities": {},
                                         "clientInfo": {"name": "test", "version": "1"}}, "init")["result"]
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def log(self):
        return b"".join(self.errors).decode()

    def end(self):
        """Closes the input; what was still said."""
        self.process.stdin.close()
        code = self.process.wait(60)
        for reader in self.readers:
            reader.join(60)
        rest = []
        while (message := self.lines.get(timeout=60)) is not None:
            rest.append(message)
        return code, rest


@pytest.fixture
def pipe():
    opened = []

    def start(url, *arguments, **options):
        opened.append(Pipe(url, *arguments, **options))
        return opened[-1]
    yield start
    for p in opened:
        if p.process.poll() is None:
            p.process.kill()
        p.process.wait(60)
        assert "AddressSanitizer" not in p.log() and "runtime error:" not in p.log(), p.log()


@pytest.fixture(scope="module")
def shared(module_gateway):
    return module_gateway({"keys": {"few": {"secret": "key-of-a-client-0123456789", "allow": ["time__get_*"]}}}
                          ).wait_ready("time")


def sessions(gateway):
    return gateway.metric("gatespan_sessions")


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_legacy_session_is_opened_and_ended(pipe, shared, version):
    """P-146, P-147"""
    before = sessions(shared)
    p = pipe(shared.mcp)
    assert p.initialize(version)["protocolVersion"] == version
    assert "time__get_current_time" in [t["name"] for t in p.ask("tools/list")["result"]["tools"]]
    assert sessions(shared) == before + 1
    result = p.ask("tools/call", {"name": "time__get_current_time", "arguments": {"zone": "Asia/Tokyo"}}, "x")
    assert "+09:00" in result["result"]["content"][0]["text"]
    assert p.end() == (0, [])
    wait_for(lambda: sessions(shared) == before, what="the session ended")  # behind the answer
    assert p.log() == ""


def test_a_stream_that_is_open_does_not_hold_up_the_end(pipe, shared):
    """Its next look around would be after ten seconds; that a busy machine takes as long each time is not likely."""
    took = []
    for _ in range(3):
        before = shared.metric("gatespan_streams_open")
        p = pipe(shared.mcp)
        p.initialize()
        wait_for(lambda: shared.metric("gatespan_streams_open") > before, what="its stream")
        began = time.monotonic()
        assert p.end() == (0, [])
        took.append(time.monotonic() - began)
        wait_for(lambda: shared.metric("gatespan_streams_open") == before, what="the stream gone")
    assert min(took) < 9, took


def test_modern_requests_need_no_session_and_go_beside_one(pipe, shared):
    """P-057"""
    p = pipe(shared.mcp)
    assert p.modern("server/discover")["result"]["supportedVersions"] == ["2026-07-28"]
    p.initialize()
    assert p.modern("tools/list")["result"]["resultType"] == "complete"
    assert "resultType" not in p.ask("tools/list", {})["result"]


def test_a_name_that_no_header_carries_as_it_is(pipe, shared):
    """P-073: Mcp-Name is encoded; the refusal is about the tool, not about the header."""
    p = pipe(shared.mcp)
    error = p.modern("tools/call", name="zeit für\talle ", arguments={})["error"]
    assert error["code"] == -32602, error


def test_errors_of_the_gateway_arrive_as_they_are(pipe, shared):
    p = pipe(shared.mcp)
    newer = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    assert p.ask("tools/list", {"_meta": newer})["error"]["code"] == -32022
    assert p.modern("no/such")["error"]["code"] == -32601
    p.initialize()
    assert p.ask("no/such")["error"]["code"] == -32601


@pytest.mark.parametrize("line, code", [
    (b"{not json", -32700), (b'{"jsonrpc":"2.0","id":1}', -32600), (b"\xff\xfe", -32700),
    (b'"' + b"x" * (65 << 20) + b'"', -32600),
])
def test_bad_lines_are_answered_and_the_next_is_served(pipe, shared, line, code):
    p = pipe(shared.mcp)
    p.send(line)
    assert p.read()["error"]["code"] == code
    assert p.modern("tools/list", 7)["id"] == 7


def test_what_was_piped_in_is_answered_before_the_end(shared):
    lines = [{"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
        "name": "time__get_current_time", "arguments": {"zone": "Asia/Tokyo"}, "_meta": META}} for i in range(200)]
    done = subprocess.run([str(binary()), "connect"], input="\n".join(map(json.dumps, lines)), capture_output=True,
                          text=True, timeout=60, env=environment(GATESPAN_URL=shared.mcp))
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == set(range(200))


def test_a_whole_legacy_conversation_may_be_piped_in(shared):
    """Nothing overtakes initialize and initialized."""
    lines = [{"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        *[{"jsonrpc": "2.0", "id": i, "method": "tools/list"} for i in range(1, 30)]]
    done = subprocess.run([str(binary()), "connect", shared.mcp], input="\n".join(map(json.dumps, lines)) + "\n",
                          capture_output=True, text=True, timeout=60, env=environment())
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == 30 and all("result" in a for a in answers), done.stderr


def test_a_client_that_stops_reading_holds_back_and_is_served_later(pipe, shared):
    process = subprocess.Popen([str(binary()), "connect", shared.mcp], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=environment())
    n = 1500
    text = "".join(json.dumps({"jsonrpc": "2.0", "id": i, "method": "tools/list", "params": {"_meta": META}}) + "\n"
                   for i in range(n)).encode()
    sender = threading.Thread(target=lambda: (process.stdin.write(text), process.stdin.close()))
    sender.start()
    time.sleep(1)
    got = [json.loads(line)["id"] for line in process.stdout]
    sender.join()
    assert sorted(got) == list(range(n)) and process.wait(60) == 0


def test_list_changed_arrives_on_the_stream_and_on_a_listen(pipe, gateway, tmp_path):
    """P-145, P-110"""
    path = tmp_path / "changing.json"
    path.write_text(json.dumps({"builtins": ["time"]}))
    gw = gateway(path).wait_ready("time")
    legacy, modern = pipe(gw.mcp), pipe(gw.mcp)
    legacy.initialize()
    legacy.ask("ping")
    modern.send({"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
                 "params": {"notifications": {"toolsListChanged": True}, "_meta": META}})
    assert modern.read()["method"] == "notifications/subscriptions/acknowledged"
    wait_for(lambda: gw.metric("gatespan_streams_open") >= 2, what="both streams")
    replace(path, {"builtins": []})
    assert legacy.read()["method"] == "notifications/tools/list_changed"
    assert modern.read()["method"] == "notifications/tools/list_changed"
    modern.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l", "_meta": META}})
    assert modern.end() == (0, [])
    assert legacy.end() == (0, [])
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="no stream left")


def test_a_gateway_that_restarts_is_not_noticed(pipe, tmp_path):
    """P-146: the session is opened again, requests wait meanwhile, a listen is taken up (P-115)."""
    data = tmp_path / "data"
    first = start_gateway(tmp_path, {"listen": []}, data=data)
    first.wait_ready("time")
    p = pipe(first.mcp)
    p.initialize()
    p.send({"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
            "params": {"notifications": {"toolsListChanged": True}, "_meta": META}})
    assert p.read()["method"] == "notifications/subscriptions/acknowledged"
    assert "result" in p.ask("tools/list")
    first.process.kill()
    first.process.wait(60)
    p.send({"jsonrpc": "2.0", "id": "late", "method": "tools/list"})
    wait_for(lambda: "cannot reach" in p.log(), what="the loss told")
    second = subprocess.Popen([str(binary()), "serve", "--data", str(data), "--listen", f"127.0.0.1:{first.port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert "result" in p.answer("late")
        changed = p.others + [p.read()] if not p.others else p.others
        assert changed[0]["method"] == "notifications/tools/list_changed"
        assert "result" in p.ask("tools/list", request_id="again")
        code, _ = p.end()
        assert code == 0
        assert p.log().count("cannot reach") == 1 and "opening a new one" in p.log()
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0


# ---- what goes wrong ----------------------------------------------------------------------------------

def test_no_gateway_there(pipe):
    url = f"http://127.0.0.1:{free_port()}/mcp"
    p = pipe(url, "--wait", "300ms")
    error = p.modern("tools/list")["error"]
    assert error["code"] == -32603 and url in error["message"] and "gatespan serve" in error["message"]
    assert p.end() == (5, []) and "cannot reach" in p.log()


@pytest.mark.parametrize("key, said", [("gs_wrong_key_0123456789", "does not accept this key"), (None, "wants a key")])
def test_credentials(pipe, shared, key, said):
    p = pipe(shared.mcp, key=key)
    error = p.modern("tools/list")["error"]
    assert said in error["message"] and "GATESPAN_KEY" in error["message"]
    assert p.process.wait(60) == 4
    wait_for(lambda: said in p.log(), what="the reason on stderr")
    assert "gs_wrong" not in p.log()


def test_an_address_that_is_no_endpoint(pipe, shared):
    p = pipe(shared.url + "/elsewhere")
    assert "status 404" in p.modern("tools/list")["error"]["message"]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_it_and_the_session(pipe, shared, number, code):
    before = sessions(shared)
    p = pipe(shared.mcp)
    p.initialize()
    p.ask("ping")
    p.process.send_signal(number)
    assert p.process.wait(60) == code
    wait_for(lambda: sessions(shared) == before, what="the session ended")


def test_a_client_that_went_ends_it(pipe, shared):
    p = subprocess.Popen([str(binary()), "connect", shared.mcp], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env=environment())
    p.stdout.close()
    p.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}).encode() + b"\n")
    p.stdin.flush()
    assert p.wait(60) == 0


@pytest.mark.parametrize("arguments, said", [
    (["localhost:8000"], "http:// or https://"), (["http://a", "http://b"], "usage: gatespan connect [URL]"),
    (["--wait", "soon"], "a duration is needed"), (["--key-file", "/no/such/file"], "no such file"),
])
def test_wrong_use(arguments, said):
    done = subprocess.run([str(binary()), "connect", *arguments], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env=environment(key=None))
    assert done.returncode in (2, 4) and done.stdout == "" and said in done.stderr


# ---- a server that does what gateways seldom do -------------------------------------------------------

class Odd:
    """An HTTP server whose answers the test decides; what it was asked is in `seen`."""

    def __init__(self, decide):
        odd = self
        self.seen = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                message = json.loads(body) if body else None
                odd.seen.append((self.command, dict(self.headers.items()), message))
                decide(self, message)

            do_POST = do_GET = do_DELETE = serve

            def log_message(self, *arguments):
                pass

            def say(self, status, body=b"", kind="application/json", **headers):
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def stream(self, text):
                """An event stream that ends with the connection."""
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text.encode())
                self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/mcp"
        threading.Thread(target=self.server.serve_forever, args=[0.02], daemon=True).start()

    def methods(self):
        return [m.get("method") if m else verb for verb, _, m in self.seen]


@pytest.fixture
def odd():
    started = []

    def start(decide):
        started.append(Odd(decide))
        return started[-1]
    yield start
    for o in started:
        o.server.shutdown()
        o.server.server_close()


def answer(message, **result):
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


def legacy(handler, message, otherwise):
    """The part of a server that every legacy test needs."""
    method = (message or {}).get("method")
    if method == "initialize":
        handler.say(200, answer(message, protocolVersion="2025-11-25", capabilities={}, serverInfo={"name": "o", "version": "1"}),
                    Mcp_Session_Id=f"s{len(handler.server.RequestHandlerClass.__dict__) and time.monotonic_ns()}")
    elif handler.command == "GET" and "Last-Event-ID" not in handler.headers:
        handler.say(405)
    elif message and "id" not in message:
        handler.say(202)
    elif handler.command == "DELETE":
        handler.say(200)
    else:
        otherwise(handler, message)


def test_headers_of_both_eras(pipe, odd):
    """P-070, P-149"""
    server = odd(lambda h, m: legacy(h, m, lambda h, m: h.say(200, answer(m))))
    p = pipe(server.url, key="gs_key_of_the_test")
    p.modern("resources/read", uri="file:///ü")
    p.modern("tools/list", 2)
    p.initialize()
    p.ask("tools/list", {}, 3)
    p.end()
    read, listed = server.seen[0][1], server.seen[1][1]
    assert read["Mcp-Method"] == "resources/read" and read["Mcp-Name"] == "=?base64?ZmlsZTovLy/DvA==?="
    assert read["MCP-Protocol-Version"] == "2026-07-28" and "Mcp-Name" not in listed
    assert read["Accept"] == "application/json, text/event-stream" and "Mcp-Session-Id" not in read
    assert all(h["Authorization"] == "Bearer gs_key_of_the_test" for _, h, _ in server.seen)
    by_method = {(m or {}).get("method", verb): h for verb, h, m in server.seen[2:]}
    assert "Mcp-Session-Id" not in by_method["initialize"] and "Mcp-Method" not in by_method["initialize"]
    for method in ("notifications/initialized", "tools/list", "DELETE"):
        assert by_method[method]["Mcp-Session-Id"].startswith("s")
        assert by_method[method]["MCP-Protocol-Version"] == "2025-11-25"


def test_a_lost_session_brings_back_level_and_subscriptions(pipe, odd):
    """P-146"""
    lost = []

    def rest(h, m):
        if m["method"] == "tools/list" and not lost:
            lost.append(1)
            h.say(404, {"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32600, "message": "no session"}})
        else:
            h.say(200, answer(m, tools=[]))
    server = odd(lambda h, m: legacy(h, m, rest))
    p = pipe(server.url)
    p.initialize()
    p.ask("logging/setLevel", {"level": "error"}, 1)
    p.ask("resources/subscribe", {"uri": "a:b"}, 2)
    p.ask("resources/subscribe", {"uri": "a:c"}, 3)
    p.ask("resources/unsubscribe", {"uri": "a:c"}, 4)
    wait_for(lambda: "GET" in server.methods(), what="the stream asked for")
    before = len(server.seen)
    assert p.ask("tools/list", {}, 5)["result"] == {"tools": []}
    assert p.end()[0] == 0
    after = [m for m in server.methods()[before:] if m != "GET"]
    assert after[:3] == ["tools/list", "initialize", "notifications/initialized"]
    assert sorted(after[3:]) == ["DELETE", "logging/setLevel", "resources/subscribe", "tools/list"]
    sessions = [h["Mcp-Session-Id"] for _, h, m in server.seen[before:] if "Mcp-Session-Id" in h]
    assert sessions[0] != sessions[1] and len(set(sessions)) == 2


def test_a_session_that_ends_at_once_every_time_is_given_up(pipe, odd):
    server = odd(lambda h, m: legacy(h, m, lambda h, m: h.say(404)))
    p = pipe(server.url)
    p.initialize()
    assert "every new session" in p.ask("tools/list", {}, 5)["error"]["message"]
    assert server.methods().count("initialize") == 4


def test_a_stream_that_breaks_is_resumed(pipe, odd):
    """P-150, P-151"""
    def rest(h, m):
        if h.command == "GET":
            assert h.headers["Last-Event-ID"] == "e2"
            h.stream(f'id: e3\ndata: {json.dumps({"jsonrpc": "2.0", "id": 9, "result": {"late": 1}})}\n\n')
        else:
            h.stream('id: e1\nretry: 10\ndata: \n\nid: e2\ndata: {"jsonrpc":"2.0","method":"notifications/message",'
                     '"params":{"level":"info","data":1}}\n\n')
    server = odd(lambda h, m: legacy(h, m, rest))
    p = pipe(server.url)
    p.initialize()
    assert p.ask("tools/call", {"name": "slow"}, 9)["result"] == {"late": 1}
    assert [m["method"] for m in p.others] == ["notifications/message"]


def test_a_modern_call_whose_stream_breaks_is_lost_and_a_list_is_asked_again(pipe, odd):
    """P-166"""
    broken = []

    def decide(h, m):
        if m["method"] == "tools/call":
            h.stream(": nothing comes\n\n")
        elif broken:
            h.say(200, answer(m, tools=[]))
        else:
            broken.append(1)
            h.connection.shutdown(socket.SHUT_RDWR)
            h.close_connection = True
    server = odd(decide)
    p = pipe(server.url)
    assert p.modern("tools/list")["result"] == {"tools": []}
    error = p.modern("tools/call", 2, name="x", arguments={})["error"]
    assert "may have been carried out or not" in error["message"]
    assert server.methods() == ["tools/list", "tools/list", "tools/call"]


def test_headers_of_arguments_are_learnt_and_corrected(pipe, odd):
    """P-078, P-079: after -32020 the tools are listed and the call goes out once more."""
    tool = {"name": "r", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"}}}}

    def decide(h, m):
        if m["method"] == "tools/list":
            page = {"tools": [tool]} if m["params"].get("cursor") else {"tools": [], "nextCursor": "2"}
            h.say(200, answer(m, **page))
        elif h.headers.get("Mcp-Param-Region") == "eu":
            h.say(200, answer(m, content=[]))
        else:
            h.say(400, {"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32020, "message": "header"}})
    server = odd(decide)
    p = pipe(server.url)
    asked = {"name": "r", "arguments": {"region": "eu"}}
    assert p.modern("tools/call", 1, **asked)["result"] == {"content": []}
    assert p.modern("tools/call", 2, **asked)["result"] == {"content": []}
    assert server.methods() == ["tools/call", "tools/list", "tools/list", "tools/call", "tools/call"]
    p.others = None
    assert p.modern("tools/call", 3, name="other", arguments={})["error"]["code"] == -32020, "tried twice, then told"


def test_a_cancelled_modern_call_is_closed_and_nothing_more_is_said(pipe, odd):
    """P-165"""
    closed = threading.Event()

    def decide(h, m):
        if m["method"] != "tools/call":
            h.say(200, answer(m))
            return
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream")
        h.end_headers()
        try:
            while True:
                h.wfile.write(b": still here\n\n")
                h.wfile.flush()
                time.sleep(0.02)
        except OSError:
            closed.set()
            h.close_connection = True
    server = odd(decide)
    p = pipe(server.url)
    p.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "_meta": META}})
    wait_for(lambda: server.seen, what="the call arrived")
    p.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "_meta": META}})
    assert closed.wait(60)
    assert p.modern("tools/list", 2)["id"] == 2
    assert server.methods() == ["tools/call", "tools/list"]


def test_a_large_answer_with_line_ends_is_one_line(pipe, odd):
    """P-120"""
    def decide(h, m):
        text = json.dumps(answer(m, data="ä" * (5 << 20)), indent=2, ensure_ascii=False)
        h.say(200, text.replace("\n", "\r\n").encode())
    p = pipe(odd(decide).url)
    assert len(p.modern("resources/read", uri="a:b")["result"]["data"]) == 5 << 20


def test_503_is_waited_out(pipe, odd):
    tries = []

    def decide(h, m):
        tries.append(1)
        if len(tries) < 3:
            h.say(503, {"error": "unavailable"}, Retry_After="0")
        else:
            h.say(200, answer(m))
    p = pipe(odd(decide).url)
    assert p.modern("tools/call", name="x", arguments={})["result"] == {}


def test_an_error_without_id_is_the_answer(pipe, odd):
    """P-007"""
    p = pipe(odd(lambda h, m: h.say(400, {"jsonrpc": "2.0", "error": {"code": -32600, "message": "no"}})).url)
    assert p.modern("tools/list", "a") == {"jsonrpc": "2.0", "id": "a", "error": {"code": -32600, "message": "no"}}

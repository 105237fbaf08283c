"""MCP over standard input and output towards a client (P-057, P-120..P-124)."""
import asyncio
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import binary, sanitized

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
COMMAND = ["serve", "--role", "server:time", "--stdio"]


def environment(tmp_path):
    return {**{k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}, "HOME": str(tmp_path)}


class Pipe:
    """A client by hand at both ends of the process."""

    def __init__(self, home, arguments=()):
        self.errors = []
        self.process = subprocess.Popen([str(binary()), *COMMAND, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(home))
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True).start()

    def send(self, message):
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        assert line.endswith(b"\n"), (line, self.errors)
        return json.loads(line)

    def ask(self, method, params=None, request_id=1):
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, **({"params": params} if params else {})})
        return self.read()

    def modern(self, method, request_id=1, **params):
        return self.ask(method, {**params, "_meta": META}, request_id)

    def initialize(self, version="2025-06-18"):
        answer = self.ask("initialize", {"protocolVersion": version, "capabilities": {},
                                         "clientInfo": {"name": "test", "version": "1"}})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer["result"]

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        assert self.process.wait(60) == 0, self.errors
        return rest


@pytest.fixture
def pipe(tmp_path):
    opened = []

    def start(*arguments):
        opened.append(Pipe(tmp_path, arguments))
        return opened[-1]
    yield start
    for p in opened:
        if p.process.poll() is None:
            p.process.kill()
        p.process.wait(60)
        log = b"".join(p.errors).decode()
        assert "AddressSanitizer" not in log and "runtime error:" not in log and "handle left open" not in log, log


# ---- both eras

@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_legacy_session(pipe, version):
    """P-320: whoever starts the process may use it, without a key."""
    p = pipe()
    assert p.initialize(version)["protocolVersion"] == version
    names = [t["name"] for t in p.ask("tools/list")["result"]["tools"]]
    assert "get_current_time" in names, "alone, a server has its own names"
    result = p.ask("tools/call", {"name": "get_current_time", "arguments": {"zone": "Asia/Tokyo"}}, "x")
    assert result["id"] == "x" and "+09:00" in result["result"]["content"][0]["text"]
    assert p.end() == b""


def test_modern_requests_need_no_session_and_go_beside_one(pipe):
    """P-057: the era is a message's own business."""
    p = pipe()
    assert p.modern("server/discover")["result"]["supportedVersions"] == ["2026-07-28"]
    p.initialize()
    assert p.modern("tools/list")["result"]["resultType"] == "complete"
    assert "resultType" not in p.ask("tools/list")["result"]


def test_an_unknown_future_version_gets_the_latest_legacy_one(pipe):
    """P-031"""
    assert pipe().initialize("2099-01-01")["protocolVersion"] == "2025-11-25"


def test_before_initialize_only_ping(pipe):
    """P-034"""
    p = pipe()
    assert p.ask("ping")["result"] == {}
    assert p.ask("tools/list")["error"]["code"] == -32600
    p.initialize()
    assert p.ask("initialize", {"protocolVersion": "2025-06-18"})["error"]["code"] == -32600


def test_modern_errors(pipe):
    p = pipe()
    newer = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    answer = p.ask("tools/list", {"_meta": newer})["error"]
    assert (answer["code"], answer["data"]["requested"]) == (-32022, "2030-01-01")
    lacking = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    assert p.ask("tools/list", {"_meta": lacking})["error"]["code"] == -32602
    assert p.modern("initialize")["error"]["code"] == -32601  # P-049


# ---- lines

@pytest.mark.parametrize("line, code", [
    (b"{not json", -32700),
    (b'{"jsonrpc":"2.0","id":1}', -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    (b'\xff\xfe', -32700),
    (b"[" * 10000, -32700),
    (b'"' + b"x" * (5 << 20) + b'"', -32600),
])
def test_bad_lines_are_answered_and_the_next_is_served(pipe, line, code):
    p = pipe()
    p.send(line)
    assert p.read()["error"]["code"] == code
    assert p.ask("ping", request_id=7) == {"jsonrpc": "2.0", "id": 7, "result": {}}


def test_blank_lines_carriage_returns_and_foreign_answers_are_tolerated(pipe):
    p = pipe()
    for line in (b"", b"  ", b"\r", b'{"jsonrpc":"2.0","id":9,"result":{}}', b'{"jsonrpc":"2.0","method":"no/such"}'):
        p.send(line)
    p.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r')
    assert p.read()["id"] == 1


def test_many_requests_at_once_are_each_answered_on_a_line(pipe):
    p = pipe()
    p.initialize()
    ids = set(range(500))
    calls = [{"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
        "name": "convert_time", "arguments": {"target_zones": ["Asia/Tokyo", "Europe/Paris"]}}} for i in ids]
    sender = threading.Thread(target=lambda: [p.send(c) for c in calls])
    sender.start()
    assert {p.read()["id"] for _ in ids} == ids
    sender.join()


def test_what_was_piped_in_is_answered_before_the_end(tmp_path):
    lines = [{"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": {
        "name": "get_current_time", "arguments": {"zone": "Asia/Tokyo"}, "_meta": META}} for i in range(20)]
    text = "\n".join(json.dumps(line) for line in lines)  # and no line end after the last
    file = tmp_path / "lines"
    file.write_text(text)
    piped = subprocess.run([str(binary()), *COMMAND], input=text, capture_output=True, text=True, timeout=60,
                           env=environment(tmp_path))
    with file.open() as f:
        from_file = subprocess.run([str(binary()), *COMMAND], stdin=f, capture_output=True, text=True, timeout=60,
                                   env=environment(tmp_path))
    for done in (piped, from_file):
        assert done.returncode == 0, done.stderr
        assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == set(range(20))


# ---- subscriptions

def listen(p, request_id, **wanted):
    return p.modern("subscriptions/listen", request_id, notifications=wanted)


def test_listen_is_acknowledged_and_cancelled_without_a_word(pipe):
    """P-111, P-113, P-123"""
    p = pipe()
    heard = listen(p, "a", toolsListChanged=True)
    assert heard["method"] == "notifications/subscriptions/acknowledged"
    assert heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "a"
    assert listen(p, 2, promptsListChanged=True)["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 2
    p.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a", "_meta": META}})
    assert p.modern("tools/list", 3)["id"] == 3, "the pipe goes on"
    p.process.send_signal(signal.SIGTERM)
    assert p.read()["params"]["requestId"] == 2  # P-114: cancelled, then the result, for the one that is left
    assert p.read() == {"jsonrpc": "2.0", "id": 2, "result": {
        "resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": 2}}}
    assert p.process.stdout.read() == b""
    assert p.process.wait(60) == 0


# ---- the end

def test_end_of_input_ends_the_process(pipe):
    """P-124"""
    p = pipe()
    p.initialize()
    listen(p, 5, toolsListChanged=True)
    assert p.end() == b""


def test_a_client_that_went_ends_the_process(pipe):
    p = pipe()
    p.initialize()
    p.process.stdout.close()
    try:
        for i in range(50):
            p.send({"jsonrpc": "2.0", "id": i, "method": "ping"})
            time.sleep(0.02)
    except BrokenPipeError:
        pass
    assert p.process.wait(60) == 0


def test_a_client_that_stops_reading_holds_back_and_is_served_later(pipe):
    p = pipe()
    p.initialize()
    n = 3000  # about 20 MiB of answers
    sender = threading.Thread(target=lambda: [
        p.send({"jsonrpc": "2.0", "id": i, "method": "tools/list"}) for i in range(n)])
    sender.start()
    time.sleep(0.5)
    resident = int(next(line for line in open(f"/proc/{p.process.pid}/status") if line.startswith("VmRSS")).split()[1])
    got = [p.read()["id"] for _ in range(n)]
    sender.join()
    assert sorted(got) == list(range(n))
    if not sanitized():
        assert resident < 400 * 1024, "answers wait in their tasks, not in an endless buffer"


def test_nothing_is_left_in_the_home_folder(pipe, tmp_path):
    p = pipe()
    p.initialize()
    p.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments, said", [
    (["serve", "--stdio"], "--role server:NAME"),
    (["serve", "--stdio", "--role", "server:time", "--listen", "127.0.0.1:0"], "leave out --listen"),
    (["serve", "--stdio", "--role", "server:tim"], "no such built-in server"),
])
def test_wrong_use(tmp_path, arguments, said):
    done = subprocess.run([str(binary()), *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=environment(tmp_path))
    assert done.returncode == 2 and said in done.stderr


# ---- a real client

def test_the_official_python_client(tmp_path):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def use():
        server = StdioServerParameters(command=str(binary()), args=COMMAND, env=environment(tmp_path))
        async with stdio_client(server) as (reader, writer), ClientSession(reader, writer) as session:
            await session.initialize()
            tools = await session.list_tools()
            result = await session.call_tool("get_current_time", {"zone": "Asia/Tokyo"})
            return [t.name for t in tools.tools], result
    names, result = asyncio.run(asyncio.wait_for(use(), 60))
    assert "get_current_time" in names
    assert "+09:00" in result.content[0].text

"""A minute in which upstreams, clients and connections are killed at random while calls run.

Nothing may be left of it: calls work, no process, descriptor or memory stays. The seed is printed;
GATESPAN_CHAOS_SEED repeats a run, GATESPAN_CHAOS_SECONDS makes it longer or shorter.
"""
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from conftest import ADMIN_KEY, FIXTURES, binary, fixture_server, free_port, wait_for

SECONDS = float(os.environ.get("GATESPAN_CHAOS_SECONDS", 60))
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
STDIO = ["one", "two", "three"]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends a reset


def head(length, name=None, path="/mcp", method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {ADMIN_KEY}",
             "Accept: application/json, text/event-stream", "Content-Type: application/json", f"Content-Length: {length}"]
    if name:
        lines += ["MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", f"Mcp-Name: {name}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def call_body(name, arguments, number=1):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call",
                       "params": {"name": name, "arguments": arguments, "_meta": META}}).encode()


class Chaos:
    def __init__(self, gateway, http_port, processes, rng):
        self.gateway, self.http_port, self.processes, self.rng = gateway, http_port, processes, rng
        self.end = threading.Event()
        self.lock = threading.Lock()
        self.counts, self.problems = {}, []
        self.http = None

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # ---- calls that go on all the time; an upstream may be down, an answer may never be wrong

    def check(self, message, number, text):
        assert message["id"] == number, f"an answer to another call: {message}"
        if "error" in message:
            return "refused"
        assert message["result"]["content"][0]["text"] == text, f"the answer of another call: {message}"
        return "answered"

    def modern(self, rng):
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=60)
        number = 0
        while not self.end.is_set():
            number += 1
            name, text = rng.choice(STDIO + ["http"]) + "__echo", f"text-{rng.random()}"
            connection.request("POST", "/mcp", call_body(name, {"text": text}, number), {
                "Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json", "Mcp-Name": name,
                "Accept": "application/json, text/event-stream", "Mcp-Method": "tools/call",
                "MCP-Protocol-Version": "2026-07-28"})
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.headers["content-type"].startswith("text/event-stream"):
                body = [line for line in body.splitlines() if line.startswith("data: {")][-1][6:]
            self.count(self.check(json.loads(body), number, text))
            time.sleep(0.005)

    def legacy(self, rng):
        session = self.gateway.session()
        while not self.end.is_set():
            name, text = rng.choice(STDIO + ["http"]) + "__echo", f"text-{rng.random()}"
            answer = session.call("tools/call", {"name": name, "arguments": {"text": text}})
            self.count(self.check(answer.message, session.next_id, text))
            if rng.random() < 0.05:
                assert self.gateway.request("DELETE", "/mcp", headers=session.headers).status in (200, 204)
                session = self.gateway.session()
            time.sleep(0.005)

    def run(self, work, seed):
        try:
            work(random.Random(seed))
        except Exception as e:  # told at the end, with the seed
            self.problems.append(f"{work.__name__}: {type(e).__name__}: {e}")

    # ---- what goes wrong

    def start_http(self):
        self.http = self.processes(sys.executable, FIXTURES / "http_server.py", self.http_port,
                                   json.dumps({"era": self.rng.choice(["legacy", "modern"])}))

    def kill_http(self):
        self.http.send_signal(signal.SIGKILL)
        self.http.wait()
        self.http.stdout.close()
        time.sleep(self.rng.random() / 4)
        self.start_http()

    def kill_stdio(self):
        mine = [p for p in children_of(self.gateway.process.pid) if "stdio_server.py" in command_of(p)]
        if mine:
            try:
                os.kill(self.rng.choice(mine), self.rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
            except ProcessLookupError:
                pass

    def crash_tool(self):
        """An upstream that ends, or says nonsense, in the middle of a call."""
        tool = self.rng.choice(["crash", "kill", "broken", "not_utf8", "twice"])
        self.send_and_leave(f"{self.rng.choice(STDIO)}__{tool}", {}, wait=0.05)

    def leave_mid_call(self):
        name, arguments = self.rng.choice([("http__slow", {"seconds": 1}), ("one__silent", {}), ("two__echo", {"text": "x"})])
        self.send_and_leave(name, arguments, wait=self.rng.random() / 20)

    def leave_mid_request(self):
        body = call_body("one__echo", {"text": "x" * 20000})
        whole = head(len(body), "one__echo") + body
        with self.connect() as s:
            s.sendall(whole[:self.rng.randrange(len(whole))])
            self.maybe_reset(s)

    def leave_mid_answer(self):
        """Asks for a lot, and takes none of it."""
        body = call_body("three__echo", {"text": "x" * 1_000_000})
        with self.connect() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(head(len(body), "three__echo") + body)
            s.recv(100)
            self.maybe_reset(s)

    def leave_a_stream(self):
        session = self.gateway.session()
        lines = f"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\n" \
                f"Accept: text/event-stream\r\nMcp-Session-Id: {session.id}\r\nMCP-Protocol-Version: {session.version}\r\n\r\n"
        with self.connect() as s:
            s.sendall(lines.encode())
            s.recv(100)
            self.maybe_reset(s)
        self.gateway.request("DELETE", "/mcp", headers=session.headers)

    def speak_nonsense(self):
        with self.connect() as s:
            s.sendall(self.rng.randbytes(200))
            self.maybe_reset(s)

    def change_nothing(self):
        self.gateway.process.send_signal(signal.SIGHUP)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.gateway.port), 60)

    def maybe_reset(self, s):
        if self.rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def send_and_leave(self, name, arguments, wait):
        body = call_body(name, arguments)
        with self.connect() as s:
            s.sendall(head(len(body), name) + body)
            time.sleep(wait)
            self.maybe_reset(s)

    def go(self):
        callers = [threading.Thread(target=self.run, args=(work, self.rng.random()), daemon=True)
                   for work in [self.modern, self.modern, self.legacy, self.legacy]]
        for c in callers:
            c.start()
        acts = [self.kill_stdio, self.kill_http, self.crash_tool, self.change_nothing] + \
            2 * [self.leave_mid_call, self.leave_mid_request, self.leave_mid_answer, self.leave_a_stream, self.speak_nonsense]
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and not self.problems and self.gateway.process.poll() is None:
            act = self.rng.choice(acts)
            try:
                act()
            except (ConnectionResetError, BrokenPipeError):
                pass  # the gateway may close on what it was sent
            self.count(act.__name__)
            time.sleep(self.rng.random() / 10)
        self.end.set()
        for c in callers:
            c.join(60)
            assert not c.is_alive(), "a call got neither an answer nor an end"


# ---- what the gateway holds

def children_of(pid):
    """Every process below pid."""
    out = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    parents = {}
    for line in out.splitlines():
        child, parent, state = line.split()
        if state[0] != "Z":
            parents.setdefault(int(parent), []).append(int(child))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f.read()
    except OSError:
        return ""


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def use_all(gw):
    for name in [*STDIO, "http"]:
        assert gw.call_tool(f"{name}__echo", text="fine")["content"][0]["text"] == "fine"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_a_minute_of_chaos_leaves_nothing_behind(gateway, processes):
    seed = int(os.environ.get("GATESPAN_CHAOS_SEED") or random.randrange(2**32))
    print(f"GATESPAN_CHAOS_SEED={seed}")
    port = free_port()
    quick = {"restart_backoff": "20ms", "restart_backoff_max": "200ms", "timeout": "5s", "stop_grace": "200ms"}
    gw = gateway({"builtins": ["time"], "log": {"level": "warn"}, "upstreams": {
        "one": fixture_server("legacy", **quick), "two": fixture_server("modern", **quick),
        "three": fixture_server("batches", **quick),
        "http": {"url": f"http://127.0.0.1:{port}/mcp", **quick, "idle_timeout": "1s"}}})
    chaos = Chaos(gw, port, processes, random.Random(seed))
    chaos.start_http()
    gw.wait_ready(*STDIO, "http")
    for _ in range(20):
        use_all(gw)
    pid = gw.process.pid
    before = {"processes": len(children_of(pid)), "descriptors": descriptors(pid), "resident": resident(pid),
              "sessions": gw.metric("gatespan_sessions")}

    chaos.go()

    print(chaos.counts)
    assert gw.process.poll() is None, f"the gateway ended with {gw.process.returncode}:\n{gw.logs()[-3000:]}"
    assert not chaos.problems, f"seed {seed}: {chaos.problems}"
    assert chaos.counts.get("answered", 0) > SECONDS, chaos.counts
    wait_for(lambda: "ready\n" in chaos.http.lines, what="the last HTTP upstream")
    for name in [*STDIO, "http"]:  # the first call may be what finds out that an upstream had gone
        call = {"name": f"{name}__echo", "arguments": {"text": "back"}}
        wait_for(lambda c=call: "result" in gw.modern("tools/call", c).message, what=f"{name} answers again")
    use_all(gw)
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="no call is left")
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="no stream is left")
    wait_for(lambda: gw.metric("gatespan_sessions") <= before["sessions"] + 2, what="the sessions of the two legacy callers alone")
    wait_for(lambda: len(children_of(pid)) <= before["processes"], what="no process more than at the start")
    wait_for(lambda: descriptors(pid) <= before["descriptors"] + 6, what="descriptors are closed")
    grown = resident(pid) - before["resident"]
    print(f"resident memory grew by {grown:.1f} MiB; descriptors {before['descriptors']} -> {descriptors(pid)}")
    sanitized = b"__asan_init" in binary().read_bytes()  # keeps what was freed for a while
    assert grown < (500 if sanitized else 96), f"{grown} MiB more than before"

    below = children_of(pid)
    assert gw.stop() == 0
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in below), what="no process stays")

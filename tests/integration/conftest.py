"""Fixtures of the integration tests: the real binary over real sockets.

`gateway(config=…, **options)` starts a gateway with its own data directory on a free port and
ends it afterwards; a sanitizer's report or a leftover process fails the test that caused it.
"""
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"
FIXTURES = ROOT / "tests" / "fixtures"
ADMIN_KEY = "gs_admintestkey_0123456789abcdef0123456789abcdef"


def binary():
    path = pathlib.Path(os.environ.get("GATESPAN_BIN", ROOT / "build" / "gatespan"))
    if not path.exists():
        pytest.exit(f"{path} does not exist: run make build", returncode=3)
    return path


def _ports():
    """Below those that the kernel gives to outgoing connections, which would take one between a test's
    choice and its use; every run begins elsewhere."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    low, high = (10000, first) if first > 12000 else (1024, 65536)
    return itertools.islice(itertools.cycle(range(low, high)), os.getpid() * 97 % (high - low), None)


_candidates, _reserved = _ports(), []


def free_port():
    """A port of 127.0.0.1 that is this run's alone: an abstract socket stands for it until the run ends,
    so also while nobody listens there."""
    for port in itertools.islice(_candidates, 50_000):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0gatespan-test-port-{port}")
            with socket.socket() as s:
                s.bind(("", port))
        except OSError:
            mark.close()
            continue
        _reserved.append(mark)
        return port
    raise AssertionError("no port is free")


def wait_for(condition, seconds=60.0, what="the condition"):
    """Polls until condition() is true; its value. Bounded, for events that nothing announces; generously, as a
    machine that does other things too is slow, not wrong."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Answer:
    """Status, headers (lower case) and body of an HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def events(self):
        """Its messages; events that only prime the client (P-151) have none."""
        return [json.loads(line[6:]) for line in self.body.decode().splitlines() if line.startswith("data: ") and line[6:]]

    @property
    def message(self):
        """The JSON-RPC response, whether it came as JSON or at the end of an event stream."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.events()[-1]
        return self.json


class Gateway:
    def __init__(self, process, port, key, data, log):
        self.process, self.port, self.key, self.data, self.log = process, port, key, data, log
        self.url = f"http://127.0.0.1:{port}"
        self.mcp = f"{self.url}/mcp"
        self.next_id = 0

    # ---- plain HTTP

    def request(self, method, path, body=None, headers=None, key="", timeout=60):
        key = self.key if key == "" else key
        headers = dict(headers or {})
        if key:
            headers.setdefault("Authorization", f"Bearer {key}")
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        call = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(call, timeout=timeout) as r:
                return Answer(r.status, {k.lower(): v for k, v in r.headers.items()}, r.read())
        except urllib.error.HTTPError as e:
            return Answer(e.code, {k.lower(): v for k, v in e.headers.items()}, e.read())

    # ---- MCP, both eras, by hand

    def modern(self, method, params=None, path="/mcp", key="", headers=None, meta=None, name=None, request_id=None):
        self.next_id += 1
        params = dict(params or {})
        params["_meta"] = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                           "io.modelcontextprotocol/clientCapabilities": {},
                           "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"}, **(meta or {})}
        name = name or params.get("name") or params.get("uri")
        head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": method, **({"Mcp-Name": name} if name else {}), **(headers or {})}
        body = {"jsonrpc": "2.0", "id": request_id or self.next_id, "method": method, "params": params}
        return self.request("POST", path, body, head, key)

    def session(self, version="2025-11-25", path="/mcp", key="", capabilities=None):
        return Session(self, version, path, key, capabilities)

    def call_tool(self, name, **arguments):
        answer = self.modern("tools/call", {"name": name, "arguments": arguments}).message
        assert "result" in answer, answer
        return answer["result"]

    def tools(self, path="/mcp", key=""):
        return [t["name"] for t in self.modern("tools/list", path=path, key=key).message["result"]["tools"]]

    # ---- operation

    def health(self):
        return self.request("GET", "/api/v1/health/detailed").json

    def upstream(self, name):
        return next((u for u in self.health()["upstreams"] if u["name"] == name), None)

    def wait_ready(self, *names, seconds=60):
        for name in names:
            wait_for(lambda n=name: (self.upstream(n) or {}).get("state") == "ready", seconds, f"upstream {name} ready")
        wait_for(lambda: all(any(t.startswith(n + "__") for t in self.tools()) for n in names
                             if self.upstream(n)["tools"]), what=f"tools of {names} listed")
        return self

    def metric(self, name, **labels):
        """Sum of the samples of that name that carry these labels."""
        total = 0.0
        for line in self.request("GET", "/metrics").body.decode().splitlines():
            match = re.match(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)$", line)
            if match and match[1] == name:
                have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
                if all(have.get(k) == v for k, v in labels.items()):
                    total += float(match[3])
        return total

    def logs(self):
        """What it has said up to now: what it said before an answer is there when the answer is."""
        ended, text = self.process.poll() is not None, self.log.read_text(errors="replace")
        return text if ended else text[:text.rfind("\n") + 1]  # whole lines: one may be being written

    def wait_log(self, text, seconds=60):
        return wait_for(lambda: text in self.logs(), seconds, f"log line with {text!r}")

    def stop(self, number=signal.SIGTERM, seconds=25):
        """Its status; sooner than a drain would be cut off (limits.drain), so nothing was left in flight."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)


def replace(path, content):
    """Writes a file as editors do: a new one under the old name, never half of one."""
    new = path.with_name(path.name + ".new")
    new.write_text(content if isinstance(content, str) else json.dumps(content))
    os.replace(new, path)


def files_text(folder):
    """All bytes of all files below a folder; what vanishes while it is looked at is none of them."""
    found = []
    for path in folder.rglob("*"):
        try:
            found.append(path.read_bytes())
        except (FileNotFoundError, IsADirectoryError):
            continue
    return b"".join(found)


def catches(process, number):
    """True once the process has a handler for that signal."""
    with open(f"/proc/{process.pid}/status") as f:
        mask = next(line.split()[1] for line in f if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


class Session:
    """A legacy client by hand: initialize, then requests on the session."""

    def __init__(self, gateway, version, path, key, capabilities=None):
        self.gateway, self.version, self.path, self.key, self.next_id = gateway, version, path, key, 0
        self.headers = {"Accept": "application/json, text/event-stream"}
        self.opened = self.call("initialize", {"protocolVersion": version, "capabilities": capabilities or {},
                                               "clientInfo": {"name": "test", "version": "1"}})
        assert self.opened.status == 200, self.opened.body
        self.info = self.opened.message["result"]
        self.id = self.opened.headers["mcp-session-id"]
        self.headers |= {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": self.info["protocolVersion"]}
        assert self.notify("notifications/initialized").status == 202

    def call(self, method, params=None, headers=None, request_id=None):
        self.next_id += 1
        body = {"jsonrpc": "2.0", "id": request_id or self.next_id, "method": method}
        if params is not None:
            body["params"] = params
        return self.gateway.request("POST", self.path, body, {**self.headers, **(headers or {})}, self.key)

    def notify(self, method, params=None):
        body = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            body["params"] = params
        return self.gateway.request("POST", self.path, body, self.headers, self.key)

    def stream(self, method, params=None, request_id=None):
        """Sends a request whose answer is read event by event: a Stream."""
        self.next_id += 1
        body = {"jsonrpc": "2.0", "id": request_id or self.next_id, "method": method, "params": params or {}}
        return Stream(self.gateway, "POST", self.path, self.headers, self.key, body)

    def answer(self, question, result=None, error=None):
        """Answers a question that came on a stream."""
        body = {"jsonrpc": "2.0", "id": question["id"], **({"error": error} if error else {"result": result})}
        return self.gateway.request("POST", self.path, body, self.headers, self.key)

    def result(self, method, params=None):
        message = self.call(method, params).message
        assert "result" in message, message
        return message["result"]


class Stream:
    """An event stream read as it comes; `next()` is one JSON-RPC message, None at the end."""

    def __init__(self, gateway, method, path, headers, key="", body=None, timeout=60):
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=timeout)
        key = gateway.key if key == "" else key
        headers = {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, data, headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.ids = []  # of events, as they came
        self.retry = None

    def event(self):
        """The next event's (id, data); None at the end."""
        if not self.response.headers["content-type"].startswith("text/event-stream"):
            body = self.response.read()
            return (None, body.decode()) if body else None
        number, data = None, None
        for line in self.response:
            line = line.decode().rstrip("\r\n")
            if line.startswith("id:"):
                number = line[3:].strip()
                self.ids.append(number)
            elif line.startswith("retry:"):
                self.retry = int(line[6:])
            elif line.startswith("data:"):
                data = (data or "") + line[5:].strip()
            elif not line and (number is not None or data is not None):
                return number, data or ""
        return None

    def next(self):
        while (event := self.event()) is not None:
            if event[1]:
                return json.loads(event[1])
        return None

    def rest(self):
        return list(iter(self.next, None))

    def close(self):
        self.response.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _collect(stream, into):
    for line in stream:
        into.append(line)


_configured = {}  # files, each with the process that reads it


def start_gateway(tmp_path, config=None, *arguments, key=ADMIN_KEY, env=None, data=None, listen=True, wait=True,
                  preexec_fn=None):
    port = free_port()
    data = data or tmp_path / f"data-{port}"
    command = [str(binary()), "serve", "--data", str(data)]
    if listen:
        command += ["--listen", f"127.0.0.1:{port}"]
    if config is not None:
        if isinstance(config, (dict, list)):
            config, name = json.dumps(config), "gatespan.json"
        else:
            name = "gatespan.yaml"
        path = tmp_path / name
        if path in _configured and _configured[path].poll() is None:
            path = tmp_path / f"{port}-{name}"  # one that runs would take the other's configuration for its own
        if not isinstance(config, pathlib.Path):
            path.write_text(config)
        else:
            path = config
        command += ["--config", str(path)]
    command += [str(a) for a in arguments]
    environment = {**os.environ, **({"GATESPAN_ADMIN_KEY": key} if key else {}), **(env or {})}
    log = tmp_path / f"log-{port}"
    with open(log, "ab") as out:  # appending, as the gateway and its children share it
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
                                   preexec_fn=preexec_fn)
    if config is not None:
        _configured[path] = process
    gw = Gateway(process, port, key, data, log)
    if wait:
        def answers():
            assert process.poll() is None, f"the gateway ended with {process.returncode}:\n{gw.logs()}"
            try:
                return gw.request("GET", "/health").status == 200
            except OSError:
                return False
        wait_for(answers, what="the gateway answers")
        wait_for(lambda: gw.request("GET", "/ready").status == 200 or config is not None, what="ready")
    return gw


def _gateways(folder):
    started = []

    def start(config=None, *arguments, **options):
        started.append(start_gateway(folder, config, *arguments, **options))
        return started[-1]

    yield start
    problems = []
    for gw in started:
        if gw.process.poll() is None:
            try:
                code = gw.stop()
            except subprocess.TimeoutExpired:
                os.killpg(gw.process.pid, signal.SIGKILL)
                problems.append(f"did not end on SIGTERM:\n{gw.logs()[-3000:]}")
                continue
            if code:
                problems.append(f"ended with {code}:\n{gw.logs()[-3000:]}")
        if "ERROR: AddressSanitizer" in gw.logs() or "runtime error:" in gw.logs():
            problems.append(gw.logs()[-6000:])
    assert not problems, "\n".join(problems)


@pytest.fixture
def gateway(tmp_path):
    """Starts gateways; every one must end by itself on SIGTERM, with status 0."""
    yield from _gateways(tmp_path)


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory):
    """The same for a gateway that all tests of a file share."""
    yield from _gateways(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def session_gateway(tmp_path_factory):
    """The same for a gateway that tests of several files share."""
    yield from _gateways(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="session")
def node():
    """The Node binary that the npm packages want (22 or newer)."""
    path = CLIENTS / "node_modules" / ".bin" / "node"
    if not path.exists():
        pytest.skip("tests/clients/node_modules is missing: npm ci in tests/clients (make test does it)")
    return str(path)


def _processes():
    started = []

    def start(*command, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT)
        p = subprocess.Popen([str(c) for c in command], start_new_session=True, text=True, **options)
        p.lines = []
        if p.stdout:
            threading.Thread(target=_collect, args=(p.stdout, p.lines), daemon=True).start()
        started.append(p)
        return p

    yield start
    for p in started:
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
        p.wait(10)


@pytest.fixture
def processes():
    """Starts helpers (servers behind the gateway) and ends them."""
    yield from _processes()


@pytest.fixture(scope="module")
def module_processes():
    """The same for helpers that all tests of a file share."""
    yield from _processes()


@pytest.fixture(scope="session")
def session_processes():
    """The same for helpers that tests of several files share."""
    yield from _processes()


@pytest.fixture(scope="session")
def world(node, session_gateway, session_processes, tmp_path_factory):
    """One gateway in front of all official servers, and what each server says by itself."""
    from test_clients import make_world
    return make_world(node, session_gateway, session_processes, tmp_path_factory)


def sanitized():
    """The binary is built with the address or the thread sanitizer, which have memory of their own for each block."""
    program = binary().read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def resident(gateway):
    """Memory of the gateway's process in MiB."""
    with open(f"/proc/{gateway.process.pid}/statm") as f:
        return int(f.read().split()[1]) * 4096 / (1 << 20)


def memory_bound(mebibytes):
    return mebibytes + (400 if sanitized() else 0)


def upstream_config(name, **options):
    """A configuration with one upstream and nothing else."""
    return {"builtins": [], "upstreams": {name: options}}


def fixture_server(mode, *arguments, **options):
    """An upstream: tests/fixtures/stdio_server.py, which behaves as it is told."""
    command = [str(FIXTURES / "stdio_server.py"), mode, *map(str, arguments)]
    return {"command": sys.executable, "args": command, **options}


def http_server(processes, port=0, **behaviour):
    """Starts tests/fixtures/http_server.py; its handle, see there."""
    port = port or free_port()
    p = processes(sys.executable, FIXTURES / "http_server.py", port, json.dumps(behaviour))
    wait_for(lambda: "ready\n" in p.lines, what="the HTTP fixture")
    return HttpFixture(port, p)


class HttpFixture:
    """An HTTP upstream that can be told how to behave and asked what it saw."""

    def __init__(self, port, process):
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}/mcp"

    def _control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/control/{path}", data=data, timeout=60) as r:
            return json.loads(r.read())

    def behave(self, **how):
        """How answers look from now on: see http_server.py."""
        self._control("behave", how)

    def push(self, method, **params):
        """Sends a notification on every stream that is open; how many there are."""
        return self._control("behave", {"push": method, "params": params})["streams"]

    def open(self, gate):
        """Lets calls of `steps` go on that wait for it."""
        self._control("behave", {"open": gate})

    def ended(self):
        """[text, "answered" or "left"] of each call of `steps` that is over."""
        return self._control("ended")

    def busy(self):
        """How many calls of `slow` run now."""
        return self._control("busy")["now"]

    def release(self):
        """Lets calls of `slow` that were told to wait `until` this end."""
        self.behave(release=True)

    def most_at_once(self):
        """The largest number of calls of `slow` that ran at the same time."""
        return self._control("busy")["most"]

    def seen(self, method=None):
        """The MCP requests that came: [{"method", "headers", "message"}, …]."""
        return [s for s in self._control("seen") if method in (None, s["method"])]


def run_client(kind, gateway, steps, *, node=None, path="/mcp", key="", seconds=240, **job):
    """Runs one of tests/clients/*_client on the gateway; what it printed (see steps.mjs)."""
    job = {"url": gateway.url + path, "key": gateway.key if key == "" else key, "steps": steps, **job}
    return run_client_job(kind, job, node=node, seconds=seconds)


def run_client_job(kind, job, *, node=None, seconds=240):
    if kind == "python":
        command = [sys.executable, str(CLIENTS / "python_client.py")]
    elif kind.startswith("python-"):  # of the time of that revision
        command = [str(ROOT / f"build/venv-{kind[7:]}/bin/python"), str(CLIENTS / "old_python_client.py")]
    else:
        command = [node, str(CLIENTS / f"{kind}_client.mjs")]
    done = subprocess.run([*command, json.dumps(job)], capture_output=True, text=True, timeout=seconds)
    assert done.stdout, f"{kind} client said nothing:\n{done.stderr[-3000:]}"
    out = json.loads(done.stdout.splitlines()[-1])
    assert "failed" not in out, f"{kind} client: {out['failed']}\n{done.stderr[-3000:]}"
    return out

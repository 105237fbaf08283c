"""The life of a gateway: starts that work and starts that are refused, reloads, the end, and what it
tells about itself on the way."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import (ADMIN_KEY, FIXTURES, binary, files_text, fixture_server, free_port, http_server, replace,
                      upstream_config, wait_for)

CLIENT_KEY = "key-of-a-client-0123456789"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


# ---- helpers

def refused_start(tmp_path, *arguments, data="refused"):
    """A start that is expected to fail: its code and what it said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    done = subprocess.run([str(binary()), "serve", "--data", str(tmp_path / data), *map(str, arguments)], env=env,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout


def errors(said):
    """The lines of a start that failed, without what the log noted before."""
    return [line for line in said.splitlines() if '"level":"warn"' not in line]


def text_of(result):
    return result["content"][0]["text"]


def reloads(gw):
    return gw.logs().count("configuration reloaded")


def reload(gw, path, config):
    """Replaces the file and waits until the gateway has read it."""
    before = reloads(gw)
    replace(path, config)
    wait_for(lambda: reloads(gw) > before, what="the reload")


def descendants(pid):
    """Every process below pid, found by parents."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as f:
                parent = int(f.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def runs(pid):
    """True while the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Stream:
    """The GET stream of a legacy session."""

    def __init__(self, session):
        gw = session.gateway
        self.connection = http.client.HTTPConnection("127.0.0.1", gw.port, timeout=60)
        headers = {**session.headers, "Accept": "text/event-stream", "Authorization": f"Bearer {gw.key}"}
        self.connection.request("GET", "/mcp", headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.messages = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: {"):
                    self.messages.append(json.loads(line[6:]))
        except (OSError, ValueError, http.client.HTTPException):
            pass

    def methods(self):
        return [m.get("method") for m in self.messages]


class Background:
    """A call on a thread of its own."""

    def __init__(self, call):
        self.value = self.error = None

        def run():
            try:
                self.value = call()
            except Exception as e:  # the test looks at it
                self.error = e
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def wait(self, seconds=60):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the call did not end"
        return self


# ---- starts that are refused

def test_a_port_in_use_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused_start(tmp_path, "--listen", address)
    assert code not in (0, 3)
    assert len(errors(said)) == 1, said
    assert address in said and "in use" in said
    assert "admin key" not in said, "keys are shown when they can be used"


def test_a_second_start_on_the_data_directory_is_refused(gateway, tmp_path):
    gw = gateway(data=tmp_path / "mine")
    code, said = refused_start(tmp_path, "--listen", f"127.0.0.1:{free_port()}", data="mine")
    assert code not in (0, 3)
    assert len(errors(said)) == 1, said
    assert str(tmp_path / "mine") in said and "--data" in said
    assert gw.request("GET", "/health").status == 200


@pytest.mark.parametrize("name, text, place, said", [
    ("a.yaml", "limits:\n  bodi: 1MiB\n", "2:9", 'did you mean "body"?'),
    ("a.yaml", "upstreams:\n  one:\n    comand: x\n", "3:13", 'did you mean "command"?'),
    ("a.json", '{\n  "listem": []\n}\n', "2:3", 'did you mean "listen"?'),
    ("a.yaml", "log:\n  level: loud\n", "2:10", "debug"),
    ("a.yaml", "limits:\n  page: 0\n", "2:9", "1"),
    ("a.json", '{"builtins": ["time"],\n "limits": {"page": 5,}\n "x": 1}', "3:2", ""),
    ("a.yaml", "a: [1, 2\nb: 3\n", "2:", ""),
])
def test_a_broken_file_says_where_and_what(tmp_path, name, text, place, said):
    (tmp_path / name).write_text(text)
    code, output = refused_start(tmp_path, "--config", tmp_path / name)
    assert code == 3, output
    assert f"{name}:{place}" in output
    assert said in output
    assert not (tmp_path / "refused" / "keys.json").exists(), "nothing is made for a start that fails"


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        code, said = refused_start(tmp_path, "--config", path)
        assert code == 3, said
        assert str(path) in said


# ---- the first start and the second

@pytest.mark.smoke
def test_the_first_start_shows_keys_once(gateway, tmp_path):
    first = gateway(key=None, data=tmp_path / "mine")
    first.wait_log("mcpServers")
    said = first.logs()
    admin = re.search(r"admin key\s+(\S+)", said)[1]
    snippet = json.loads(re.search(r'\{"mcpServers".*?\}\}\}\}', said, re.DOTALL)[0])["mcpServers"]["gatespan"]
    client = snippet["headers"]["Authorization"].removeprefix("Bearer ")
    assert said.count(admin) == said.count(client) == 1
    assert f"{first.mcp}\n" in said and snippet["url"] == first.mcp
    assert str(tmp_path / "mine") in said

    wait_for(lambda: "time__get_current_time" in first.tools(key=client), what="tools")
    assert first.request("GET", "/metrics", key=client).status == 403
    assert first.request("GET", "/metrics", key=admin).status == 200
    stored = files_text(tmp_path / "mine")
    assert admin.encode() not in stored and client.encode() not in stored
    assert admin.rpartition("_")[2].encode() not in stored and client.rpartition("_")[2].encode() not in stored
    assert first.stop() == 0

    second = gateway(key=None, data=tmp_path / "mine")
    assert second.request("GET", "/metrics", key=admin).status == 200
    assert "time__get_current_time" in second.tools(key=client)
    assert "admin key" not in second.logs() and "mcpServers" not in second.logs() and "gs_" not in second.logs()


def test_the_data_directory_is_for_its_owner_alone(gateway, tmp_path):
    gateway(data=tmp_path / "mine")
    modes = {}
    for path in [tmp_path / "mine", *(tmp_path / "mine").rglob("*")]:
        try:
            modes[path] = path.stat().st_mode & 0o077
        except FileNotFoundError:  # a file of the store that was only for a moment
            continue
    assert len(modes) > 3 and not any(modes.values()), modes


def test_the_admin_key_from_the_environment(gateway, tmp_path):
    gw = gateway(upstream_config("one", **fixture_server("legacy")), data=tmp_path / "mine").wait_ready("one")
    assert "admin key" not in gw.logs() and ADMIN_KEY not in gw.logs()
    assert gw.request("GET", "/metrics").status == 200
    assert ADMIN_KEY.encode() not in files_text(tmp_path / "mine")
    env = json.loads(text_of(gw.call_tool("one__surroundings")))["env"]
    assert ADMIN_KEY not in env.values(), "children do not see it"


def test_an_admin_key_that_is_too_weak_is_refused(tmp_path):
    env = {**os.environ, "GATESPAN_ADMIN_KEY": "secret"}
    done = subprocess.run([str(binary()), "serve", "--data", str(tmp_path / "d"), "--listen", f"127.0.0.1:{free_port()}"],
                          env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode != 0 and "GATESPAN_ADMIN_KEY" in done.stderr


# ---- files of desktop clients

def test_a_file_of_claude_desktop(gateway):
    gw = gateway({"globalShortcut": "", "mcpServers": {"My server!": {**fixture_server("legacy"), "env": {"MARK": "here"}}}})
    gw.wait_ready("My-server")
    assert json.loads(text_of(gw.call_tool("My-server__surroundings")))["env"]["MARK"] == "here"


def vscode():
    return {"inputs": [{"type": "promptString", "id": "api-key", "description": "The key", "password": True}],
            "servers": {"one": {"type": "stdio", **fixture_server("legacy"), "env": {"TOKEN": "${input:api-key}"}}}}


def test_a_file_of_vscode(gateway):
    gw = gateway(vscode(), env={"GATESPAN_INPUT_API_KEY": "from-the-environment"}).wait_ready("one")
    assert json.loads(text_of(gw.call_tool("one__surroundings")))["env"]["TOKEN"] == "from-the-environment"


def test_an_input_that_nobody_gave(tmp_path):
    (tmp_path / "mcp.json").write_text(json.dumps(vscode()))
    code, said = refused_start(tmp_path, "--config", tmp_path / "mcp.json")
    assert code == 3 and "GATESPAN_INPUT_API_KEY" in said, said


# ---- reload

@pytest.fixture
def reloadable(gateway, tmp_path):
    """A gateway with the upstreams keep, change and drop; its file and its configuration."""
    config = {"builtins": [], "upstreams": {
        "keep": fixture_server("legacy"), "change": fixture_server("legacy", env={"MARK": "1"}),
        "drop": fixture_server("modern")}}
    gw = gateway(config).wait_ready("keep", "change", "drop")
    return gw, tmp_path / "gatespan.json", config


def test_a_reload_touches_what_changed(reloadable):
    gw, path, config = reloadable
    session = gw.session()
    stream = Stream(session)
    keep, change = text_of(gw.call_tool("keep__pid")), text_of(gw.call_tool("change__pid"))
    drop = int(text_of(gw.call_tool("drop__pid")))

    config["upstreams"]["change"]["env"]["MARK"] = "2"
    del config["upstreams"]["drop"]
    reload(gw, path, config)

    wait_for(lambda: not any(t.startswith("drop__") for t in gw.tools()), what="the tools of drop are gone")
    wait_for(lambda: "notifications/tools/list_changed" in stream.methods(), what="list_changed on the stream")
    wait_for(lambda: not runs(drop), what="the process of drop ended")
    assert gw.upstream("drop") is None
    assert text_of(gw.call_tool("keep__pid")) == keep, "an upstream that did not change keeps its process"
    gw.wait_ready("change")
    assert json.loads(text_of(gw.call_tool("change__surroundings")))["env"]["MARK"] == "2"
    assert text_of(gw.call_tool("change__pid")) != change
    wait_for(lambda: not runs(int(change)), what="the old process ended")
    names = [t["name"] for t in session.result("tools/list")["tools"]]
    assert "keep__echo" in names and "drop__echo" not in names, "the session lives on"
    assert text_of(session.result("tools/call", {"name": "keep__pid", "arguments": {}})) == keep


def test_a_reload_on_sighup_reads_what_the_file_refers_to(gateway, tmp_path):
    secret = tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text("first-key-of-a-client-0123")
    gw = gateway({"keys": {"one": {"secret": f"${{file:{secret}}}"}}})
    assert gw.modern("tools/list", key="first-key-of-a-client-0123").status == 200
    secret.write_text("second-key-of-a-client-012")
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("configuration reloaded")
    wait_for(lambda: gw.modern("tools/list", key="second-key-of-a-client-012").status == 200, what="the new key")
    assert gw.modern("tools/list", key="first-key-of-a-client-0123").status == 401


@pytest.mark.parametrize("by_signal", [True, False], ids=["sighup", "file change"])
def test_a_reload_is_whole_or_not_at_all(gateway, tmp_path, by_signal):
    config = upstream_config("one", **fixture_server("legacy"))
    gw = gateway(config).wait_ready("one")
    pid = text_of(gw.call_tool("one__pid"))
    replace(tmp_path / "gatespan.json", {
        "builtins": ["time"], "upstreams": {"two": fixture_server("legacy")}, "limits": {"page": 0}})
    if by_signal:
        gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("reload refused; the running configuration stays")
    assert "limits.page" in gw.logs() and "gatespan.json:1:" in gw.logs()
    assert [u["name"] for u in gw.health()["upstreams"]] == ["one"]
    assert text_of(gw.call_tool("one__pid")) == pid
    config["upstreams"]["two"] = fixture_server("legacy")
    reload(gw, tmp_path / "gatespan.json", config)
    gw.wait_ready("two")
    assert text_of(gw.call_tool("one__pid")) == pid


def test_a_file_that_is_gone_changes_nothing(reloadable):
    gw, path, config = reloadable
    path.unlink()
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("reload refused")
    assert "keep__echo" in gw.tools()


def watched(gw):
    """Inodes that the process has watches on."""
    found = set()
    for info in pathlib.Path(f"/proc/{gw.process.pid}/fdinfo").iterdir():
        try:
            found |= {int(line.split()[2].removeprefix("ino:"), 16) for line in info.read_text().splitlines()
                      if line.startswith("inotify wd:")}
        except OSError:
            pass
    return found


def test_only_the_configuration_file_is_watched(gateway, tmp_path):
    """The folder may be a busy one; a change of anything else in it wakes nobody."""
    gw = gateway({"builtins": []})
    path = tmp_path / "gatespan.json"
    wait_for(lambda: path.stat().st_ino in watched(gw), what="the file is watched")
    assert tmp_path.stat().st_ino not in watched(gw)
    (tmp_path / "other.json").write_text("{}")
    for i, write in enumerate((lambda text: path.write_text(text), lambda text: replace(path, json.loads(text)),
                               lambda text: (path.rename(tmp_path / "old.json"), path.write_text(text)),
                               lambda text: path.write_text(text))):
        builtins = [] if i % 2 else ["time"]
        write(json.dumps({"builtins": builtins}))
        wait_for(lambda: bool(gw.upstream("time")) == bool(builtins), what=f"what write {i} says")
        wait_for(lambda: path.stat().st_ino in watched(gw), what="the new file is watched")
    wait_for(lambda: tmp_path.stat().st_ino not in watched(gw), what="the folder let go")


def test_a_file_that_comes_back_is_read(gateway, tmp_path):
    gw = gateway({"builtins": []})
    path = tmp_path / "gatespan.json"
    path.rename(tmp_path / "away.json")
    gw.wait_log("the configuration file is gone; the running configuration stays")
    assert gw.request("GET", "/health").status == 200
    path.write_text(json.dumps({"builtins": ["time"]}))
    gw.wait_log("configuration reloaded")
    assert gw.logs().count("is gone") == 1
    wait_for(lambda: gw.upstream("time"), what="what the new file says")


@pytest.mark.parametrize("how", ["link", "folder"])
def test_a_link_that_leads_elsewhere_is_followed(gateway, tmp_path, how):
    """Links replaced by links, as package managers do, and the folder behind them, as Kubernetes does."""
    for name, builtins in (("one", []), ("two", ["time"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "real.json").write_text(json.dumps({"builtins": builtins}))
    (tmp_path / "now").symlink_to("one")
    link = tmp_path / "link.json"
    link.symlink_to("one/real.json" if how == "link" else "now/real.json")
    gw = gateway(link)
    other = tmp_path / "next"
    other.symlink_to("two/real.json" if how == "link" else "two")
    other.rename(link if how == "link" else tmp_path / "now")
    gw.wait_log("configuration reloaded")
    wait_for(lambda: gw.upstream("time"), what="what the other file says")
    (tmp_path / "two" / "real.json").write_text(json.dumps({"builtins": []}))
    wait_for(lambda: gw.upstream("time") is None, what="what it says now")


def test_listen_does_not_change_while_running(gateway, tmp_path):
    port, other = free_port(), free_port()
    config = {"listen": [f"127.0.0.1:{port}"]}
    gw = gateway(config, listen=False, wait=False)
    gw.port, gw.url = port, f"http://127.0.0.1:{port}"
    gw.wait_log('"event":"listening"')
    gw.wait_ready("time")
    replace(tmp_path / "gatespan.json", {"listen": [f"127.0.0.1:{other}"], "builtins": []})
    gw.wait_log("listen cannot change while running")
    assert "time__get_current_time" in gw.tools(), "nothing of the refused file is in force"
    assert socket.socket().connect_ex(("127.0.0.1", other)) != 0


# ---- the end

@pytest.fixture
def slow(gateway, processes):
    """A gateway, a call through it that takes until one says, and its upstream."""
    upstream = http_server(processes)
    gw = gateway({**upstream_config("up", url=upstream.url, timeout="5m"), "limits": {"drain": "5m"}}).wait_ready("up")

    def begin():
        call = Background(lambda: gw.call_tool("up__slow", until="released", text="whole"))
        wait_for(upstream.busy, what="the call arrived")
        return call
    return gw, begin, upstream


@pytest.mark.smoke
def test_sigterm_finishes_what_runs_and_takes_nothing_new(slow):
    gw, begin, upstream = slow
    idle = socket.create_connection(("127.0.0.1", gw.port), 60)
    stream = Stream(gw.session())
    call = begin()
    gw.process.send_signal(signal.SIGTERM)
    gw.wait_log("draining")
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", gw.port)), what="new connections refused")
    assert call.thread.is_alive(), "the call was still running while new ones were refused"
    upstream.release()
    assert call.wait().error is None and text_of(call.value) == "whole"
    assert gw.process.wait(60) == 0
    assert idle.recv(100) == b""
    wait_for(stream.answer.isclosed, what="the stream's end")


def test_a_second_sigterm_does_not_wait(slow):
    gw, begin, _ = slow
    call = begin()
    gw.process.send_signal(signal.SIGTERM)
    gw.wait_log("draining")
    gw.process.send_signal(signal.SIGTERM)
    assert gw.process.wait(60) == 0, "the call, and the drain, would last for minutes"
    assert call.wait().error is not None


def test_a_drain_ends_at_its_limit(gateway, processes):
    upstream = http_server(processes)
    gw = gateway({**upstream_config("up", url=upstream.url, timeout="5m"), "limits": {"drain": "500ms"}}).wait_ready("up")
    Background(lambda: gw.call_tool("up__slow", until="released"))
    wait_for(upstream.busy, what="the call arrived")
    gw.process.send_signal(signal.SIGTERM)
    assert gw.process.wait(60) == 0
    assert "drain took too long" in gw.logs()


GRANDCHILD = 'sleep 1000 & exec "$@"'


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT], ids=lambda n: n.name)
def test_however_it_ends_no_child_process_stays(gateway, number):
    server = fixture_server("legacy")
    gw = gateway(upstream_config("one", command="sh", args=["-c", GRANDCHILD, "sh", server["command"], *server["args"]],
                                 stop_grace="200ms"))
    gw.wait_ready("one")
    below = descendants(gw.process.pid)
    names = [command_of(p) for p in below]
    assert any("sleep" in n for n in names) and any("stdio_server" in n for n in names), names
    gw.process.send_signal(number)
    gw.process.wait(60)
    wait_for(lambda: not any(runs(p) for p in below), what="every process below it ended")


# ---- health

def test_ready_waits_for_required_upstreams(gateway, processes):
    port = free_port()
    config = upstream_config("up", url=f"http://127.0.0.1:{port}/mcp", required=True, restart_backoff="50ms",
                             restart_backoff_max="200ms")
    config["upstreams"]["extra"] = {"url": "http://127.0.0.1:1/mcp"}
    gw = gateway(config)
    assert gw.request("GET", "/health", key=None).status == 200
    down = gw.request("GET", "/ready", key=None)
    assert down.status == 503 and down.json["status"] == "not_ready"
    assert gw.request("GET", "/api/v1/health/ready/", key=None).status == 503
    assert gw.upstream("up")["required"] is True
    wait_for(lambda: "reason" in gw.upstream("up"), what="a reason")
    p = processes("python3", FIXTURES / "http_server.py", port)
    wait_for(lambda: gw.request("GET", "/ready", key=None).status == 200, what="ready")
    assert gw.request("GET", "/ready", key=None).json["status"] == "degraded", "extra is down, and nobody needs it"
    assert p.poll() is None


def told_by_ready(gw):
    return gw.request("GET", "/ready", key=None).status == 200


def told_by_health(gw):
    return gw.upstream("late")["state"] == "ready"


def told_by_servers(gw):
    return gw.request("GET", "/api/v1/proxy/servers/late").json["live"]["state"] == "ready"


@pytest.mark.parametrize("told", [told_by_ready, told_by_health, told_by_servers], ids=lambda f: f.__name__)
def test_who_is_told_that_it_is_ready_can_call_it(gateway, told):
    """DESIGN decision 16: a script that starts the gateway, waits and calls; also one that came up after the opening."""
    gw = gateway({**upstream_config("late", **fixture_server("legacy"), required=True), "limits": {"list_wait": "0s"}})
    while not told(gw):
        assert gw.process.poll() is None
    assert text_of(gw.call_tool("late__echo", text="at once")) == "at once"


def test_details_are_for_admins(gateway):
    gw = gateway({"keys": {"one": {"secret": CLIENT_KEY}}})
    for path in ("/metrics", "/api/v1/health/detailed"):
        assert gw.request("GET", path, key=None).status == 401
        assert gw.request("GET", path, key=CLIENT_KEY).status == 403
        assert gw.request("GET", path).status == 200
    assert "upstreams" not in gw.request("GET", "/ready", key=None).json


# ---- numbers

@pytest.mark.smoke
def test_metrics_count_calls(gateway):
    gw = gateway({"upstreams": {"one": fixture_server("legacy")}}).wait_ready("time", "one")
    name = "mcp_server_operation_duration_seconds"
    labels = {"mcp_method_name": "tools/call", "gen_ai_tool_name": "time__get_current_time", "upstream": "time"}
    before = gw.metric(name + "_count", **labels)
    for _ in range(3):
        gw.call_tool("time__get_current_time")
    wait_for(lambda: gw.metric(name + "_count", **labels) == before + 3, what="the calls counted, after their answers")
    assert gw.metric(name + "_bucket", le="+Inf", **labels) == before + 3
    assert gw.metric(name + "_sum", **labels) > 0
    lines = gw.request("GET", "/metrics").body.decode().splitlines()
    assert f"# TYPE {name} histogram" in lines
    gw.modern("tools/call", {"name": "one__crash", "arguments": {}})
    failed = {**labels, "gen_ai_tool_name": "one__crash", "upstream": "one"}
    wait_for(lambda: gw.metric(name + "_count", **failed) == 1, what="the failure counted")
    assert gw.metric(name + "_count", **failed, outcome="ok") == 0
    for other in ("gatespan_exchanges_in_flight", "gatespan_sessions", "process_resident_memory_bytes",
                  "process_cpu_seconds_total", "gatespan_warden_children", "gatespan_upstream_ready"):
        assert any(line.startswith(other) for line in lines), other


def test_metrics_are_what_prometheus_reads(gateway):
    gw = gateway(upstream_config("one", **fixture_server("legacy"))).wait_ready("one")
    gw.call_tool("one__echo", text="x")
    answer = gw.request("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'^[a-zA-Z_:][\w:]*(\{(\w+="([^"\\\n]|\\.)*",?)*\})? [-+0-9.eInfNa]+$')
    helped, typed = set(), set()
    for line in answer.body.decode().splitlines():
        if line.startswith("# HELP "):
            assert line.split()[2] not in helped
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2] not in typed
            typed.add(line.split()[2])
        elif line:
            assert sample.match(line), line
    assert helped == typed
    assert gw.metric("gatespan_upstream_ready", upstream="one") == 1
    assert gw.metric("gatespan_stdio_children", upstream="one") == 1


def test_names_that_clients_invent_are_no_labels(gateway):
    gw = gateway()
    for i in range(20):
        gw.modern("tools/call", {"name": f"invented-{i}", "arguments": {}})
        gw.modern(f"invented/method-{i}")
    assert "invented" not in gw.request("GET", "/metrics").body.decode()


# ---- traces (P-281)

def check_trace(traceparent):
    version, trace, span, flags = traceparent.split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert re.fullmatch("[0-9a-f]{16}", span) and span not in (SPAN, "0" * 16)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("where", ["header", "_meta"])
def test_a_trace_goes_on_behind_the_gateway(gateway, processes, era, where):
    upstream = http_server(processes, era=era)
    gw = gateway(upstream_config("up", url=upstream.url)).wait_ready("up")
    given = {"headers": {"traceparent": TRACEPARENT}} if where == "header" else {"meta": {"traceparent": TRACEPARENT}}
    answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}, **given)
    assert text_of(answer.message["result"]) == "x"
    came = upstream.seen("tools/call")[-1]
    check_trace(came["headers"]["traceparent"])
    if era == "modern" or where == "_meta":
        check_trace(came["message"]["params"]["_meta"]["traceparent"])


def test_the_trace_of_a_legacy_client_goes_on(gateway, processes):
    upstream = http_server(processes)
    gw = gateway(upstream_config("up", url=upstream.url)).wait_ready("up")
    session = gw.session()
    call = {"name": "up__echo", "arguments": {"text": "x"}}
    session.call("tools/call", call, headers={"traceparent": TRACEPARENT})
    check_trace(upstream.seen("tools/call")[-1]["headers"]["traceparent"])
    session.call("tools/call", {**call, "_meta": {"traceparent": TRACEPARENT}})
    check_trace(upstream.seen("tools/call")[-1]["headers"]["traceparent"])


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("broken", [
    "nonsense", f"00-{TRACE}-{SPAN}", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{'z' * 32}-{SPAN}-01",
    f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more",
    '","progressToken":"mine","x":"'.ljust(55, "x"), ("x" * 35 + "\\").ljust(55, "x")])
def test_what_is_no_trace_goes_nowhere(gateway, processes, era, broken):
    upstream = http_server(processes, era=era)
    gw = gateway(upstream_config("up", url=upstream.url)).wait_ready("up")
    for given in ({"headers": {"traceparent": broken}}, {"meta": {"traceparent": broken}}):
        answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}, **given)
        assert text_of(answer.message["result"]) == "x"
        came = upstream.seen("tools/call")[-1]
        meta = came["message"]["params"].get("_meta", {})
        assert "traceparent" not in came["headers"] and "progressToken" not in meta
        assert meta.get("traceparent") == given.get("meta", {}).get("traceparent"), "unknown members stay as they are"


# ---- secrets

def test_secrets_are_told_to_nobody(gateway, processes, tmp_path):
    key, header, value, argument = (f"canary-{n}-7d1f3a9b0c" for n in ("client-key", "header", "env-value", "wrong-key"))
    upstream = http_server(processes)
    config = {"log": {"level": "debug"}, "builtins": [],
              "keys": {"one": {"secret": key}},
              "upstreams": {"up": {"url": upstream.url, "headers": {"Authorization": f"Bearer {header}"}},
                            "down": {"url": "http://127.0.0.1:1/mcp", "headers": {"X-Key": header}},
                            "child": fixture_server("legacy", env={"TOKEN": value}),
                            "fails": {**fixture_server("fails", env={"TOKEN": value}), "restart_backoff": "50ms"},
                            "none": {"command": "no-such-program-here", "env": {"TOKEN": value}}}}
    gw = gateway(config, data=tmp_path / "mine").wait_ready("up", "child")
    assert upstream.seen("tools/list")[-1]["headers"]["authorization"] == f"Bearer {header}"
    assert key not in json.dumps(upstream.seen()), "a client's key never goes upstream"

    for key_used in (key, argument, key + "x"):
        gw.modern("tools/call", {"name": "up__echo", "arguments": {}}, key=key_used)
        gw.modern("tools/call", {"name": "child__echo", "arguments": {}}, key=key_used)
        gw.request("GET", f"/mcp?key={argument}", key=key_used)
    upstream.behave(faults={"tools/call": {"kind": "status", "status": 401, "body": f"bad token {header}"}})
    refused = gw.modern("tools/call", {"name": "up__echo", "arguments": {}}, key=key)
    gw.modern("tools/call", {"name": "child__crash", "arguments": {}}, key=key)
    config["upstreams"]["up"]["headers"]["X-Bad"] = f"{header}\nline"
    config["keys"]["two"] = {"secret": key}
    config["upstreams"]["child"]["env"]["TOKEN"] = {"wrong": value}
    replace(tmp_path / "gatespan.json", config)
    gw.wait_log("reload refused")

    told = {"logs": gw.logs(), "metrics": gw.request("GET", "/metrics").body.decode(), "health": json.dumps(gw.health()),
            "ready": gw.request("GET", "/ready").body.decode(), "answer": refused.body.decode()}
    for where, text in told.items():
        for secret in (key, value, argument, ADMIN_KEY) + ((header,) if where != "answer" else ()):
            assert secret not in text, f"{secret} is in the {where}"
    assert not any(s.encode() in files_text(tmp_path / "mine") for s in (key, header, value))


# ---- what waits at the door

@pytest.mark.parametrize("workers", [1, 2])
def test_connections_in_the_accept_queue_are_served_before_the_end(gateway, workers):
    """They were made before SIGTERM, so they count; none may see a reset (issue point 2, drain)."""
    gw = gateway({"workers": workers})
    wait_for(gw.tools, what="time listed")
    os.kill(gw.process.pid, signal.SIGSTOP)
    clients = []
    for _ in range(50):
        s = socket.create_connection(("127.0.0.1", gw.port), 60)
        s.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        clients.append(s)
    os.kill(gw.process.pid, signal.SIGTERM)
    os.kill(gw.process.pid, signal.SIGCONT)
    answers = []
    for s in clients:
        data = b""
        while piece := s.recv(4096):
            data += piece
        answers.append(data)
    assert [a[:15] for a in answers] == [b"HTTP/1.1 200 OK"] * 50
    assert gw.process.wait(25) == 0


def test_who_waits_for_the_line_listening_may_connect(gateway):
    gw = gateway(None, "--workers", "4", wait=False)
    while '"event":"listening"' not in gw.logs():
        assert gw.process.poll() is None, gw.logs()
    assert gw.request("GET", "/health").status == 200


def test_a_file_of_cursor(gateway, processes):
    """A URL with headers, and keys that steer the client alone."""
    server = http_server(processes)
    gw = gateway({"mcpServers": {"remote": {"type": "streamable-http", "url": server.url, "headers": {"X-Token": "of-cursor"},
                                            "autoApprove": ["echo"]},
                                 "off": {"command": "no-such-program", "disabled": True}}})
    gw.wait_ready("remote")
    assert text_of(gw.call_tool("remote__echo", text="x")) == "x"
    assert server.seen("tools/call")[-1]["headers"]["x-token"] == "of-cursor"
    assert gw.upstream("off") is None

"""Two hundred secrets are planted; none of them may be seen again where people look.

What is looked at: the log at its finest level, /metrics, what is exported as OTLP, every answer that is not the
tool's own, REST, `check`, `config`, the files of the data directory, and what a crash leaves behind.
"""
import json
import os
import signal
import subprocess
import sys
import urllib.parse

import pytest
from conftest import FIXTURES, binary, fixture_server, free_port, http_server, start_gateway, wait_for
from test_otlp import Receiver


class Canaries:
    """Makes secrets that are unlike anything else and remembers what each was for."""

    def __init__(self):
        self.made = {}

    def __call__(self, what):
        value = f"cnry{len(self.made):03d}{os.urandom(9).hex()}"
        self.made[value] = what
        return value

    def found_in(self, place, text):
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        return [f"{what} ({value}) in {place}: …{text[max(0, text.find(value) - 60):text.find(value) + 40]}…"
                for value, what in self.made.items() if value in text]


@pytest.fixture
def receiver(processes):
    port = free_port()
    p = processes(sys.executable, FIXTURES / "otlp_receiver.py", port)
    wait_for(lambda: "ready\n" in p.lines, what="the receiver")
    return Receiver(port)


def configuration(canary, far, receiver, env):
    """Everything that takes a secret has one, some straight, some through the environment."""
    for i in range(10):
        env[f"SECRET_{i}"] = canary(f"variable {i}")
    return {
        "builtins": ["time"], "log": {"level": "debug", "requests": True},
        "otlp": {"endpoint": receiver.url, "interval": "300ms",
                 "headers": {f"x-collector-{i}": canary("otlp header") for i in range(5)}},
        "keys": {f"key{i}": {"secret": canary("key"), **({"deny": ["*"]} if i % 2 else {})} for i in range(20)},
        "upstreams": {
            "far": {"url": far.url, "headers": {"Authorization": "Bearer " + canary("upstream token"),
                                                **{f"X-Secret-{i}": canary("upstream header") for i in range(10)},
                                                "X-From-Env": "${SECRET_0}"}},
            "child": fixture_server("legacy", env={f"TOKEN_{i}": canary("env of a child") for i in range(10)}
                                    | {"FROM_ENV": "${SECRET_1}"}),
            "fails": {**fixture_server("fails", env={"TOKEN": canary("env of a failing child")}),
                      "restart_backoff": "50ms"},
            "nowhere": {"url": f"http://127.0.0.1:{free_port()}/mcp", "headers": {"X-Key": canary("header to nowhere")}},
        },
    }


def drive(gw, canary, config):
    """Good and bad calls; the answers in which a secret would be a leak."""
    answers = []

    def ask(*arguments, **options):
        answers.append(gw.request(*arguments, **options))

    for name, key in config["keys"].items():
        gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}, key=key["secret"])
        ask("GET", "/metrics", key=key["secret"])
    for _ in range(20):
        ask("POST", "/mcp", b"{}", key=canary("wrong key"))
    for _ in range(10):
        ask("POST", "/mcp", b"{}", {"X-Api-Key": canary("wrong key as a header")}, key=None)
        ask("GET", "/health?token=" + canary("query"), headers={"Cookie": "session=" + canary("cookie")})
        ask("GET", "/nowhere", headers={"Authorization": "Basic " + canary("basic")}, key=None)
        ask("POST", "/api/v1/tools/time__get_current_time/execute", {"arguments": {"zone": "UTC", "password": canary("argument")}})
    for name in ("far__echo", "child__echo", "time__get_current_time"):
        for _ in range(8):
            gw.modern("tools/call", {"name": name, "arguments": {"text": canary("argument"), "password": canary("argument")}})
    for name in ("child__crash", "child__broken", "child__not_utf8", "nowhere__x", "fails__x"):
        for _ in range(2):
            gw.modern("tools/call", {"name": name, "arguments": {"api_key": canary("argument of a failing call")}},
                      meta={"traceparent": canary("no traceparent")})
    for _ in range(5):
        uri = f"https://user:{canary('password in a URI')}@example.com/x?key={canary('key in a URI')}"
        gw.modern("resources/read", {"uri": uri})
    for path in ("/api/v1/health/detailed", "/metrics", "/openapi.json", "/api/v1/proxy/servers", "/api/v1/keys",
                 "/api/v1/profiles", "/api/v1/tools", "/api/v1/info", "/api/v1/stats", "/api/v1/history",
                 "/api/v1/proxy/servers/far", "/api/v1/proxy/servers/child", "/api/v1/keys/key1"):
        ask("GET", path)
    # a server over REST with secrets; what comes back has none
    ask("POST", "/api/v1/proxy/servers", {"name": "added", "url": f"http://127.0.0.1:{free_port()}/mcp",
                                          "headers": {"X-Key": canary("header over REST")}})
    ask("POST", "/api/v1/proxy/servers", {"name": "bad name!", "url": "http://u:" + canary("password") + "@h/",
                                          "headers": {"X-Key": canary("header of a refused server")}})
    ask("GET", "/api/v1/proxy/servers")
    return answers


def files_below(folder):
    return [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]


def test_no_secret_is_seen_again(gateway, receiver, processes, tmp_path):
    canary, env = Canaries(), {}
    config = configuration(canary, http_server(processes), receiver, env)
    gw = gateway(config, env=env)
    gw.wait_ready("far", "child")
    answers = drive(gw, canary, config)
    while len(canary.made) < 200:
        gw.request("POST", "/mcp", b"{}", key=canary("wrong key"))
    wait_for(lambda: receiver.spans(), what="spans")
    page = gw.request("GET", "/metrics").body
    code = gw.stop()

    leaks = canary.found_in("the log", gw.logs()) + canary.found_in("/metrics", page)
    for a in answers:
        leaks += canary.found_in(f"an answer {a.status}", a.body + json.dumps(a.headers).encode())
    for request in receiver.seen():
        for name in list(request["headers"]):
            if name.startswith("x-collector-"):
                del request["headers"][name]  # where they belong
        leaks += canary.found_in("OTLP", json.dumps(request))
    for path in files_below(gw.data):
        leaks += canary.found_in(path.name, path.read_bytes())
    print(f"planted {len(canary.made)}, found {len(leaks)}")
    assert not leaks, "\n".join(leaks)
    assert code == 0 and len(canary.made) >= 200


def test_a_crash_tells_nothing(gateway, tmp_path):
    canary = Canaries()
    gw = start_gateway(tmp_path, {"builtins": ["time"], "log": {"level": "debug"},
                                  "keys": {"one": {"secret": canary("key")}}})
    gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {"x": canary("argument")}})
    gw.process.send_signal(signal.SIGABRT)
    gw.process.wait(60)
    assert not canary.found_in("the crash", gw.logs())


def wrong(canary):
    """Configurations that cannot be: each has its secret near the mistake."""
    return {
        "password in a URL": {"upstreams": {"a": {"url": f"http://user:{canary('url')}@host/"}}},
        "password in the collector's URL": {"otlp": {"endpoint": f"http://user:{canary('url')}@host/"}},
        "header with a line break": {"upstreams": {"a": {"url": "http://h/", "headers": {"X-A": canary("h") + "\nX: y"}}}},
        "header that is ours": {"upstreams": {"a": {"url": "http://h/", "headers": {"Host": canary("h")}}}},
        "key that is an object": {"keys": {"a": {"secret": {"oops": canary("key")}}}},
        "two kinds": {"upstreams": {"a": {"url": "http://h/" + canary("path"), "command": canary("command")}}},
        "number that is a secret": {"workers": canary("workers")},
        "unknown option": {"upstreams": {"a": {"url": "http://h/", "tokn": canary("unknown")}}},
        "TLS key that is none": {"tls": {"cert_file": "CERT", "key_file": "KEY"}},
    }


@pytest.mark.parametrize("case", sorted(wrong(Canaries())))
def test_a_refused_configuration_quotes_no_secret(tmp_path, case):
    canary = Canaries()
    config = wrong(canary)[case]
    pem = "-----BEGIN PRIVATE KEY-----\n" + canary("key file") + "\n-----END PRIVATE KEY-----\n"
    for name in ("KEY", "CERT"):
        (tmp_path / name).write_text(pem)
    text = json.dumps(config).replace('"KEY"', f'"{tmp_path}/KEY"').replace('"CERT"', f'"{tmp_path}/CERT"')
    gw = start_gateway(tmp_path, text, wait=False)
    assert gw.process.wait(60) != 0, gw.logs()
    (tmp_path / "c.yaml").write_text(text)
    checked = subprocess.run([binary(), "check", str(tmp_path / "c.yaml")], capture_output=True, text=True, timeout=60)
    assert not canary.found_in("the refusal", gw.logs() + checked.stdout + checked.stderr)


def test_showing_the_configuration_shows_no_secret(tmp_path):
    canary = Canaries()
    config = {"keys": {"a": {"secret": canary("key")}}, "otlp": {"headers": {"authorization": canary("otlp")}},
              "upstreams": {"u": {"url": "http://h/", "headers": {"authorization": canary("header")}},
                            "v": {"command": "x", "env": {"TOKEN": canary("env")}}}}
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    for key in ("keys.a.secret", "otlp.headers", "upstreams.u.headers", "upstreams.v.env", "upstreams", "otlp", "keys"):
        done = subprocess.run([binary(), "config", "explain", key, "--config", str(tmp_path / "c.yaml")],
                              capture_output=True, text=True, timeout=60)
        assert not canary.found_in(f"config explain {key}", done.stdout + done.stderr)

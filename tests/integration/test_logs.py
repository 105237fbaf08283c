"""One id for one request: in its answer, in its errors, in every line of the log about it."""
import json
import re

from conftest import fixture_server, replace, wait_for

ID = re.compile(r"[0-9a-f]{16}")


def lines(gw, event):
    found = [json.loads(line) for line in gw.logs().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_every_answer_names_its_request(gateway):
    gw = gateway()
    seen = set()
    for answer in (gw.request("GET", "/health"), gw.request("GET", "/nowhere"), gw.request("GET", "/metrics", key=None),
                   gw.modern("tools/list"), gw.request("POST", "/mcp", b"{broken")):
        assert ID.fullmatch(answer.headers["x-request-id"]), answer.headers
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 5


def test_errors_carry_the_id_of_their_request(gateway):
    gw = gateway()
    refused = gw.request("GET", "/metrics", key=None)
    assert refused.json["details"]["requestId"] == refused.headers["x-request-id"]
    refused = gw.request("POST", "/mcp", b"{}", key=None)
    assert refused.json["error"]["data"]["gatespan"]["requestId"] == refused.headers["x-request-id"]
    unknown = gw.modern("tools/call", {"name": "nobody__nothing"})
    assert unknown.message["error"]["data"]["gatespan"]["requestId"] == unknown.headers["x-request-id"]
    version = gw.modern("tools/list", meta={"io.modelcontextprotocol/protocolVersion": "2099-01-01"},
                        headers={"MCP-Protocol-Version": "2099-01-01"})
    data = version.message["error"]["data"]
    assert data["gatespan"]["requestId"] == version.headers["x-request-id"]
    assert "2026-07-28" in data["supported"], "what the protocol puts there stays"


def test_lines_about_a_request_carry_its_id(gateway):
    gw = gateway({"builtins": [], "upstreams": {"bad": fixture_server("legacy")}, "log": {"level": "debug"}})
    gw.wait_ready("bad")
    answer = gw.modern("tools/call", {"name": "bad__crash", "arguments": {}})
    number = answer.headers["x-request-id"]
    wait_for(lambda: [x for x in lines(gw, "exchange") if x.get("request") == number], what="its line")


def test_the_access_log_has_a_line_for_each_request(gateway):
    gw = gateway({"builtins": ["time"], "log": {"requests": True}})
    called = gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}, path="/mcp?token=hidden")
    gw.request("GET", "/nowhere")
    wait_for(lambda: [x for x in lines(gw, "request") if x["path"] == "/nowhere"], what="the last line")

    line = next(x for x in lines(gw, "request") if x["request"] == called.headers["x-request-id"])
    assert line["method"] == "POST" and line["path"] == "/mcp" and line["status"] == called.status
    assert line["bytes"] > len(called.body) and line["ms"] >= 0 and line["key"]
    assert "hidden" not in gw.logs()
    assert next(x for x in lines(gw, "request") if x["path"] == "/nowhere")["status"] == 404


def test_the_access_log_is_not_cut_as_a_flood(gateway):
    gw = gateway({"builtins": ["time"], "log": {"requests": True}})
    before = len(lines(gw, "request"))
    for _ in range(250):
        gw.request("GET", "/health")
    wait_for(lambda: len(lines(gw, "request")) >= before + 250, what="all lines")


def test_it_is_off_unless_asked_for_and_a_reload_asks(gateway, tmp_path):
    import signal
    gw = gateway({"builtins": ["time"]})
    gw.request("GET", "/health")
    assert not lines(gw, "request")
    replace(tmp_path / "gatespan.json", {"builtins": ["time"], "log": {"requests": True}})
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("configuration reloaded")
    gw.request("GET", "/health")
    wait_for(lambda: lines(gw, "request"), what="a line")

"""Arguments and results held against the schemas of their tool, where a profile asks for it (P-196, P-200)."""
import json

import pytest
from conftest import http_server

STRICT = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "zip": {"pattern": "^[0-9]{5}$"}},
          "required": ["n"], "additionalProperties": False}
TOOLS = [{"name": "strict", "inputSchema": STRICT},
         {"name": "old", "inputSchema": {**STRICT, "$schema": "http://json-schema.org/draft-07/schema#"}},
         {"name": "broken", "inputSchema": {"type": "object", "properties": {"n": {"$ref": "#/nowhere"}}}},
         {"name": "away", "inputSchema": {"type": "object", "properties": {"n": {"$ref": "https://x.example/schema.json"}}}},
         {"name": "odd", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object", "$ref": "#/nowhere"}},
         {"name": "self", "inputSchema": {"type": "object", "allOf": [{"$ref": "#"}]}},
         {"name": "shaped", "inputSchema": {"type": "object"},
          "outputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}}]
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


@pytest.fixture
def checked(gateway, processes):
    server = http_server(processes, tools=TOOLS)

    def start(**profile):
        gw = gateway({"upstreams": {"up": {"url": server.url}}, "profiles": {"p": profile, "lax": {}}})
        gw.wait_ready("up")
        return gw, server
    return start


def call(gw, tool, arguments, profile="p"):
    return gw.session(path=f"/mcp/{profile}").call("tools/call", {"name": f"up__{tool}", "arguments": arguments}).message


@pytest.mark.parametrize("arguments,why", [({}, "/: lacks the required member n"), ({"n": 0}, "/n: must be at least 1"),
                                           ({"n": 1, "zip": "x"}, "/zip: must match ^[0-9]{5}$"), ({"n": 1, "m": 2}, "/m: is not allowed"),
                                           ({"n": "1"}, "/n: must be integer, is string")])
def test_arguments_that_do_not_fit_never_reach_the_upstream(checked, arguments, why):
    gw, server = checked(check_arguments=True)
    result = call(gw, "strict", arguments)["result"]
    assert result["isError"] is True and result["content"][0]["text"] == f"Invalid arguments: {why}"
    assert not server.seen("tools/call")


def test_arguments_that_fit_pass(checked):
    gw, server = checked(check_arguments=True)
    assert "isError" not in call(gw, "strict", {"n": 3, "zip": "12345"})["result"]
    assert len(server.seen("tools/call")) == 1


def test_a_modern_client_is_told_in_its_form(checked):
    gw, _ = checked(check_arguments=True)
    answer = gw.modern("tools/call", {"name": "up__strict", "arguments": {}}, path="/mcp/p").message
    assert answer["result"]["isError"] is True and answer["result"]["resultType"] == "complete"


def test_other_dialects_hold_nobody_up(checked):
    """P-198: too many servers still speak them; the log names the dialect."""
    gw, server = checked(check_arguments=True)
    for _ in range(3):
        assert "isError" not in call(gw, "old", {"n": 0})["result"]
    assert len(server.seen("tools/call")) == 3
    gw.wait_log("draft-07")
    assert gw.logs().count("a tool's schema is not checked") <= 2  # once for each worker


@pytest.mark.parametrize("tool,place", [("broken", "#/nowhere"), ("away", "https://x.example/schema.json")])
def test_references_that_lead_nowhere_let_nothing_through(checked, tool, place):
    """P-199: what cannot be resolved, or only by asking the network, is refused, not waved through."""
    gw, server = checked(check_arguments=True)
    for _ in range(3):
        error = call(gw, tool, {"n": 0})["error"]
        assert error["code"] == -32603 and f"up__{tool}" in error["message"] and place in error["message"], error
    assert not server.seen("tools/call")
    assert "isError" not in call(gw, tool, {"n": 0}, "lax")["result"]


@pytest.mark.parametrize("how", ["off", "warn", "refuse"])
def test_results_that_cannot_be_checked(checked, how):
    """P-199"""
    gw, _ = checked(check_results=how)
    assert ("error" in call(gw, "odd", {})) == (how == "refuse")


def test_a_schema_without_end_is_a_failure_of_the_tool(checked):
    gw, server = checked(check_arguments=True)
    assert "too much work" in call(gw, "self", {})["result"]["content"][0]["text"]
    assert gw.request("GET", "/health").status == 200 and not server.seen("tools/call")


def test_profiles_that_do_not_ask_are_not_checked(checked):
    gw, server = checked(check_arguments=True)
    assert "isError" not in call(gw, "strict", {}, "lax")["result"]
    assert len(server.seen("tools/call")) == 1


@pytest.mark.parametrize("how", ["off", "warn", "refuse"])
def test_results_are_held_against_their_schema(checked, how):
    """The fixture answers without structured content."""
    gw, _ = checked(check_results=how)
    answer = call(gw, "shaped", {})
    assert ("error" in answer) == (how == "refuse"), json.dumps(answer)
    if how != "off":
        gw.wait_log("breaks its schema")
    assert how != "refuse" or "structuredContent is missing" in answer["error"]["message"]

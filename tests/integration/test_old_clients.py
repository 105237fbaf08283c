"""Clients of the first two revisions for real: SDKs of their time (1.7.0 speaks 2024-11-05, 1.11.5 speaks
2025-03-26) over HTTP+SSE, Streamable HTTP and standard input and output."""
import json

import pytest
from conftest import ADMIN_KEY, CLIENTS, binary, fixture_server, wait_for

OFFERED = {"r24": "2024-11-05", "r03": "2025-03-26"}


def run(processes, node, **job):
    p = processes(node, CLIENTS / "old_client.mjs", json.dumps({"key": ADMIN_KEY, **job}), cwd=CLIENTS)
    assert p.wait(240) == 0, "".join(p.lines)
    said = lambda: [line for line in p.lines if line.startswith('{"server"')]
    wait_for(said, what="its output")
    return json.loads(said()[0])


@pytest.mark.parametrize("revision,transport", [("r24", "sse"), ("r03", "sse"), ("r03", "http")])
def test_old_sdks_over_http(gateway, processes, node, revision, transport):
    gw = gateway({"upstreams": {"up": fixture_server("legacy", share="session")}})
    gw.wait_ready("up")
    path = "/sse" if transport == "sse" else "/mcp"
    seen = run(processes, node, revision=revision, transport=transport, url=f"http://127.0.0.1:{gw.port}{path}",
               call={"name": "up__echo", "arguments": {"text": "hello"}}, ask={"name": "up__ask", "arguments": {}})
    assert seen["offered"] == OFFERED[revision] and seen["server"]["name"] == "gatespan"
    assert "up__echo" in seen["tools"] and "time__get_current_time" in seen["tools"]
    assert seen["result"]["content"] == [{"type": "text", "text": "hello"}]
    assert "said by an old client" in json.dumps(seen["asked"])
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing left in flight")


@pytest.mark.parametrize("revision", ["r24", "r03"])
def test_old_sdks_over_stdio(gateway, processes, node, revision):
    """`gatespan serve --stdio` is what they start, and `gatespan connect` what reaches a gateway for them."""
    alone = run(processes, node, revision=revision, transport="stdio",
                command=[str(binary()), "serve", "--role", "server:time", "--stdio"])
    assert alone["offered"] == OFFERED[revision] and "get_current_time" in alone["tools"]
    gw = gateway({"upstreams": {"up": fixture_server("legacy")}})
    gw.wait_ready("up")
    through = run(processes, node, revision=revision, transport="stdio", env={"GATESPAN_KEY": ADMIN_KEY},
                  command=[str(binary()), "connect", f"http://127.0.0.1:{gw.port}/mcp"],
                  call={"name": "up__echo", "arguments": {"text": "through"}})
    assert through["result"]["content"] == [{"type": "text", "text": "through"}]


def test_what_an_old_revision_does_not_know_is_not_shown(gateway):
    """P-415: structured results and titles of later revisions are dropped for 2024-11-05."""
    gw = gateway()
    session = gw.session("2024-11-05")
    tool = session.result("tools/list")["tools"][0]
    assert "outputSchema" not in tool and "title" not in tool
    result = session.result("tools/call", {"name": "time__get_current_time", "arguments": {}})
    assert "structuredContent" not in result and result["content"]

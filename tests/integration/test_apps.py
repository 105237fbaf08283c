"""MCP Apps (extension io.modelcontextprotocol/ui, P-305): tools that point at ui:// resources, through all four
cells; what a client declares of it reaches the server of its call, and of other extensions nothing (P-308)."""
import pytest
from conftest import CLIENTS, free_port, http_server, run_client, wait_for

UI = "io.modelcontextprotocol/ui"
HTML = "text/html;profile=mcp-app"
DECLARED = {"extensions": {UI: {"mimeTypes": [HTML]}}}
CSP = {"ui": {"csp": {"connectDomains": ["https://tiles.example.com"]}, "permissions": {"camera": {}}, "prefersBorder": True}}
CLOCK = {"name": "clock", "inputSchema": {"type": "object"},
         "_meta": {"ui": {"resourceUri": "ui://clock/face.html", "visibility": ["model", "app"]},
                   "ui/resourceUri": "ui://clock/face.html", "vendor/other": {"resourceUri": "ui://clock/face.html"}}}
FACE = {"uri": "ui://clock/face.html", "name": "face", "mimeType": HTML, "_meta": CSP}


def app_server(processes, era, html="<p>twelve</p>"):
    return http_server(processes, era=era, tools=[CLOCK, "plain"], resources=[FACE],
                       contents={FACE["uri"]: {"mimeType": HTML, "text": html, "_meta": CSP}})


class Client:
    """Of either era, with the capabilities given."""

    def __init__(self, gw, era, capabilities):
        self.gw, self.meta = gw, {"io.modelcontextprotocol/clientCapabilities": capabilities}
        self.session = gw.session(capabilities=capabilities) if era == "legacy" else None

    def result(self, method, params=None):
        answer = self.session.call(method, params) if self.session else self.gw.modern(method, params, meta=self.meta)
        assert "result" in answer.message, answer.message
        return answer.message["result"]


def declared_to(server, method):
    """The client capabilities that the server knew when that request came."""
    return server.seen(method)[-1]["client"]


@pytest.mark.parametrize("upstream", ["legacy", "modern"])
@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_an_app_passes(gateway, processes, client, upstream):
    """P-305, P-636, P-637: the tool names its resource as the client can read it; nothing of it is lost."""
    server = app_server(processes, upstream)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    c = Client(gw, client, DECLARED)
    tool = next(t for t in c.result("tools/list")["tools"] if t["name"] == "up__clock")
    uri = tool["_meta"]["ui"]["resourceUri"]
    assert uri == "ui://up/clock/face.html"
    assert tool["_meta"] == {**CLOCK["_meta"], "ui": {"resourceUri": uri, "visibility": ["model", "app"]}, "ui/resourceUri": uri}
    shown = next(r for r in c.result("resources/list")["resources"] if r["uri"] == uri)
    assert (shown["mimeType"], shown["_meta"]) == (HTML, CSP)
    content = c.result("resources/read", {"uri": uri})["contents"][0]
    assert content == {"uri": uri, "mimeType": HTML, "text": "<p>twelve</p>", "_meta": CSP}
    assert "content" in c.result("tools/call", {"name": "up__clock", "arguments": {}})


@pytest.mark.parametrize("upstream", ["legacy", "modern"])
@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_the_server_knows_who_shows_apps(gateway, processes, client, upstream):
    """P-305, P-431: of each client what it declared; a client without the extension is not said to have it."""
    server = app_server(processes, upstream)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    for capabilities, extensions in ((DECLARED, DECLARED["extensions"]), ({}, None),
                                     ({"elicitation": {"form": {}}, **DECLARED}, DECLARED["extensions"]),
                                     ({"extensions": {UI: {"mimeTypes": ["text/vnd.other"]}}}, None),
                                     ({"extensions": {UI: {}}}, None)):
        Client(gw, client, capabilities).result("tools/call", {"name": "up__clock", "arguments": {}})
        told = declared_to(server, "tools/call")
        assert told.get("extensions") == extensions, capabilities
        assert ("elicitation" in told) == ("elicitation" in capabilities)


@pytest.mark.parametrize("upstream", ["legacy", "modern"])
def test_lists_are_read_as_one_who_shows_apps(gateway, processes, upstream):
    """A server may list its app tools only to clients that declare the extension; text stays for the others."""
    server = app_server(processes, upstream)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert declared_to(server, "tools/list")["extensions"] == DECLARED["extensions"]


@pytest.mark.parametrize("upstream", ["legacy", "modern"])
@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_other_extensions_are_not_promised(gateway, processes, client, upstream):
    """P-308"""
    server = app_server(processes, upstream)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    capabilities = {"extensions": {"com.example/telepathy": {"range": 3}, **DECLARED["extensions"]}, "experimental": {"x": {}}}
    Client(gw, client, capabilities).result("tools/call", {"name": "up__clock", "arguments": {}})
    assert declared_to(server, "tools/call") == DECLARED


def test_questions_refused_are_not_apps_refused(gateway, processes):
    server = app_server(processes, "legacy")
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, "questions": "refuse"}}})
    gw.wait_ready("up")
    for capabilities in (DECLARED, {}):
        Client(gw, "legacy", {"sampling": {}, **capabilities}).result("tools/call", {"name": "up__clock", "arguments": {}})
        assert declared_to(server, "tools/call") == capabilities


def test_the_gateway_declares_apps_where_a_server_has_some(gateway, processes):
    """P-627; to sessions nothing is declared, they have no word for it (P-400)."""
    without = http_server(processes, era="both", tools=["plain"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": without.url}}})
    gw.wait_ready("up")
    assert "extensions" not in gw.modern("server/discover").message["result"]["capabilities"]
    without.behave(tools=["plain", CLOCK])
    without.push("notifications/tools/list_changed")
    wait_for(lambda: "up__clock" in gw.tools(), what="the app")
    assert gw.modern("server/discover").message["result"]["capabilities"]["extensions"] == {UI: {}}
    assert "extensions" not in gw.session().info["capabilities"]


def test_a_server_that_says_so_has_apps(gateway, processes):
    server = http_server(processes, era="modern", tools=["plain"], capabilities={"extensions": {UI: {}, "com.example/x": {}}})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert gw.modern("server/discover").message["result"]["capabilities"]["extensions"] == {UI: {}}


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_the_same_resource_of_several_servers(gateway, processes, client):
    """P-635: each tool's app is its own server's, though all have one name."""
    servers = {n: app_server(processes, era, f"<p>{n}</p>") for n, era in (("one", "legacy"), ("two", "modern"), ("three", "both"))}
    gw = gateway({"builtins": [], "upstreams": {n: {"url": s.url} for n, s in servers.items()}})
    gw.wait_ready(*servers)
    c = Client(gw, client, DECLARED)
    tools = {t["name"]: t for t in c.result("tools/list")["tools"]}
    for name, server in servers.items():
        uri = tools[f"{name}__clock"]["_meta"]["ui"]["resourceUri"]
        assert c.result("resources/read", {"uri": uri})["contents"][0]["text"] == f"<p>{name}</p>"
        assert server.seen("resources/read")[-1]["message"]["params"]["uri"] == FACE["uri"]


@pytest.fixture(scope="module")
def real(node, module_gateway, module_processes):
    """Apps of a server of the SDK 1.x over pipes and of one of the SDK 2.x over HTTP, under one URI."""
    port, script = free_port(), CLIENTS / "apps_server.mjs"
    process = module_processes(node, script, port)
    wait_for(lambda: any("ready" in line for line in process.lines), what="the server of the SDK 2.x")
    gw = module_gateway({"builtins": [], "upstreams": {
        "old": {"command": node, "args": [str(script), "stdio"], "share": "principal"}, "new": {"url": f"http://127.0.0.1:{port}/mcp"}}})
    return gw.wait_ready("old", "new")


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_apps_of_official_servers_for_official_clients(real, node, kind):
    """P-305 in all four cells: a host finds each app, reads it, and is known as a host; others are not."""
    steps = [{"op": "tools"}, *({"op": "read", "uri": f"ui://{n}/chart/view.html"} for n in ("old", "new")),
             *({"op": "call", "name": f"{n}__chart", "arguments": {}} for n in ("old", "new"))]
    for capabilities, says in ((DECLARED, "shown"), ({}, "in words")):
        out = run_client(kind, real, steps, node=node, capabilities=capabilities)
        tools, *others = [r["ok"] for r in out["results"]]
        pointed = {t["name"]: t["_meta"]["ui"]["resourceUri"] for t in tools}
        assert pointed == {f"{n}__chart": f"ui://{n}/chart/view.html" for n in ("old", "new")}
        assert all(t["_meta"]["ui/resourceUri"] == pointed[t["name"]] for t in tools)
        for contents, html in zip(others[:2], ("<h1>of 1.x</h1>", "<h1>of 2.x</h1>")):
            (content,) = contents["contents"]
            assert (content["mimeType"], content["text"]) == (HTML, html) and content["_meta"]["ui"]["prefersBorder"] is True
        for called in others[2:]:
            assert called["content"] == [{"type": "text", "text": says}] and called["structuredContent"] == {"points": [1, 2]}

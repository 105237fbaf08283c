"""What is listed under which name, for whom, in which pages; and that calls by these names arrive."""
import re
import time

import pytest
from conftest import fixture_server, http_server, start_gateway, wait_for

KEY_A, KEY_B = "key-a-secret-0123456789", "key-b-secret-0123456789"


def names(answer, member="tools", field="name"):
    return [i[field] for i in answer.message["result"][member]]


def listed(gateway, what="tools", path="/mcp", key=""):
    member, field = {"tools": ("tools", "name"), "prompts": ("prompts", "name"), "resources": ("resources", "uri"),
                     "resources/templates": ("resourceTemplates", "uriTemplate")}[what]
    return names(gateway.modern(f"{what}/list", path=path, key=key), member, field)


def text_of(result):
    return "".join(c.get("text", "") for c in result["content"])


def error_code(answer):
    return answer.message["error"]["code"]


def http_upstreams(processes, **behaviours):
    """{name: behaviour} to (servers, configuration of upstreams)."""
    servers = {name: http_server(processes, **b) for name, b in behaviours.items()}
    return servers, {name: {"url": s.url} for name, s in servers.items()}


# ---- names --------------------------------------------------------------------------------------

@pytest.mark.smoke
def test_the_same_tool_of_two_servers_is_there_twice(gateway, processes):
    """P-600, P-603: by the configured names, in the order of the configuration."""
    servers, upstreams = http_upstreams(processes, zebra={"tools": ["b", "a"]}, ape={"tools": ["b", "a"]})
    gw = gateway({"builtins": [], "upstreams": upstreams})
    gw.wait_ready(*upstreams)
    assert listed(gw) == ["zebra__b", "zebra__a", "ape__b", "ape__a"]
    gw.call_tool("ape__a")
    assert servers["ape"].seen("tools/call") and not servers["zebra"].seen("tools/call")


def test_prefix_can_be_switched_off_for_one_upstream(gateway, processes):
    servers, upstreams = http_upstreams(processes, bare={"tools": ["echo"], "prompts": ["p"]},
                                        full={"tools": ["echo"], "prompts": ["p"]})
    upstreams["bare"]["prefix"] = False
    gw = gateway({"builtins": [], "upstreams": upstreams})
    wait_for(lambda: listed(gw) == ["echo", "full__echo"], what="both listed")
    assert listed(gw, "prompts") == ["p", "full__p"]
    assert text_of(gw.call_tool("echo", text="x")) == "x"
    assert servers["bare"].seen("tools/call")[0]["message"]["params"]["name"] == "echo"


def test_a_collision_without_prefix_is_won_by_the_first_and_logged(gateway, processes):
    """P-602: first wins with a warning that names both."""
    servers, upstreams = http_upstreams(processes, one={"tools": ["echo", "own"]}, two={"tools": ["echo", "other"]})
    for u in upstreams.values():
        u["prefix"] = False
    gw = gateway({"builtins": [], "upstreams": upstreams})
    wait_for(lambda: listed(gw) == ["echo", "own", "other"], what="both listed")
    line = next(l for l in gw.logs().splitlines() if "name taken" in l)
    assert '"upstream":"two"' in line and '"by":"one"' in line and '"item":"echo"' in line
    gw.call_tool("echo")
    assert servers["one"].seen("tools/call") and not servers["two"].seen("tools/call")


@pytest.mark.parametrize("name", ["x" * 200, "with space", "sla/sh", "ünï", "a" * 58 + "__b", "dot.dash-under_score"])
def test_any_name_becomes_one_that_every_client_takes(gateway, processes, name):
    """P-601, P-191: at most 64 of A-Z a-z 0-9 _ . -, reversible, the same in every start."""
    server = http_server(processes, tools=[name, "plain"])
    shown = []
    for others in ({}, {"before": fixture_server("legacy")}):
        gw = gateway({"builtins": [], "upstreams": {**others, "up": {"url": server.url}}})
        wait_for(lambda: "up__plain" in gw.tools(), what="listed")
        shown.append([n for n in gw.tools() if n.startswith("up__") and n != "up__plain"])
        assert len(shown[-1]) == 1 and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", shown[-1][0])
        assert text_of(gw.call_tool(shown[-1][0], text="arrived")) == "arrived"
        assert server.seen("tools/call")[-1]["message"]["params"]["name"] == name
    assert shown[0] == shown[1]


def test_names_that_are_cut_stay_distinct(gateway, processes):
    server = http_server(processes, tools=["x" * 100 + "1", "x" * 100 + "2", "a b", "a/b"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert len(set(gw.tools())) == 4


def test_broken_items_are_left_out_and_the_rest_stays(gateway, processes):
    """One bad tool of one server takes nothing else away; the log says which."""
    good = {"name": "good", "inputSchema": {"type": "object"}}
    bad = [{"inputSchema": {"type": "object"}}, {"name": "no_schema"}, {"name": 7, "inputSchema": {"type": "object"}},
           {"name": "", "inputSchema": {"type": "object"}}]
    server = http_server(processes, tools=[*bad, good])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert gw.tools() == ["up__good"]
    assert '"upstream":"up"' in next(l for l in gw.logs().splitlines() if "no_schema" in l)


def test_upstream_allow_and_deny_hide_its_own_names(gateway, processes):
    """Globs over what the server calls them; what is hidden cannot be called."""
    servers, upstreams = http_upstreams(processes, up={"tools": ["read_one", "read_two", "write_one"], "prompts": ["read_p", "ask"]})
    upstreams["up"] |= {"allow": ["read_*"], "deny": ["*_two"]}
    gw = gateway({"builtins": [], "upstreams": upstreams})
    gw.wait_ready("up")
    assert listed(gw) == ["up__read_one"]
    assert listed(gw, "prompts") == ["up__read_p"]
    assert error_code(gw.modern("tools/call", {"name": "up__write_one", "arguments": {}})) == -32602
    assert not servers["up"].seen("tools/call")


def test_lists_of_many_pages_are_read_whole(gateway, processes):
    """P-617: every page of an upstream; a cursor that leads nowhere ends it."""
    many = [f"t{i:03}" for i in range(95)]
    servers, upstreams = http_upstreams(processes, paged={"tools": many, "page": 10}, loop={"tools": ["x"], "page": "loop"})
    gw = gateway({"builtins": [], "upstreams": upstreams})
    gw.wait_ready("paged")
    assert [n for n in gw.tools() if n.startswith("paged__")] == [f"paged__{n}" for n in many]
    wait_for(lambda: gw.upstream("loop").get("reason") or gw.upstream("loop")["state"] == "ready", what="the loop ended")
    assert len(servers["loop"].seen("tools/list")) < 50


# ---- x-mcp-header --------------------------------------------------------------------------------

def annotated(name, **properties):
    return {"name": name, "inputSchema": {"type": "object", "properties": {
        p: {"type": t, "x-mcp-header": h} for p, (t, h) in properties.items()}}}


TOOLS_WITH_HEADERS = [annotated("tell", region=("string", "Region"), count=("integer", "Count"), loud=("boolean", "Loud")),
                      annotated("bad_name", x=("string", "two words")), annotated("bad_type", x=("number", "X")),
                      annotated("twice", x=("string", "Same"), y=("string", "same"))]


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_tools_with_invalid_annotations_vanish(gateway, processes, era):
    """P-077, P-078, P-450."""
    server = http_server(processes, era=era, tools=TOOLS_WITH_HEADERS)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert "up__tell" in gw.tools()
    if era == "modern":
        assert gw.tools() == ["up__tell"]


def test_param_headers_are_checked_and_made_anew(gateway, processes):
    """P-076, P-420, P-461: the client's are held against the body, the upstream's are written from it."""
    server = http_server(processes, era="modern", tools=TOOLS_WITH_HEADERS)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")

    def call(arguments, **headers):
        return gw.modern("tools/call", {"name": "up__tell", "arguments": arguments},
                         headers={f"Mcp-Param-{k}": v for k, v in headers.items()})

    assert "result" in call({"region": "Zürich", "count": 42, "loud": True},
                            Region="=?base64?WsO8cmljaA==?=", Count="42.0", Loud="true").message
    sent = server.seen("tools/call")[-1]["headers"]
    assert (sent["mcp-param-region"], sent["mcp-param-count"], sent["mcp-param-loud"]) == ("=?base64?WsO8cmljaA==?=", "42", "true")
    for arguments, headers in (({"region": "eu"}, {}), ({"region": "eu"}, {"Region": "us"}), ({"count": 1}, {"Count": "2"}),
                               ({"region": "eu"}, {"Region": "=?base64?!!?="}), ({"loud": True}, {"Loud": "True"})):
        answer = call(arguments, **headers)
        assert (answer.status, error_code(answer)) == (400, -32020), (arguments, headers)
    assert "result" in call({"region": None}).message  # null: no header is expected
    assert "result" in call({}, Unknown="x").message   # of nobody: ignored
    session = gw.session()  # a legacy client knows nothing of headers
    assert "content" in session.result("tools/call", {"name": "up__tell", "arguments": {"region": "eu"}})
    assert server.seen("tools/call")[-1]["headers"]["mcp-param-region"] == "eu"


# ---- resource URIs ----------------------------------------------------------------------------------

RESOURCES = {"resources": ["file:///a/b.txt", "note:plain", "https://example.com/x", "ui://app/main", "http://example.com/y"],
             "templates": ["file:///{+path}", "db://{table}/rows{?limit}"], "tools": ["links"]}
SHOWN = {"file:///a/b.txt": "gatespan+file://up//a/b.txt", "note:plain": "gatespan+note:up/plain",
         "https://example.com/x": "https://example.com/x", "ui://app/main": "ui://up/app/main",
         "http://example.com/y": "http://example.com/y", "file:///{+path}": "gatespan+file://up//{+path}",
         "db://{table}/rows{?limit}": "gatespan+db://up/{table}/rows{?limit}"}


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_resource_uris(gateway, processes, rewrite, era):
    """P-635 to P-637: rewritten everywhere or nowhere, symmetrically."""
    server = http_server(processes, era=era, **RESOURCES)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, "rewrite_uris": rewrite}}})
    gw.wait_ready("up")

    def shown(uri):
        return SHOWN[uri] if rewrite else uri

    assert listed(gw, "resources") == [shown(u) for u in RESOURCES["resources"]]
    assert listed(gw, "resources/templates") == [shown(u) for u in RESOURCES["templates"]]
    for uri in RESOURCES["resources"]:
        content = gw.modern("resources/read", {"uri": shown(uri)}).message["result"]["contents"][0]
        assert content["uri"] == shown(uri)
        assert content["text"] == f"content of {uri}"  # text is not rewritten
        assert server.seen("resources/read")[-1]["message"]["params"]["uri"] == uri
    result = gw.call_tool("up__links", uri="file:///a/b.txt")
    assert result["content"][0]["uri"] == result["content"][1]["resource"]["uri"] == shown("file:///a/b.txt")
    assert result["content"][1]["resource"]["text"] == "see file:///a/b.txt"
    assert result["structuredContent"] == {"uri": "file:///a/b.txt"}  # structured content is not rewritten
    done = gw.modern("completion/complete", {"ref": {"type": "ref/resource", "uri": shown("db://{table}/rows{?limit}")},
                                             "argument": {"name": "table", "value": ""}})
    assert done.message["result"]["completion"]["values"] == ["db://{table}/rows{?limit}"]


@pytest.mark.parametrize("uri", ["gatespan+file://up//etc/passwd", "gatespan+db://up/users/rows?limit=3"])
def test_a_template_reaches_what_no_list_names(gateway, processes, uri):
    """P-638."""
    server = http_server(processes, **RESOURCES)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert gw.modern("resources/read", {"uri": uri}).message["result"]["contents"][0]["uri"] == uri


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("uri", ["file:///a/b.txt", "gatespan+file://nobody//a/b.txt", "note:other", "https://elsewhere.example/",
                                 "gatespan+FILE://up//a/b.txt", ""])
def test_an_unknown_uri_is_not_found_and_asked_of_nobody(gateway, processes, era, uri):
    """P-211, P-638: -32602 with the URI (modern), -32002 (legacy); never broadcast."""
    server = http_server(processes, **RESOURCES)
    other = http_server(processes, **RESOURCES)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}, "other": {"url": other.url}}})
    gw.wait_ready("up", "other")
    if era == "modern":
        error = gw.modern("resources/read", {"uri": uri}, name=uri, headers={"Mcp-Name": uri}).message["error"]
    else:
        error = gw.session().call("resources/read", {"uri": uri}).message["error"]
    assert (error["code"], error["data"]["uri"]) == (-32602 if era == "modern" else -32002, uri)
    assert not server.seen("resources/read") and not other.seen("resources/read")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_not_found_of_an_upstream_keeps_its_meaning_in_both_eras(gateway, processes, era):
    """P-416, P-441, P-636: the code of the client's era, the URI as the client knows it."""
    server = http_server(processes, era=era, templates=["file:///{+path}"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    uri = "gatespan+file://up//missing.txt"
    modern = gw.modern("resources/read", {"uri": uri}).message["error"]
    legacy = gw.session().call("resources/read", {"uri": uri}).message["error"]
    assert (modern["code"], modern["data"]["uri"]) == (-32602, uri)
    assert (legacy["code"], legacy["data"]["uri"]) == (-32002, uri)


def test_same_uri_of_two_servers_goes_to_the_one_it_names(gateway, processes):
    servers, upstreams = http_upstreams(processes, one={"resources": ["note:x"]}, two={"resources": ["note:x"]})
    gw = gateway({"builtins": [], "upstreams": upstreams})
    gw.wait_ready("one", "two")
    assert listed(gw, "resources") == ["gatespan+note:one/x", "gatespan+note:two/x"]
    gw.modern("resources/read", {"uri": "gatespan+note:two/x"})
    assert servers["two"].seen("resources/read") and not servers["one"].seen("resources/read")


# ---- prompts ------------------------------------------------------------------------------------------

def test_prompts_go_by_their_shown_names(gateway, processes):
    """P-220, P-629, P-071."""
    server = http_server(processes, prompts=["ask", "tell"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    got = gw.modern("prompts/get", {"name": "up__ask", "arguments": {"a": "b"}}).message["result"]
    assert got["messages"][0]["content"]["text"] == 'ask {"a": "b"}'
    done = gw.modern("completion/complete", {"ref": {"type": "ref/prompt", "name": "up__tell"}, "argument": {"name": "a", "value": ""}},
                     name="")
    assert done.message["result"]["completion"]["values"] == ["tell"]
    assert error_code(gw.modern("prompts/get", {"name": "up__nothing"})) == -32602
    assert error_code(gw.modern("completion/complete", {"ref": {"type": "ref/prompt", "name": "up__nothing"},
                                                        "argument": {"name": "a", "value": ""}})) == -32602
    for name in ("wrong", None):
        answer = gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {
            "name": "up__ask", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                                         "io.modelcontextprotocol/clientCapabilities": {}}}},
                            {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "prompts/get", **({"Mcp-Name": name} if name else {})})
        assert (answer.status, error_code(answer)) == (400, -32020)


def test_features_that_nobody_has_are_not_found(gateway):
    """P-180, P-625."""
    gw = gateway()
    wait_for(gw.tools, what="time listed")
    assert set(gw.modern("server/discover").message["result"]["capabilities"]) == {"tools"}
    for method in ("prompts/list", "resources/list", "resources/templates/list"):
        answer = gw.modern(method)
        assert (answer.status, error_code(answer)) == (404, -32601)
    assert error_code(gw.session().call("prompts/list")) == -32601


# ---- pages -----------------------------------------------------------------------------------------------

def walk(gateway, method="tools/list", member="tools", **options):
    found, cursor, pages = [], None, 0
    while True:
        answer = gateway.modern(method, {"cursor": cursor} if cursor else {}, **options).message
        found += [i["name"] for i in answer["result"][member]]
        pages += 1
        cursor = answer["result"].get("nextCursor")
        if not cursor:
            return found, pages


@pytest.fixture
def paged(gateway, processes):
    """Ten tools and three prompts in pages of three; two keys that see different things."""
    servers, upstreams = http_upstreams(processes, up={"tools": [f"t{i}" for i in range(10)], "prompts": ["p0", "p1", "p2", "p3"]})
    gw = gateway({"builtins": [], "upstreams": upstreams, "limits": {"page": 3}, "profiles": {"some": {"deny": ["up__t9"]}},
                  "keys": {"a": {"secret": KEY_A}, "b": {"secret": KEY_B, "deny": ["up__t0"]}}})
    wait_for(lambda: len(walk(gw)[0]) == 10, what="ten tools")
    gw.server = servers["up"]
    return gw


def first_cursor(gateway, **options):
    return gateway.modern("tools/list", **options).message["result"]["nextCursor"]


def test_pages_add_up_to_the_whole(paged):
    """P-615, P-091: in order, nothing twice, nothing left out; the same for a legacy session."""
    assert walk(paged) == ([f"up__t{i}" for i in range(10)], 4)
    assert walk(paged, key=KEY_B) == ([f"up__t{i}" for i in range(1, 10)], 3)
    session, found, cursor = paged.session(), [], None
    while True:
        result = session.result("tools/list", {"cursor": cursor} if cursor else {})
        found += [t["name"] for t in result["tools"]]
        cursor = result.get("nextCursor")
        if not cursor:
            break
    assert found == [f"up__t{i}" for i in range(10)]


def test_a_tampered_cursor_is_refused(paged):
    """P-090, P-615: whatever is changed about it."""
    cursor = first_cursor(paged)
    for at in range(len(cursor)):
        other = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1:]
        answer = paged.modern("tools/list", {"cursor": other})
        if answer.message.get("result"):  # the last character of base64 may carry no bits of its own
            assert at == len(cursor) - 1 and answer.message["result"]["tools"][0]["name"] == "up__t3"
        else:
            assert (answer.status, error_code(answer)) == (200, -32602), at
    for wrong in (cursor[:-1], cursor + "A", cursor[1:], "", "x" * 5000, cursor.lower(), 3, ["x"], True):
        assert error_code(paged.modern("tools/list", {"cursor": wrong})) == -32602, wrong


def test_a_null_cursor_is_none(paged):
    """DESIGN decision 16."""
    assert names(paged.modern("tools/list", {"cursor": None})) == ["up__t0", "up__t1", "up__t2"]


def test_a_cursor_is_good_for_its_own_list_only(paged):
    """P-615: of another caller's view, another profile, another kind of list: -32602."""
    cursor = first_cursor(paged, key=KEY_A)
    assert "result" in paged.modern("tools/list", {"cursor": cursor}, key=KEY_A).message
    assert error_code(paged.modern("tools/list", {"cursor": cursor}, key=KEY_B)) == -32602
    assert error_code(paged.modern("tools/list", {"cursor": cursor}, key=KEY_A, path="/mcp/some")) == -32602
    assert error_code(paged.modern("prompts/list", {"cursor": cursor}, key=KEY_A)) == -32602


def test_an_outdated_cursor_is_refused(paged):
    """P-615: the catalogue changed under it; the client starts again."""
    cursor = first_cursor(paged)
    paged.server.behave(tools=[f"t{i}" for i in range(5)])
    wait_for(lambda: paged.server.push("notifications/tools/list_changed") is not None and len(walk_or_none(paged) or []) == 5,
             what="the new list")
    assert error_code(paged.modern("tools/list", {"cursor": cursor})) == -32602


def walk_or_none(gateway):
    """The whole list, or None when it changed under us."""
    try:
        return walk(gateway)[0]
    except KeyError:
        return None


# ---- profiles -----------------------------------------------------------------------------------------------

@pytest.fixture
def profiled(gateway, processes):
    servers, upstreams = http_upstreams(
        processes, one={"tools": ["read", "write"], "prompts": ["ask"], "resources": ["note:x"], "instructions": "Text of one."},
        two={"tools": ["read", "drop"], "prompts": ["tell"], "resources": ["note:y"], "instructions": "Text of two."})
    gw = gateway({
        "builtins": [], "upstreams": upstreams, "instructions": "Text of the gateway.",
        "profiles": {
            "only-two": {"upstreams": ["two"]},
            "reading": {"allow": ["*__read"], "instructions": "Only read."},
            "careful": {"deny": ["*__write", "*__drop", "*__tell", "gatespan+note:two/*"]},
            "renamed": {"rename": {"one__read": "look", "one__ask": "question"}},
        },
        "keys": {"a": {"secret": KEY_A, "allow": ["one__*", "gatespan+note:one/*"]}, "b": {"secret": KEY_B, "deny": ["*__drop"]}}})
    gw.wait_ready("one", "two")
    gw.servers = servers
    return gw


def test_profile_selects_upstreams(profiled):
    path = "/mcp/only-two"
    assert listed(profiled, path=path) == ["two__read", "two__drop"]
    assert listed(profiled, "prompts", path) == ["two__tell"]
    assert listed(profiled, "resources", path) == ["gatespan+note:two/y"]
    assert error_code(profiled.modern("tools/call", {"name": "one__read", "arguments": {}}, path=path)) == -32602
    assert error_code(profiled.modern("resources/read", {"uri": "gatespan+note:one/x"}, path=path)) == -32602
    assert error_code(profiled.modern("prompts/get", {"name": "one__ask"}, path=path)) == -32602
    assert error_code(profiled.modern("completion/complete", {"ref": {"type": "ref/prompt", "name": "one__ask"},
                                                              "argument": {"name": "a", "value": ""}}, path=path)) == -32602
    assert not [s for s in profiled.servers["one"].seen() if s["method"] in ("tools/call", "resources/read", "prompts/get")]


def test_profile_allow_and_deny(profiled):
    assert listed(profiled, path="/mcp/reading") == ["one__read", "two__read"]
    assert listed(profiled, path="/mcp/careful") == ["one__read", "two__read"]
    assert listed(profiled, "prompts", "/mcp/careful") == ["one__ask"]
    assert listed(profiled, "resources", "/mcp/careful") == ["gatespan+note:one/x"]
    for name in ("two__drop", "one__write"):
        unknown = profiled.modern("tools/call", {"name": "nobody__nothing", "arguments": {}}, path="/mcp/careful").message["error"]
        refused = profiled.modern("tools/call", {"name": name, "arguments": {}}, path="/mcp/careful").message["error"]
        # what one may not use looks like what is not there
        assert refused["code"] == unknown["code"] == -32602
        assert refused["message"].replace(name, "?") == unknown["message"].replace("nobody__nothing", "?")


def test_profile_renames(profiled):
    """Listed and called by the new name; the old one is gone there, and only there."""
    path = "/mcp/renamed"
    assert listed(profiled, path=path) == ["look", "one__write", "two__read", "two__drop"]
    assert listed(profiled, "prompts", path) == ["question", "two__tell"]
    assert "result" in profiled.modern("tools/call", {"name": "look", "arguments": {}}, path=path).message
    assert profiled.servers["one"].seen("tools/call")[0]["message"]["params"]["name"] == "read"
    got = profiled.modern("prompts/get", {"name": "question"}, path=path).message["result"]
    assert got["messages"][0]["content"]["text"].startswith("ask ")
    assert error_code(profiled.modern("tools/call", {"name": "one__read", "arguments": {}}, path=path)) == -32602
    assert error_code(profiled.modern("tools/call", {"name": "look", "arguments": {}})) == -32602


def test_profile_works_for_legacy_sessions(profiled):
    session = profiled.session(path="/mcp/reading")
    assert [t["name"] for t in session.result("tools/list")["tools"]] == ["one__read", "two__read"]
    assert session.info["instructions"] == "Only read."


def test_instructions_are_those_of_what_the_caller_sees(profiled):
    """P-628: own text, then a section for each upstream; a profile's own text instead of all; no word about
    upstreams that the profile leaves out."""
    def instructions(path):
        return profiled.modern("server/discover", path=path).message["result"]["instructions"]

    everything = instructions("/mcp")
    assert everything.index("Text of the gateway.") < everything.index("## one") < everything.index("Text of one.") \
        < everything.index("## two") < everything.index("Text of two.")
    assert instructions("/mcp/reading") == "Only read."
    only_two = instructions("/mcp/only-two")
    assert "Text of two." in only_two and "Text of one." not in only_two


def test_missing_upstreams_are_those_of_the_profile(gateway, processes):
    """What is no part of a profile is not named in it either."""
    gw = gateway({"builtins": ["time"], "upstreams": {"gone": {"command": "no-such-program"}},
                  "profiles": {"clock": {"upstreams": ["time"]}}})
    wait_for(lambda: gw.upstream("gone")["state"] == "failed" and gw.tools(), what="started")
    meta = "gatespan/missingUpstreams"
    assert gw.modern("tools/list").message["result"]["_meta"][meta] == ["gone"]
    assert meta not in gw.modern("tools/list", path="/mcp/clock").message["result"]["_meta"]


# ---- keys -----------------------------------------------------------------------------------------------------

def test_keys_see_what_they_may(profiled):
    """P-618: each key's lists, in both eras; the same path, the same moment."""
    assert listed(profiled, key=KEY_A) == ["one__read", "one__write"]
    assert listed(profiled, key=KEY_B) == ["one__read", "one__write", "two__read"]
    assert listed(profiled, "prompts", key=KEY_A) == ["one__ask"]
    assert listed(profiled, "resources", key=KEY_A) == ["gatespan+note:one/x"]
    session = profiled.session(key=KEY_A)
    assert [t["name"] for t in session.result("tools/list")["tools"]] == ["one__read", "one__write"]


def test_keys_call_what_they_may(profiled):
    assert "result" in profiled.modern("tools/call", {"name": "one__write", "arguments": {}}, key=KEY_A).message
    assert error_code(profiled.modern("tools/call", {"name": "two__read", "arguments": {}}, key=KEY_A)) == -32602
    assert error_code(profiled.modern("tools/call", {"name": "two__drop", "arguments": {}}, key=KEY_B)) == -32602
    assert error_code(profiled.modern("resources/read", {"uri": "gatespan+note:two/y"}, key=KEY_A)) == -32602
    assert error_code(profiled.modern("prompts/get", {"name": "two__tell"}, key=KEY_A)) == -32602
    session = profiled.session(key=KEY_A)
    assert error_code(session.call("tools/call", {"name": "two__read", "arguments": {}})) == -32602
    assert not profiled.servers["two"].seen("tools/call") and not profiled.servers["two"].seen("resources/read")


def test_key_and_profile_both_have_to_allow(profiled):
    assert listed(profiled, path="/mcp/careful", key=KEY_A) == ["one__read"]
    assert listed(profiled, path="/mcp/only-two", key=KEY_A) == []
    # a rename opens nothing: grants are about the names of the catalogue
    assert listed(profiled, path="/mcp/renamed", key=KEY_A) == ["look", "one__write"]


def test_cached_pages_never_cross_keys(profiled):
    """P-089: asked in turn, often, over several workers: everybody always gets the own list."""
    want = {KEY_A: ["one__read", "one__write"], KEY_B: ["one__read", "one__write", "two__read"],
            "": ["one__read", "one__write", "two__read", "two__drop"]}
    for _ in range(20):
        for key, tools in want.items():
            assert listed(profiled, key=key) == tools


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_rate_of_a_key(gateway, era):
    """429 with Retry-After once the bucket is empty; other keys are not touched; refilled with time."""
    gw = gateway({"workers": 2, "keys": {"slow": {"secret": KEY_A, "rate": "60/m", "burst": 6}, "free": {"secret": KEY_B}}})
    wait_for(gw.tools, what="time listed")
    session = gw.session(key=KEY_A) if era == "legacy" else None

    def call(key=KEY_A):
        if session and key == KEY_A:
            return session.call("tools/call", {"name": "time__get_current_time", "arguments": {}})
        return gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}, key=key)

    began, answers = time.monotonic(), []
    while len(answers) < 12 or answers[-1].status == 200:  # a slow machine gets a token a second
        answers.append(call())
    came = int(time.monotonic() - began)
    refused = [a for a in answers if a.status == 429]
    assert answers[0].status == 200 and 4 <= len(answers) - len(refused) <= 7 + came
    retry = refused[-1].message["error"]["data"]["gatespan"]["retryAfterMs"]
    assert 0 < retry <= 1000
    assert int(refused[-1].headers["retry-after"]) >= 1
    assert call(KEY_B).status == 200
    assert gw.metric("gatespan_limited_total", key="slow") == len(refused)  # counted before they are told
    wait_for(lambda: call().status == 200, what="a token again")


def test_retry_after_is_long_enough(gateway):
    """A client that comes back after Retry-After is served: so it says the whole time, not a second."""
    gw = gateway({"keys": {"slow": {"secret": KEY_A, "rate": "2/m", "burst": 1}}})
    wait_for(gw.tools, what="time listed")
    began = time.monotonic()
    answers = [gw.modern("tools/list", key=KEY_A) for _ in range(3)]
    refused = answers[-1]
    assert refused.status == 429
    wanted = refused.message["error"]["data"]["gatespan"]["retryAfterMs"]
    assert wanted > 29_000 - 1000 * (time.monotonic() - began)
    assert int(refused.headers["retry-after"]) * 1000 >= wanted


# ---- revisions ----------------------------------------------------------------------------------------------------

def test_what_a_revision_does_not_know_is_left_out_of_its_lists(gateway, processes):
    """P-415: icons and execution are of R11, resultType and friends of R26."""
    tool = {"name": "t", "title": "T", "inputSchema": {"type": "object"}, "icons": [{"src": "https://x.example/i.png"}],
            "annotations": {"readOnlyHint": True}, "com.example/own": 1}
    server = http_server(processes, tools=[tool])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")

    def seen_by(version):
        return gw.session(version).result("tools/list")["tools"][0]

    assert seen_by("2025-06-18")["title"] == "T" and "icons" not in seen_by("2025-06-18")
    assert seen_by("2025-11-25")["icons"] == tool["icons"]
    assert gw.modern("tools/list").message["result"]["tools"][0]["com.example/own"] == 1  # P-011


# ---- a gateway behind a gateway -------------------------------------------------------------------------------------

@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_gateway_behind_a_gateway(gateway, processes, tmp_path, era):
    """Names and URIs are put together twice and taken apart twice; changes, errors and progress come through."""
    server = http_server(processes, era=era, tools=["echo", "links"], prompts=["ask"], resources=["note:x", "file:///a"],
                         templates=["file:///{+path}"])
    inner = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}, "child": fixture_server("legacy")}})
    inner.wait_ready("up", "child")
    folder = tmp_path / "outer"
    folder.mkdir()
    outer = start_gateway(folder, {"builtins": [], "upstreams": {
        "in": {"url": inner.mcp, "headers": {"Authorization": f"Bearer {inner.key}"}}}})
    try:
        outer.wait_ready("in")
        assert outer.tools() == [f"in__{t}" for t in inner.tools()]
        assert listed(outer, "resources") == ["gatespan+gatespan+note:in/up/x", "gatespan+gatespan+file://in/up//a"]
        for uri in [*listed(outer, "resources"), "gatespan+gatespan+file://in/up//of/the/template"]:
            content = outer.modern("resources/read", {"uri": uri}).message["result"]["contents"][0]
            assert content["uri"] == uri
        assert content["text"] == "content of file:///of/the/template"
        assert outer.call_tool("in__up__links", uri="note:x")["content"][0]["uri"] == "gatespan+gatespan+note:in/up/x"
        got = outer.modern("prompts/get", {"name": "in__up__ask"}).message["result"]
        assert got["messages"][0]["content"]["text"].startswith("ask")
        events = outer.modern("tools/call", {"name": "in__child__progress", "arguments": {}}, meta={"progressToken": "t"}).events()
        assert [e["params"]["progressToken"] for e in events[:-1]] == ["t"] * 3
        server.behave(faults={"tools/call": {"kind": "html"}})
        error = outer.modern("tools/call", {"name": "in__up__echo", "arguments": {}}).message["error"]
        assert error["code"] == -32603 and "up" in error["message"]
        inner.call_tool("child__change")
        wait_for(lambda: "in__child__added" in outer.tools(), what="the change two gateways away")
    finally:
        assert outer.stop() == 0

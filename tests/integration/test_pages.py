"""Pages of all four lists across several upstreams, in both eras (P-090, P-091, P-615..P-617); completion by the names that
a caller knows (P-221, P-629); structured results in all four cells (P-194, P-415, P-479)."""
import json

import pytest
from conftest import http_server, wait_for

LISTS = [("tools/list", "tools", "name"), ("prompts/list", "prompts", "name"), ("resources/list", "resources", "uri"),
         ("resources/templates/list", "resourceTemplates", "uriTemplate")]


def offer(n, **more):
    """A server's part: n items of each kind."""
    return {"tools": [f"t{i}" for i in range(n)], "prompts": [f"p{i}" for i in range(n)],
            "resources": [f"note:r{i}" for i in range(n)], "templates": [f"note:m{i}/{{x}}" for i in range(n)], **more}


def shown(upstream, n):
    return {"tools/list": [f"{upstream}__t{i}" for i in range(n)], "prompts/list": [f"{upstream}__p{i}" for i in range(n)],
            "resources/list": [f"gatespan+note:{upstream}/r{i}" for i in range(n)],
            "resources/templates/list": [f"gatespan+note:{upstream}/m{i}/{{x}}" for i in range(n)]}


def walk(call, method, member, key):
    """The sizes of the pages, and all items."""
    sizes, found, cursor, seen = [], [], None, set()
    while True:
        result = call(method, {} if cursor is None else {"cursor": cursor})
        sizes.append(len(result[member]))
        found += [i[key] for i in result[member]]
        cursor = result.get("nextCursor")
        if cursor is None:
            return sizes, found
        assert cursor not in seen, "the same page twice"
        seen.add(cursor)


def caller(gw, era, path="/mcp", key=""):
    session = gw.session(path=path, key=key) if era != "modern" else None

    def call(method, params):
        answer = session.call(method, params) if session else gw.modern(method, params, path=path, key=key, name="" if "ref" in params else None)
        assert "result" in answer.message, answer.message
        return answer.message["result"]
    return call


@pytest.fixture
def three(gateway, processes):
    """Nine items of each kind: of a server that pages by two, one that pages by three, one that does not page."""
    servers = {"a": http_server(processes, **offer(4, page=2)), "b": http_server(processes, **offer(3, page=3, era="modern")),
               "c": http_server(processes, **offer(2, era="both"))}

    def start(page):
        gw = gateway({"builtins": [], "upstreams": {n: {"url": s.url} for n, s in servers.items()}, "limits": {"page": page},
                      "profiles": {"some": {"deny": ["b__*", "gatespan+note:b/*"], "rename": {"c__t0": "zero", "c__p0": "nought"}}}})
        wait_for(lambda: all((gw.upstream(n) or {}).get("state") == "ready" for n in servers), what="three upstreams")
        wait_for(lambda: len(walk(caller(gw, "modern"), *LISTS[0])[1]) == 9, what="nine tools")
        return gw
    return start


@pytest.mark.parametrize("page", [1, 3, 4, 9, 100])
def test_pages_cross_upstreams(three, page):
    """P-615, P-091: full pages but the last one, whole, in order, whoever an item is of; both eras see the same."""
    gw = three(page)
    sizes = [page] * (9 // page) + ([9 % page] if 9 % page else [])
    for method, member, key in LISTS:
        want = sum((shown(n, k)[method] for n, k in (("a", 4), ("b", 3), ("c", 2))), [])
        for era in ("legacy", "modern"):
            assert walk(caller(gw, era), method, member, key) == (sizes, want), (method, era)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_pages_of_a_profile(three, era):
    """P-618: filtered and renamed before they are cut into pages, so none is short."""
    gw = three(4)
    call = caller(gw, era, "/mcp/some")
    for method, member, key in LISTS:
        want = [{"c__t0": "zero", "c__p0": "nought"}.get(n, n) for n in shown("a", 4)[method] + shown("c", 2)[method]]
        assert walk(call, method, member, key) == ([4, 2], want), method


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_cursor_is_good_for_its_caller_alone(three, era):
    """P-615, P-612: not for another list, profile, or era's shape of it; -32602, and nothing of the page."""
    gw = three(2)
    cursor = caller(gw, era)("tools/list", {})["nextCursor"]
    session, other = gw.session(), gw.session(path="/mcp/some")
    wrong = [session.call("prompts/list", {"cursor": cursor}), other.call("tools/list", {"cursor": cursor}),
             gw.modern("resources/list", {"cursor": cursor}), gw.modern("tools/list", {"cursor": cursor}, path="/mcp/some"),
             gw.session("2024-11-05").call("tools/list", {"cursor": cursor}),
             gw.modern("tools/list", {"cursor": cursor}) if era == "legacy" else session.call("tools/list", {"cursor": cursor})]
    for answer in wrong:
        assert answer.message["error"]["code"] == -32602 and "start again" in answer.message["error"]["message"]


# ---- what upstreams send -------------------------------------------------------------------------------


def paging_server(processes, how):
    """Its tools/list answers as told."""
    return http_server(processes, tools=["never"], faults={"tools/list": {"kind": "raw", "body": json.dumps(
        {"jsonrpc": "2.0", "id": "ID", "result": how}).replace('"ID"', "ID")}})


def tool(name):
    return {"name": name, "inputSchema": {"type": "object"}}


@pytest.mark.parametrize("cursor", ["", "x"])
def test_an_upstream_whose_cursor_comes_again(gateway, processes, cursor):
    """P-617: the list ends there, said in its reason; P-090: the empty string is a cursor as good as any."""
    server = paging_server(processes, {"tools": [tool("x")], "nextCursor": cursor})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    wait_for(lambda: "tools/list" in (gw.upstream("up") or {}).get("reason", ""), what="a reason")
    asked = [s["message"].get("params", {}).get("cursor") for s in server.seen("tools/list")]
    assert asked[:2] == [None, cursor]


@pytest.mark.parametrize("cursor", [None, 7, ["a"], {"b": 1}, True])
def test_what_is_no_cursor_is_the_end(gateway, processes, cursor):
    """P-090: null is as good as missing; what is no string cannot be sent back, what came before it is served."""
    server = paging_server(processes, {"tools": [tool("x")], "nextCursor": cursor})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert gw.tools() == ["up__x"]
    assert not [s for s in server.seen("tools/list") if "cursor" in s["message"].get("params", {})]


@pytest.mark.parametrize("empty", [1, 2])
def test_empty_pages_are_no_end(gateway, processes, empty):
    """Only a missing cursor is."""
    server = http_server(processes, tools=[f"t{i}" for i in range(5)], page=1, empty_pages=empty)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    assert gw.tools() == [f"up__t{i}" for i in range(5)]


@pytest.mark.parametrize("cycle", [2, 3])
def test_cursors_that_go_in_a_circle(gateway, processes, cycle):
    """P-617: a cursor that came before, not just the last one, ends it."""
    server = http_server(processes, tools=[f"t{i}" for i in range(6)], page=2, circle=cycle)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    wait_for(lambda: "repeats the cursor" in (gw.upstream("up") or {}).get("reason", ""), what="a reason")
    assert len(server.seen("tools/list")) <= 2 * (cycle + 1)


# ---- completion ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("upstream", ["legacy", "modern"])
@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_completion_in_all_cells(gateway, processes, client, upstream):
    """P-221, P-629: shown names, a profile's new ones too, become the server's own; the context stays as it is."""
    server = http_server(processes, era=upstream, prompts=['ask "it"', "plain"], templates=["note:{x}/{y}", "https://x.example/{z}"],
                         resources=["note:fixed"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}, "other": {"url": server.url}},
                  "profiles": {"p": {"rename": {"up__plain": "nice"}}}})
    wait_for(lambda: all((gw.upstream(n) or {}).get("state") == "ready" for n in ("up", "other")), what="both ready")
    wait_for(lambda: len(gw.modern("prompts/list").message["result"]["prompts"]) == 4, what="all prompts")
    call = caller(gw, client, "/mcp/p")
    names = [p["name"] for p in call("prompts/list", {})["prompts"]]
    assert "nice" in names and "up__plain" not in names
    context = {"arguments": {"x": 'cho"sen\\', "é": "ü", "n": ""}}
    references = [({"type": "ref/prompt", "name": "nice"}, {"type": "ref/prompt", "name": "plain"}),
                  ({"type": "ref/prompt", "name": names[0]}, {"type": "ref/prompt", "name": 'ask "it"'}),
                  ({"type": "ref/resource", "uri": "gatespan+note:up/{x}/{y}"}, {"type": "ref/resource", "uri": "note:{x}/{y}"}),
                  ({"type": "ref/resource", "uri": "https://x.example/{z}"}, {"type": "ref/resource", "uri": "https://x.example/{z}"}),
                  ({"type": "ref/resource", "uri": "gatespan+note:up/fixed"}, {"type": "ref/resource", "uri": "note:fixed"})]
    for told, own in references:
        rest = {"argument": {"name": "y", "value": "v\n"}, "context": context}
        completion = call("completion/complete", {"ref": told, **rest})["completion"]
        assert completion["values"] == [own.get("name") or own["uri"]]
        params = server.seen("completion/complete")[-1]["message"]["params"]
        params.pop("_meta", None)
        assert params == {"ref": own, **rest}
    answer = gw.session(path="/mcp/p").call("completion/complete", {
        "ref": {"type": "ref/prompt", "name": "up__plain"}, "argument": {"name": "y", "value": ""}})
    assert answer.message["error"]["code"] == -32602  # the old name is gone in this profile


# ---- structured results ----------------------------------------------------------------------------------

SUM = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
NUMBERS = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize("upstream", ["legacy", "modern"])
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
def test_structured_results_by_revision(gateway, processes, version, upstream):
    """P-194, P-415: what a revision has no word for is in the text alone, schema and value alike."""
    done = {"content": [{"type": "text", "text": '{"sum":3}'}], "structuredContent": {"sum": 3, "exact": 1.10}}
    server = http_server(processes, era=upstream, tools=[{**tool("add"), "outputSchema": SUM}], results={"add": done})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    session = gw.session(version) if version < "2026" else None
    call = session.result if session else lambda m, p: gw.modern(m, p).message["result"]
    knows = version >= "2025-06-18"
    assert call("tools/list", {})["tools"][0].get("outputSchema") == (SUM if knows else None)
    result = call("tools/call", {"name": "up__add", "arguments": {}})
    assert result["content"] == done["content"]
    assert result.get("structuredContent") == (done["structuredContent"] if knows else None)


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("value", [[1, 2, 3], "text", 7, None, False])
def test_results_that_are_no_objects(gateway, processes, version, value):
    """P-479: sessions know objects alone; the text has it still, and no schema promises what does not come."""
    done = {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value}
    server = http_server(processes, era="modern", tools=[{**tool("numbers"), "outputSchema": NUMBERS}], results={"numbers": done})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.wait_ready("up")
    session = gw.session(version) if version < "2026" else None
    call = session.result if session else lambda m, p: gw.modern(m, p).message["result"]
    result = call("tools/call", {"name": "up__numbers", "arguments": {}})
    assert result["content"] == done["content"]
    assert ("structuredContent" in result) == (session is None)
    assert session or result["structuredContent"] == value
    assert ("outputSchema" in call("tools/list", {})["tools"][0]) == (session is None)


@pytest.mark.parametrize("client", ["legacy", "modern"])
@pytest.mark.parametrize("how", ["off", "warn", "refuse"])
@pytest.mark.parametrize("upstream", ["legacy", "modern"])
def test_results_are_checked_in_all_cells(gateway, processes, client, upstream, how):
    """P-196: of a declared schema; failures of the tool and results that need no structure are left alone."""
    text = {"content": [{"type": "text", "text": "x"}]}
    results = {"good": {**text, "structuredContent": {"sum": 3}}, "bad": {**text, "structuredContent": {"sum": "three"}},
               "none": text, "failed": {**text, "isError": True}, "free": {**text, "structuredContent": {"any": 1}}}
    server = http_server(processes, era=upstream, results=results,
                         tools=[tool("free"), *({**tool(n), "outputSchema": SUM} for n in ("good", "bad", "none", "failed"))])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}, "profiles": {"p": {"check_results": how}}})
    gw.wait_ready("up")
    session = gw.session(path="/mcp/p") if client == "legacy" else None
    for name, result in results.items():
        params = {"name": f"up__{name}", "arguments": {}}
        message = (session.call("tools/call", params) if session else gw.modern("tools/call", params, path="/mcp/p")).message
        if how == "refuse" and name in ("bad", "none"):
            assert message["error"]["code"] == -32603 and f"up__{name}" in message["error"]["message"], message
        else:
            got = {k: v for k, v in message["result"].items() if k in ("content", "structuredContent", "isError")}
            assert got == result, (name, message)
    assert ("breaks its schema" in gw.logs()) == (how != "off")

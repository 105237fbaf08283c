"""The server face, rule by rule from the text of PROTOCOL: what a client may rely on, whoever is behind."""
import http.client
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Stream, fixture_server, http_server, wait_for

NAMESPACE = "io.modelcontextprotocol/"
VERSION, CAPABILITIES = NAMESPACE + "protocolVersion", NAMESPACE + "clientCapabilities"
META = {VERSION: "2026-07-28", CAPABILITIES: {}}
LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
BOTH = {"Accept": "application/json, text/event-stream"}


def text_of(message):
    assert "result" in message, message
    return message["result"]["content"][0]["text"]


def error_of(answer):
    return answer.status, answer.message["error"]["code"]


def start(gateway, processes, era="legacy", upstream=None, config=None, **behaviour):
    server = http_server(processes, era=era, **behaviour)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, **(upstream or {})}}, **(config or {})})
    return gw.wait_ready("up"), server


@pytest.fixture(scope="module")
def shared(module_gateway, module_processes):
    """A gateway with one upstream of each kind, for tests that leave it as it was."""
    server = http_server(module_processes, prompts=["p"], resources=["note:a"], templates=["note:{x}"], instructions="be kind")
    gw = module_gateway({"builtins": ["time"], "upstreams": {"up": {"url": server.url}, "child": fixture_server("legacy")}})
    gw.server = server
    return gw.wait_ready("up", "child")


def get_stream(gw, session):
    return Stream(gw, "GET", "/mcp", {**session.headers, "Accept": "text/event-stream"})


def listen(gw, request_id="l", **filter):
    body = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen",
            "params": {"notifications": filter, "_meta": META}}
    return Stream(gw, "POST", "/mcp", {**BOTH, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"},
                  body=body)


# ---- handshakes -------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", LEGACY)
def test_initialize_says_version_capabilities_and_name(shared, version):
    """P-030: these members, of these types, and none of another era."""
    info = shared.session(version).info
    assert {"protocolVersion", "capabilities", "serverInfo"} <= set(info) <= {
        "protocolVersion", "capabilities", "serverInfo", "instructions", "_meta"}
    assert info["protocolVersion"] == version
    assert isinstance(info["capabilities"], dict) and "be kind" in info["instructions"]
    assert info["serverInfo"]["name"] == "gatespan" and isinstance(info["serverInfo"]["version"], str)


def test_the_handshakes_wait_for_nobody_and_are_merged(gateway, processes):
    """P-400, P-430, P-627: from what is known of the upstreams, in the words of the client's revision; one that is
    down or mute stops neither, and an extension that only an upstream knows is not promised."""
    novel = {"extensions": {"com.example/novel": {}}, "experimental": {"x": {}}}
    new = http_server(processes, era="modern", prompts=["p"], capabilities=novel)
    old = http_server(processes, era="legacy", resources=["note:a"], capabilities={"experimental": {"y": {}}})
    gw = gateway({"builtins": [], "upstreams": {"new": {"url": new.url}, "old": {"url": old.url}, "mute": fixture_server("mute"),
                                                "gone": {"command": "/nonexistent/program"}}})
    gw.wait_ready("new", "old")
    for version in LEGACY:
        has = gw.session(version).info["capabilities"]
        assert {"tools", "prompts", "resources"} <= set(has)
        assert not {"extensions", "experimental"} & set(has)
        assert ("completions" in has) == (version != "2024-11-05")
    has = gw.modern("server/discover").message["result"]["capabilities"]
    assert {"tools", "prompts", "resources"} <= set(has) and "com.example/novel" not in json.dumps(has)
    wait_for(lambda: new.seen("subscriptions/listen"), what="the gateway's own stream")  # at its own time
    before = len(new.seen()) + len(old.seen())
    gw.session()
    gw.modern("server/discover")
    assert len(new.seen()) + len(old.seen()) == before  # answered from what is known


ERAS = {  # P-055; headers, _meta, what comes of it
    "modern-meta-without-header": ({}, META, (400, -32020)),
    "modern-header-without-meta": ({"MCP-Protocol-Version": "2026-07-28"}, None, (400, -32602)),
    "legacy-header-with-modern-meta": ({"MCP-Protocol-Version": "2025-11-25"}, META, (400, -32020)),
    "unknown-header-with-modern-meta": ({"MCP-Protocol-Version": "2031-01-01"}, META, (400, -32020)),
    "unknown-version-in-both": ({"MCP-Protocol-Version": "2031-01-01"}, {**META, VERSION: "2031-01-01"}, (400, -32022)),
    "legacy-header-alone": ({"MCP-Protocol-Version": "2025-11-25"}, None, (400, -32600)),
    "legacy-header-with-another-meta": ({"MCP-Protocol-Version": "2025-11-25"}, {"progressToken": 1}, (400, -32600)),
    "unknown-header-alone": ({"MCP-Protocol-Version": "2031-01-01"}, None, (400, -32600)),
    "nothing": ({}, None, (400, -32600)),
}


@pytest.mark.parametrize("case", ERAS)
def test_framing_says_the_era(shared, case):
    """P-055, P-056, P-022: read as modern, and refused as such, or as a legacy request without a session; final codes."""
    headers, meta, expected = ERAS[case]
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", **({"params": {"_meta": meta}} if meta else {})}
    answer = shared.request("POST", "/mcp", body, {**BOTH, "Mcp-Method": "tools/list", **headers})
    assert error_of(answer) == expected, answer.body


def test_one_url_has_all_methods(shared):
    """P-140: POST, GET and DELETE of a session."""
    session = shared.session()
    with get_stream(shared, session) as stream:
        assert stream.status == 200 and stream.response.headers["content-type"].startswith("text/event-stream")
        assert session.call("ping").status == 200
        assert shared.request("DELETE", "/mcp", headers=session.headers).status == 200
        assert stream.rest() == []


def test_the_version_of_a_session_needs_no_header(shared):
    """P-463: what was negotiated governs, also where the revision has no such header."""
    server = shared.server
    result = '{"content":[],"structuredContent":{"a":1}}'
    server.behave(faults={"tools/call": {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":' + result + "}"}})
    try:
        for version in LEGACY:
            session = shared.session(version)
            del session.headers["MCP-Protocol-Version"]
            got = session.result("tools/call", {"name": "up__echo"})
            assert ("structuredContent" in got) == (version >= "2025-06-18"), version
    finally:
        server.behave(faults={})


def test_sessions_end_with_the_process(gateway):
    """P-401: 404, so that the client initializes anew."""
    gw = gateway()
    session = gw.session()
    data = gw.data
    assert gw.stop() == 0
    gw = gateway(data=data)
    session.gateway = gw
    assert session.call("tools/list").status == 404
    assert gw.session().call("tools/list").status == 200


def test_ping_is_answered_by_the_gateway_itself(shared):
    """P-412: whatever the upstreams do; none of them hears of it."""
    before = len(shared.server.seen("ping"))
    for version in LEGACY:
        assert shared.session(version).result("ping") == {}
    assert len(shared.server.seen("ping")) == before


# ---- nothing is remembered between modern requests ------------------------------------------------------

class OneConnection:
    """A modern client that keeps one connection."""

    def __init__(self, gw):
        self.gw, self.connection = gw, http.client.HTTPConnection("127.0.0.1", gw.port, timeout=60)

    def call(self, method, params=None, meta=META):
        params = {**(params or {}), **({"_meta": meta} if meta else {})}
        name = params.get("name")
        self.connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), {
            **BOTH, "Content-Type": "application/json", "Authorization": f"Bearer {self.gw.key}", "Mcp-Method": method,
            "MCP-Protocol-Version": "2026-07-28", **({"Mcp-Name": name} if name else {})})
        response = self.connection.getresponse()
        return response.status, response.read().decode()


def test_a_request_says_all_there_is_to_know(gateway, processes):
    """P-044: nothing of an earlier request on the connection counts for a later one, and no list depends on one."""
    gw, server = start(gateway, processes, "modern")
    client = OneConnection(gw)
    lists = {client.call("tools/list")[1]}
    rich = {VERSION: "2026-07-28", NAMESPACE + "clientInfo": {"name": "rich", "version": "1"}, NAMESPACE + "logLevel": "debug",
            CAPABILITIES: {"sampling": {}, "roots": {}, "elicitation": {"form": {}, "url": {}}}}
    for meta in (rich, META):
        status, _ = client.call("tools/call", {"name": "up__echo", "arguments": {}}, meta)
        assert status == 200
        lists.add(client.call("tools/list", None, meta)[1])
    assert len(lists) == 1
    first, second = [s["message"]["params"]["_meta"] for s in server.seen("tools/call")]
    assert first[CAPABILITIES] == rich[CAPABILITIES] and first[NAMESPACE + "clientInfo"]["name"] == "rich"
    assert second[CAPABILITIES] == {} and second[NAMESPACE + "clientInfo"]["name"] != "rich"
    assert NAMESPACE + "logLevel" not in second
    status, body = client.call("tools/list", None, None)
    assert (status, json.loads(body)["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_unknown_extensions_are_no_obstacle(gateway, processes, era):
    """P-048, P-308: a client's own extension changes nothing and is not promised to an upstream in its name."""
    gw, server = start(gateway, processes, era, capabilities={"extensions": {"com.example/theirs": {"a": 1}}})
    novel = {CAPABILITIES: {"extensions": {"com.example/novel": {"x": 1}}, "experimental": {"com.example/odd": {}}}}
    answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "core"}}, meta=novel).message
    assert text_of(answer) == "core" and answer["result"]["resultType"] == "complete"
    session = gw.session(capabilities={"experimental": {"com.example/odd": {}}})
    assert text_of(session.call("tools/call", {"name": "up__echo", "arguments": {"text": "old"}}).message) == "old"
    assert "com.example" not in json.dumps([s["message"] for s in server.seen()])


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_every_modern_result_says_what_it_is(gateway, processes, era):
    """P-046, P-085, P-086, P-440: resultType and the gateway's name on each, caching hints on six of them and on no other."""
    gw, _ = start(gateway, processes, era, prompts=["p"], resources=["note:a"], templates=["note:{x}"])
    calls = {"server/discover": {}, "tools/list": {}, "prompts/list": {}, "resources/list": {}, "resources/templates/list": {},
             "resources/read": {"uri": "gatespan+note:up/a"}, "tools/call": {"name": "up__echo", "arguments": {}},
             "prompts/get": {"name": "up__p"},
             "completion/complete": {"ref": {"type": "ref/prompt", "name": "up__p"}, "argument": {"name": "a", "value": ""}}}
    for method, params in calls.items():
        result = gw.modern(method, params).message["result"]
        assert result["resultType"] == "complete", method
        assert result["_meta"][NAMESPACE + "serverInfo"]["name"] == "gatespan", (method, result)
        cached = method.endswith("/list") or method in ("server/discover", "resources/read")
        if era == "legacy":  # the modern fixture gives hints everywhere, and what is not ours to know passes (P-011)
            assert ("ttlMs" in result, "cacheScope" in result) == (cached, cached), (method, result)
        if cached:
            assert type(result["ttlMs"]) is int and result["ttlMs"] >= 0 and result["cacheScope"] in ("public", "private")


def test_modern_streams_cannot_be_resumed(shared):
    """P-163, P-161: no event ids, no retry; notifications of the request, one response, the end."""
    answer = shared.modern("tools/call", {"name": "child__progress", "arguments": {}}, meta={"progressToken": 1},
                           headers={"Last-Event-ID": "1", "Mcp-Session-Id": "x"})
    lines = answer.body.decode().splitlines()
    assert answer.headers["content-type"].startswith("text/event-stream") and "mcp-session-id" not in answer.headers
    assert not [l for l in lines if l.startswith(("id:", "retry:"))]
    *told, last = answer.events()
    assert all("id" not in t for t in told) and len(told) == 3 and "result" in last


# ---- streams ---------------------------------------------------------------------------------------------

def test_each_message_is_on_one_stream(shared):
    """P-143, P-153: calls of one session at the same time; each stream carries what belongs to its call and ends with
    the response; the GET stream carries none of it."""
    session = shared.session()
    with get_stream(shared, session) as other:
        def call(number):
            body = {"name": "child__progress", "arguments": {}, "_meta": {"progressToken": number}}
            return session.call("tools/call", body, request_id=1000 + number)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(call, range(1, 13)))
        for number, answer in enumerate(answers, 1):
            *told, last = answer.events()
            assert [t["params"]["progressToken"] for t in told] == [number] * 3
            assert last["id"] == 1000 + number and "result" in last
        assert shared.request("DELETE", "/mcp", headers=session.headers).status == 200
        assert other.rest() == []


def test_posts_of_one_session_run_side_by_side(gateway, processes):
    """P-153: a slow call does not hold the next one up."""
    gw, server = start(gateway, processes)
    session = gw.session()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(session.call, "tools/call", {"name": "up__slow", "arguments": {"until": "released"}}, None, "slow")
        wait_for(server.busy, what="the slow call is upstream")
        assert text_of(session.call("tools/call", {"name": "up__echo", "arguments": {"text": "quick"}}).message) == "quick"
        assert not slow.done()
        server.release()
        assert slow.result().message["id"] == "slow"


def test_advertised_changes_can_be_listened_to(shared):
    """P-117: who says listChanged or subscribe acknowledges a listen for it."""
    has = shared.modern("server/discover").message["result"]["capabilities"]
    flags = {f"{feature}ListChanged": True for feature in ("tools", "prompts", "resources") if has[feature].get("listChanged")}
    assert flags
    with listen(shared, "all", **flags) as stream:
        acknowledged = stream.next()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"]["notifications"] == flags


def test_quiet_streams_are_kept_alive(shared):
    """P-116, P-167: a comment every 15 s, and headers that keep proxies from holding anything back."""
    session = shared.session()
    streams = [get_stream(shared, session), listen(shared, "quiet", toolsListChanged=True)]
    streams[1].next()

    def comment(stream):
        assert stream.response.headers["x-accel-buffering"] == "no" and stream.response.headers["cache-control"] == "no-cache"
        for line in stream.response:
            if line.startswith(b":") and b"stream open" not in line:
                return line
        return None

    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(comment, streams):
            assert line and line.startswith(b":")
    for stream in streams:
        stream.close()


def test_an_upstream_that_goes_does_not_end_a_listen(gateway, processes):
    """P-620: one listen for all upstreams, acknowledged before anything else and whatever they do; those that come
    later join it."""
    one = http_server(processes)
    port = one.port
    gw = gateway({"builtins": [], "upstreams": {
        "one": {"url": one.url, "restart_backoff": "50ms", "restart_backoff_max": "200ms"}, "two": fixture_server("modern"),
        "mute": fixture_server("mute")}})
    gw.wait_ready("one", "two")
    with listen(gw, "l", toolsListChanged=True) as stream:
        assert stream.next()["method"] == "notifications/subscriptions/acknowledged"
        one.process.kill()
        one.process.wait()
        gw.call_tool("two__change")
        assert stream.next()["method"] == "notifications/tools/list_changed"
        http_server(processes, port, tools=["echo", "later"])
        assert stream.next()["method"] == "notifications/tools/list_changed"
        wait_for(lambda: "one__later" in gw.tools(), what="what came later")


# ---- what is minted --------------------------------------------------------------------------------------

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
LABEL = r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
GRAMMAR = re.compile(rf"^(?:(?P<prefix>{LABEL}(?:\.{LABEL})*)/)?(?P<name>{NAME})$")
OF_THE_SPECIFICATION = {NAMESPACE + n for n in ("serverInfo", "subscriptionId", "related-task", "protocolVersion", "clientInfo",
                                                "clientCapabilities", "logLevel")} | {"progressToken", "traceparent", "tracestate",
                                                                                      "baggage"}


def meta_keys(value):
    if isinstance(value, dict):
        yield from value.get("_meta", {}) if isinstance(value.get("_meta"), dict) else ()
        for member in value.values():
            yield from meta_keys(member)
    elif isinstance(value, list):
        for member in value:
            yield from meta_keys(member)


def test_meta_keys_follow_the_grammar(shared):
    """P-014: of all that is answered and all that goes upstream; none of ours in the specification's name space."""
    said = [shared.modern("server/discover"), shared.modern("tools/list"), shared.modern("resources/list"),
            shared.modern("tools/call", {"name": "up__echo", "arguments": {}}),
            shared.modern("tools/call", {"name": "child__progress", "arguments": {}}, meta={"progressToken": 1}),
            shared.session().call("tools/list"), shared.session().call("tools/call", {"name": "up__echo"})]
    messages = [m for a in said for m in (a.events() if "event-stream" in a.headers["content-type"] else [a.json])]
    messages += [s["message"] for s in shared.server.seen()]
    keys = set(meta_keys(messages))
    assert NAMESPACE + "serverInfo" in keys
    for key in keys - OF_THE_SPECIFICATION:
        match = GRAMMAR.match(key)
        assert match and match["prefix"], key
        labels = match["prefix"].split(".")
        assert len(labels) < 2 or labels[1] not in ("mcp", "modelcontextprotocol"), key


# ---- content ---------------------------------------------------------------------------------------------

NOTED = {"annotations": {"audience": ["user"], "priority": 0.5, "lastModified": "2025-01-01T00:00:00Z"}}
CONTENT = [{"type": "text", "text": "t", **NOTED}, {"type": "image", "data": "aGk=", "mimeType": "image/png"},
           {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
           {"type": "resource", "resource": {"uri": "https://x.example/a", "text": "embedded"}},
           {"type": "resource", "resource": {"uri": "https://x.example/b", "blob": "aGk="}},
           {"type": "resource_link", "uri": "https://x.example/c", "name": "linked"}]


def test_kinds_of_content(gateway, processes):
    """P-194: what a revision knows reaches it whole; of the rest something that it knows, nothing of a kind it does not."""
    gw, server = start(gateway, processes)
    body = json.dumps({"jsonrpc": "2.0", "id": "ID", "result": {"content": CONTENT}}).replace('"ID"', "ID")
    server.behave(faults={"tools/call": {"kind": "raw", "body": body}})

    def seen_by(version):
        if version == "2026-07-28":
            return gw.modern("tools/call", {"name": "up__echo", "arguments": {}}).message["result"]["content"]
        return gw.session(version).result("tools/call", {"name": "up__echo"})["content"]

    assert seen_by("2026-07-28") == CONTENT == seen_by("2025-11-25")
    assert seen_by("2025-06-18") == CONTENT
    kinds = {"2024-11-05": {"text", "image", "resource"}, "2025-03-26": {"text", "image", "resource", "audio"}}
    for version, known in kinds.items():
        got = seen_by(version)
        assert {c["type"] for c in got} == known, version
        assert len(got) == len(CONTENT) and "https://x.example/c" in got[5]["text"]
        assert got[1] == CONTENT[1] and got[3:5] == CONTENT[3:5]


ICONS = [{"src": "data:image/png;base64,aGk=", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}]


def test_members_of_items_by_revision(gateway, processes):
    """P-214, P-280: title since 2025-06-18, icons since 2025-11-25, size and annotations always; nothing is fetched."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        icons = [*ICONS, {"src": f"http://127.0.0.1:{nobody.getsockname()[1]}/icon.png"}]
        item = {"name": "n", "title": "T", "icons": icons, "description": "d"}
        gw, _ = start(gateway, processes, upstream={"rewrite_uris": False}, tools=[{**item, "inputSchema": {"type": "object"}}],
                      prompts=[item], resources=[{**item, "uri": "https://x.example/a", "size": 7, **NOTED}],
                      templates=[{**item, "uriTemplate": "https://x.example/{a}"}])
        lists = [("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources"),
                 ("resources/templates/list", "resourceTemplates")]
        for version in [*LEGACY, "2026-07-28"]:
            session = gw.session(version) if version in LEGACY else None
            for method, member in lists:
                result = session.result(method) if session else gw.modern(method).message["result"]
                (got,) = result[member]
                assert got["description"] == "d"
                assert got.get("title") == ("T" if version >= "2025-06-18" else None), (version, method)
                assert got.get("icons") == (icons if version >= "2025-11-25" else None), (version, method)
                if member == "resources":
                    assert got["size"] == 7 and got["annotations"]["priority"] == 0.5
        nobody.settimeout(0.2)
        with pytest.raises(TimeoutError):
            nobody.accept()


def test_schemas_travel_whole_and_are_not_fetched(gateway, processes):
    """P-198, P-199: every keyword as it was; an address in a `$ref` is text."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}/schema.json"
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": away, "type": "object",
                  "$defs": {"a": {"$anchor": "here", "type": "string"}}, "properties": {"a": {"$ref": "#here"}, "b": {"$ref": away}},
                  "allOf": [{"anyOf": [{"required": ["a"]}]}], "if": {"required": ["b"]}, "then": {"minProperties": 2},
                  "else": {"not": {"required": ["c"]}}, "additionalProperties": False, "x-own": {"kept": [1.50, None]}}
        gw, _ = start(gateway, processes, tools=[{"name": "t", "inputSchema": schema}])
        for tools in (gw.modern("tools/list").message["result"]["tools"], gw.session().result("tools/list")["tools"]):
            assert tools[0]["inputSchema"] == schema
        assert text_of(gw.modern("tools/call", {"name": "up__t", "arguments": {"text": "x"}}).message) == "x"
        nobody.settimeout(0.2)
        with pytest.raises(TimeoutError):
            nobody.accept()


# ---- completion ------------------------------------------------------------------------------------------

def test_completion_with_its_context(gateway, processes):
    """P-221: prompts and resources by the names that the client knows; argument and context reach the server as they are."""
    gw, server = start(gateway, processes, prompts=["p"], templates=["note:{x}"])
    (template,) = gw.modern("resources/templates/list").message["result"]["resourceTemplates"]
    asked = [({"type": "ref/prompt", "name": "up__p"}, {"type": "ref/prompt", "name": "p"}),
             ({"type": "ref/resource", "uri": template["uriTemplate"]}, {"type": "ref/resource", "uri": "note:{x}"})]
    rest = {"argument": {"name": "x", "value": "va"}, "context": {"arguments": {"y": "chosen"}}}
    for shown, own in asked:
        for call in (lambda p: gw.modern("completion/complete", p, name="").message["result"],
                     lambda p: gw.session("2025-06-18").result("completion/complete", p)):
            completion = call({"ref": shown, **rest})["completion"]
            assert completion["values"] == [own.get("name") or own["uri"]]
            params = server.seen("completion/complete")[-1]["message"]["params"]
            params.pop("_meta", None)
            assert params == {"ref": own, **rest}


@pytest.mark.parametrize("revision,knows", [("2024-11-05", False), ("2025-03-26", False), ("2025-06-18", True)])
def test_completion_without_the_context_that_an_old_server_does_not_know(gateway, processes, revision, knows):
    """P-221: context came with 2025-06-18; wherever it stands, the rest reaches an older server as it is."""
    gw, server = start(gateway, processes, prompts=["p"], revision=revision)
    ref, rest = {"type": "ref/prompt", "name": "up__p"}, {"argument": {"name": "x", "value": "va"}, "more": 1}
    context = {"context": {"arguments": {"y": "chosen"}}}
    for params in ({"ref": ref, **rest, **context}, {**context, "ref": ref, **rest}, {"ref": ref, **context, **rest}):
        for call in (lambda p: gw.modern("completion/complete", p, name="").message["result"],
                     lambda p: gw.session().result("completion/complete", p),
                     lambda p: gw.session().result("completion/complete", {"_meta": {"progressToken": 1}, **p})):
            assert call(params)["completion"]["values"] == ["p"]
            came = server.seen("completion/complete")[-1]["message"]["params"]
            came.pop("_meta", None)
            assert came == {"ref": {"type": "ref/prompt", "name": "p"}, **rest, **(context if knows else {})}


def test_completion_of_what_is_not_there(gateway, processes):
    """P-222: -32602 for a reference that nobody has, -32601 where nobody completes; the upstream is not asked."""
    gw, server = start(gateway, processes, prompts=["p"])
    for ref in ({"type": "ref/prompt", "name": "p"}, {"type": "ref/prompt", "name": "up__q"}, {"type": "ref/resource", "uri": "note:x"},
                {"type": "ref/other", "name": "up__p"}, {"type": "ref/prompt"}, {}, None):
        params = {"argument": {"name": "x", "value": ""}, **({} if ref is None else {"ref": ref})}
        assert gw.modern("completion/complete", params, name="").message["error"]["code"] == -32602, ref
        assert gw.session().call("completion/complete", params).message["error"]["code"] == -32602, ref
    assert not server.seen("completion/complete")
    bare, _ = start(gateway, processes)
    params = {"ref": {"type": "ref/prompt", "name": "up__p"}, "argument": {"name": "x", "value": ""}}
    assert error_of(bare.modern("completion/complete", params, name="")) == (404, -32601)
    assert error_of(bare.session().call("completion/complete", params)) == (200, -32601)


# ---- resources -------------------------------------------------------------------------------------------

def test_uris_are_checked_and_https_is_left_alone(gateway, processes, tmp_path):
    """P-213, P-637: a client may fetch https by itself, so it stays what it is; file URIs lead nowhere but below a root."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "in.txt").write_text("inside")
    (tmp_path / "out.txt").write_text("outside")
    (root / "link").symlink_to(tmp_path / "out.txt")
    server = http_server(processes, resources=["https://x.example/a?b=c", "note:a"])
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}, "files": {
        "builtin": "filesystem", "options": {"root_path": str(root), "allowed_operations": ["read", "list"]}}}})
    gw.wait_ready("files")
    wait_for(lambda: gw.upstream("up")["state"] == "ready", what="up")
    uris = wait_for(lambda: (u := [r["uri"] for r in gw.modern("resources/list").message["result"]["resources"]])
                    and len(u) >= 3 and u, what="all listed")
    assert "https://x.example/a?b=c" in uris and "gatespan+note:up/a" in uris
    inside = "gatespan+file://files//root/"
    assert gw.modern("resources/read", {"uri": inside + "in.txt"}).message["result"]["contents"][0]["text"] == "inside"
    for path in ("../out.txt", "%2e%2e/out.txt", "..%2fout.txt", "x/../../out.txt", "link", "/etc/passwd", "%00", "in.txt%00.md"):
        message = gw.modern("resources/read", {"uri": inside + path}).message
        assert message.get("error", {}).get("code") == -32602, (path, message)
        assert "outside" not in json.dumps(message)

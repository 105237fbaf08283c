"""The client face, rule by rule from the text of PROTOCOL: what servers see of us, and what we make of servers that
keep to the rules and of those that do not."""
import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Stream, fixture_server, http_server, wait_for

NAMESPACE = "io.modelcontextprotocol/"
VERSION, CAPABILITIES, IDENTITY = (NAMESPACE + n for n in ("protocolVersion", "clientCapabilities", "clientInfo"))
META = {VERSION: "2026-07-28", CAPABILITIES: {}}
BOTH = {"Accept": "application/json, text/event-stream"}
FORM = {"method": "elicitation/create", "params": {
    "message": "How much?", "requestedSchema": {"type": "object", "properties": {"n": {"type": "number"}}}}}
URL = {"method": "elicitation/create", "params": {
    "mode": "url", "url": "https://example.org/x", "message": "Open this", "elicitationId": "theirs"}}
SAMPLE = {"method": "sampling/createMessage", "params": {
    "messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 5}}
SAMPLED = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "4"}}
ALL = {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}


def text_of(message):
    assert "result" in message, message
    return message["result"]["content"][0]["text"]


def start(gateway, processes, era="legacy", upstream=None, config=None, wait=True, **behaviour):
    server = http_server(processes, era=era, **{"tools": ["echo", "ask", "inputs", "slow"], **behaviour})
    gw = gateway({"builtins": [], "upstreams": {"up": {
        "url": server.url, "restart_backoff": "50ms", "restart_backoff_max": "200ms", **(upstream or {})}}, **(config or {})})
    return (gw.wait_ready("up") if wait else gw), server


def nothing_left(gw):
    """Nothing parked, asked, open or in flight (issue: bad input)."""
    for name in ("gatespan_exchanges_in_flight", "gatespan_questions_open", "gatespan_parked"):
        wait_for(lambda n=name: gw.metric(n) == 0, what=f"{name} is 0")


def requests_of(server):
    """What came with an id and a method, in order."""
    return [s for s in server.seen() if "id" in s["message"] and s["message"].get("method")]


def state_of(gw, word):
    return wait_for(lambda: (u := gw.upstream("up")) and u["state"] == word and u, what=f"the upstream is {word}")


def raw(body, **more):
    return {"kind": "raw", "body": json.dumps(body).replace('"ID"', "ID"), **more}


def events(*messages):
    return {"kind": "raw", "type": "text/event-stream",
            "body": "".join(f"data: {json.dumps(m)}\n\n" for m in messages).replace('"ID"', "ID")}


def answer(text="done"):
    return {"jsonrpc": "2.0", "id": "ID", "result": {"content": [{"type": "text", "text": text}]}}


# ---- the handshake with a legacy server -----------------------------------------------------------------

def test_a_session_is_opened_as_the_text_says(gateway, processes):
    """P-030, P-032, P-033: our newest legacy version, capabilities and a name; then `initialized`; only then the rest."""
    gw, server = start(gateway, processes)
    first, *_ = server.seen("initialize")
    params = first["message"]["params"]
    assert params["protocolVersion"] == "2025-11-25" and isinstance(params["capabilities"], dict)
    assert params["clientInfo"]["name"] == "gatespan" and params["clientInfo"]["version"]
    assert "mcp-session-id" not in first["headers"]
    methods = [s["method"] for s in server.seen()]
    assert methods[:4] == ["server/discover", "initialize", "notifications/initialized", "tools/list"]
    assert all(s["headers"]["mcp-session-id"].startswith("session-") and s["headers"]["mcp-protocol-version"] == "2025-11-25"
               for s in server.seen("tools/list"))


def test_a_version_that_nobody_knows_ends_it(gateway, processes):
    """P-032: nothing more is said to such a server, the reason names what it offered."""
    gw, server = start(gateway, processes, wait=False, revision="1999-01-01")
    assert "1999-01-01" in state_of(gw, "failed")["reason"]
    assert {s["method"] for s in server.seen()} <= {"server/discover", "initialize"}


def test_initialize_is_never_cancelled(gateway, processes):
    """P-036: it times out, and the server hears no word of that."""
    gw, server = start(gateway, processes, wait=False, upstream={"timeout": "300ms"}, faults={"initialize": {"kind": "nothing"}})
    state_of(gw, "failed")
    wait_for(lambda: len(server.seen("initialize")) > 1, what="another try")
    assert not server.seen("notifications/cancelled")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_only_what_was_negotiated_is_used(gateway, processes, era):
    """P-035: a server with tools alone is asked for tools alone; of the rest the client is told that there is none."""
    gw, server = start(gateway, processes, era)
    session = gw.session()
    for method, params in (("prompts/list", {}), ("resources/list", {}), ("resources/templates/list", {}),
                           ("prompts/get", {"name": "up__x"}), ("resources/read", {"uri": "a:b"}),
                           ("resources/subscribe", {"uri": "a:b"}),
                           ("completion/complete", {"ref": {"type": "ref/prompt", "name": "up__x"}, "argument": {}})):
        assert session.call(method, params).message["error"]["code"] == -32601, method
    text_of(gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}).message)
    handshake = {"server/discover", "initialize", "notifications/initialized", "subscriptions/listen", "GET"}
    assert {s["method"] for s in server.seen()} - handshake == {"tools/list", "tools/call"}


def test_ids_are_used_once_in_a_session(gateway, processes):
    """P-002, P-003: strings or integers, none twice, whoever asks and whatever comes between."""
    gw, server = start(gateway, processes, config={"workers": 2})
    with ThreadPoolExecutor(8) as pool:
        for i, message in enumerate(pool.map(lambda i: gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": str(i)}},
                                                                 request_id=1).message, range(40))):
            assert text_of(message) == str(i)
    server.behave(tools=["echo", "more"])
    wait_for(lambda: server.push("notifications/tools/list_changed") and "up__more" in gw.tools(), what="listed anew")
    sent = {}
    for s in requests_of(server):
        number = s["message"]["id"]
        assert isinstance(number, (str, int)) and not isinstance(number, bool)
        sent.setdefault(s["headers"].get("mcp-session-id"), []).append(number)
    assert sum(map(len, sent.values())) > 40
    for session, ids in sent.items():
        if session:
            opened = [1 if s["message"]["id"] == 1 else s["message"]["id"] for s in server.seen("initialize")]
            assert len(ids + opened[:1]) == len(set(ids + opened[:1])), (session, ids)


def test_sessions_are_ended_when_the_gateway_goes(gateway, processes):
    """P-037, P-147: those that the server gave out are handed back."""
    gw, server = start(gateway, processes)
    text_of(gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}).message)
    given = {s["headers"]["mcp-session-id"] for s in server.seen() if "mcp-session-id" in s["headers"]}
    assert given
    assert gw.stop() == 0
    assert {s["headers"]["mcp-session-id"] for s in server.seen("DELETE")} == given


# ---- requests to a modern server -------------------------------------------------------------------------

def test_every_modern_request_describes_itself(gateway, processes):
    """P-040, P-402: version, capabilities and name in `_meta`, the headers that belong to it, and no session."""
    gw, server = start(gateway, processes, "modern", prompts=["p"], resources=["x:a"])
    gw.modern("prompts/get", {"name": "up__p"})
    gw.modern("resources/read", {"uri": "gatespan+x://up/a"})
    gw.session().call("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
    wait_for(lambda: server.seen("subscriptions/listen"), what="the gateway listens")
    seen = requests_of(server)
    assert {"server/discover", "tools/list", "prompts/get", "resources/read", "tools/call"} <= {s["method"] for s in seen}
    named = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
    for s in seen:
        headers, params = s["headers"], s["message"]["params"]
        meta = params["_meta"]
        assert meta[VERSION] == "2026-07-28" == headers["mcp-protocol-version"], s["method"]
        assert isinstance(meta[CAPABILITIES], dict) and meta[IDENTITY]["name"] and meta[IDENTITY]["version"]
        assert headers["mcp-method"] == s["method"] and "mcp-session-id" not in headers
        assert headers["content-type"] == "application/json"
        assert {"application/json", "text/event-stream"} <= {a.strip() for a in headers["accept"].split(",")}
        assert headers.get("mcp-name") == (params[named[s["method"]]] if s["method"] in named else None)


@pytest.mark.parametrize("code,status", [(-32022, 400), (-32020, 400), (-32021, 400)])
def test_a_modern_refusal_is_no_reason_to_initialize(gateway, processes, code, status):
    """P-043: such a server is not of the old kind; the reason says what it wants."""
    data = {"supported": ["2031-01-01"], "requested": "2026-07-28"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "not this one", "data": data}})
    gw, server = start(gateway, processes, wait=False, faults={
        "server/discover": {"kind": "status", "status": status, "type": "application/json", "body": body}})
    assert "not this one" in state_of(gw, "failed")["reason"]
    wait_for(lambda: len(server.seen("server/discover")) > 1, what="another try")
    assert {s["method"] for s in server.seen()} == {"server/discover"}


PLAIN = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}
OLD_KINDS = [(400, "no session", "text/plain"), (404, "", "text/plain"), (405, "", "text/plain"),
             (400, json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32000, "message": "Bad Request"}}), "application/json"),
             (400, json.dumps({"error": "x"}), "application/json"), (200, json.dumps(PLAIN), "application/json")]


@pytest.mark.parametrize("status,body,kind", OLD_KINDS, ids=[f"{s}-{b[:9]}" for s, b, _ in OLD_KINDS])
def test_other_refusals_mean_an_older_server(gateway, processes, status, body, kind):
    """P-059, P-061, P-020: then it is initialized; until the era is known nothing is asked that could do anything."""
    gw, server = start(gateway, processes, faults={
        "server/discover": {"kind": "status", "status": status, "type": kind, "body": body}})
    assert gw.upstream("up")["revision"] == "2025-11-25"
    methods = [s["method"] for s in server.seen()]
    opened = methods.index("notifications/initialized")
    assert set(methods[:opened]) == {"server/discover", "initialize"}


def test_who_is_modern_is_not_initialized(gateway, processes):
    """P-059: the answer to server/discover says so."""
    gw, server = start(gateway, processes, "both")
    assert gw.upstream("up")["revision"] == "2026-07-28"
    assert not server.seen("initialize")


def test_a_name_in_the_body_is_read_too(gateway, processes):
    """P-707: where older drafts had it."""
    about = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
             "serverInfo": {"name": "elder", "version": "1"}, "ttlMs": 0, "cacheScope": "private"}
    gw, _ = start(gateway, processes, "modern", faults={"server/discover": raw({"jsonrpc": "2.0", "id": "ID", "result": about})})
    assert gw.upstream("up")["revision"] == "2026-07-28"
    kept = gw.data / "catalogue"
    wait_for(lambda: kept.is_dir() and any("elder" in f.read_text() for f in kept.iterdir()), what="it is kept with the lists")


# ---- answers ------------------------------------------------------------------------------------------------

def test_lists_are_kept_and_a_change_is_seen_at_once(gateway, processes):
    """P-087, P-419: whoever lists, the server is not asked again until it says that something changed."""
    gw, server = start(gateway, processes, "modern", prompts=["p"])
    twice = lambda: len(server.seen("tools/list")) == 2 and len(server.seen("prompts/list")) == 2
    wait_for(twice, what="the lists, and again when the stream of changes is open (P-115)")
    for _ in range(5):
        gw.tools()
        gw.session().result("prompts/list")
    assert twice()
    server.behave(tools=["echo", "fresh"])
    wait_for(lambda: server.push("notifications/tools/list_changed"), what="the gateway's stream")
    wait_for(lambda: "up__fresh" in gw.tools(), what="the new list")
    server.behave(faults={"tools/list": {"kind": "status", "status": 500}})
    before = len(server.seen("tools/list"))
    server.push("notifications/tools/list_changed")
    wait_for(lambda: len(server.seen("tools/list")) > before, what="it is asked")
    assert "up__fresh" in gw.tools()  # stale is better than nothing


@pytest.mark.parametrize("method,params", [("tools/call", {"name": "up__echo", "arguments": {}}), ("prompts/get", {"name": "up__p"}),
                                           ("resources/read", {"uri": "gatespan+x://up/a"})])
def test_what_is_no_list_is_asked_each_time(gateway, processes, method, params):
    """P-088: of calls and reads nothing is kept, whatever ttl the server gives and whoever asks."""
    gw, server = start(gateway, processes, "modern", prompts=["p"], resources=["x:a"])
    result = {"content": [], "messages": [], "contents": [{"uri": "x:a", "text": "t"}], "resultType": "complete",
              "ttlMs": 3600000, "cacheScope": "public"}
    server.behave(faults={method: raw({"jsonrpc": "2.0", "id": "ID", "result": result})})
    for _ in range(3):
        assert "result" in gw.modern(method, params).message
    assert "result" in gw.session().call(method, params).message
    assert len(server.seen(method)) == 4


def test_a_request_on_a_modern_stream_is_a_violation(gateway, processes):
    """P-164: it is logged, never answered, never shown to the client; the call goes on."""
    gw, server = start(gateway, processes, "modern")
    server.behave(faults={"tools/call": events({"jsonrpc": "2.0", "id": "q", **SAMPLE}, answer())})
    meta = {CAPABILITIES: ALL}
    assert text_of(gw.modern("tools/call", {"name": "up__echo", "arguments": {}}, meta=meta).message) == "done"
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__echo", "arguments": {}}) as stream:
        (message,) = stream.rest()
    assert text_of(message) == "done"
    assert [s["message"] for s in server.seen() if not s["message"].get("method")] == []
    gw.wait_log("modern server asks on the wire")
    nothing_left(gw)


def test_closing_is_the_only_cancellation_of_a_modern_server(gateway, processes):
    """P-244, P-462: the stream upstream is closed, and nothing else is said."""
    gw, server = start(gateway, processes, "modern", upstream={"timeout": "60s"})
    server.behave(faults={"tools/call": {"kind": "nothing"}})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "up__echo", "arguments": {}, "_meta": META}}
    head = {**BOTH, "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call",
            "Mcp-Name": "up__echo", "Authorization": f"Bearer {gw.key}"}
    connection = http.client.HTTPConnection("127.0.0.1", gw.port)
    connection.request("POST", "/mcp", json.dumps(body), head)
    wait_for(lambda: server.seen("tools/call"), what="the call is upstream")
    assert not server.seen("closed")
    connection.close()
    wait_for(lambda: server.seen("closed"), what="the stream upstream is closed")
    assert not server.seen("notifications/cancelled")
    nothing_left(gw)


@pytest.mark.parametrize("how", ["cancelled", "timed-out"])
def test_a_legacy_server_that_said_nothing_yet_hears_of_it(gateway, processes, how):
    """P-243: it may be at work, whether the head of its answer came or not; told once, under the id that it knows."""
    gw, server = start(gateway, processes, upstream={"timeout": "60s" if how == "cancelled" else "1s"})
    server.behave(faults={"tools/call": {"kind": "nothing"}})
    session = gw.session()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "tools/call", {"name": "up__echo"}, None, "c")
        wait_for(lambda: server.seen("tools/call"), what="the call is upstream")
        if how == "cancelled":
            session.notify("notifications/cancelled", {"requestId": "c"})
        call.result(60)
    wait_for(lambda: server.seen("notifications/cancelled"), what="the upstream is told")
    (told,), (asked,) = server.seen("notifications/cancelled"), server.seen("tools/call")
    assert told["message"]["params"]["requestId"] == asked["message"]["id"]
    nothing_left(gw)


def test_a_legacy_cancellation_closes_the_stream_of_a_modern_server(gateway, processes):
    """P-414, P-244: the same for a client that says it in words."""
    gw, server = start(gateway, processes, "modern", upstream={"timeout": "60s"})
    server.behave(faults={"tools/call": {"kind": "nothing"}})
    session = gw.session()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "tools/call", {"name": "up__echo"}, None, "c")
        wait_for(lambda: server.seen("tools/call"), what="the call is upstream")
        session.notify("notifications/cancelled", {"requestId": "c"})
        wait_for(lambda: server.seen("closed"), what="the stream upstream is closed")
        call.result(60)
    assert not server.seen("notifications/cancelled")
    nothing_left(gw)


def test_the_level_of_a_session_goes_with_each_request(gateway, processes):
    """P-411: setLevel becomes logLevel; what the server then says on that stream is the client's."""
    gw, server = start(gateway, processes, "modern", capabilities={"logging": {}})
    session = gw.session()
    assert session.result("logging/setLevel", {"level": "debug"}) == {}
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "debug", "data": "detail"}}
    server.behave(faults={"tools/call": events(note, answer())})
    told, last = session.call("tools/call", {"name": "up__echo", "arguments": {}}).events()
    assert told["params"]["data"] == "detail" and told["params"]["level"] == "debug" and text_of(last) == "done"
    assert server.seen("tools/call")[-1]["message"]["params"]["_meta"][NAMESPACE + "logLevel"] == "debug"
    session.result("logging/setLevel", {"level": "error"})
    (last,) = [session.call("tools/call", {"name": "up__echo", "arguments": {}}).message]
    assert text_of(last) == "done"
    assert server.seen("tools/call")[-1]["message"]["params"]["_meta"][NAMESPACE + "logLevel"] == "error"


@pytest.mark.parametrize("asked", [True, False], ids=["questions", "state-alone"])
def test_progress_grows_over_the_rounds(gateway, processes, asked):
    """P-413, P-240: a fresh token upstream in each round, one for the client, and no step back."""
    gw, server = start(gateway, processes, "modern")
    session = gw.session(capabilities=ALL if asked else {})
    rounds = [{"resultType": "input_required", "requestState": "s", **({"inputRequests": {"k": FORM}} if asked else {})}, answer()["result"]]

    def round_of(result, *steps):
        told = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "TOKEN", "progress": p}} for p in steps]
        fault = events(*told, {"jsonrpc": "2.0", "id": "ID", "result": result})
        return {**fault, "body": fault["body"].replace('"TOKEN"', "ID"), "times": 1}

    # the gateway's tokens are its ids, which ID stands for
    server.behave(faults={"tools/call": round_of(rounds[0], 10, 20)})
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {}, "_meta": {"progressToken": "mine"}}) as stream:
        steps = [stream.next(), stream.next()]
        if asked:
            question = stream.next()
            server.behave(faults={"tools/call": round_of(rounds[1], 5, 15, 30)})
            session.answer(question, {"action": "accept", "content": {"n": 1}})
        else:
            server.behave(faults={"tools/call": round_of(rounds[1], 5, 15, 30)})
        *more, last = stream.rest()
    told = [s["params"]["progress"] for s in steps + more]
    assert {s["params"]["progressToken"] for s in steps + more} == {"mine"}
    assert told[:2] == [10, 20] and told[-1] >= 30 and told == sorted(set(told)), told
    assert text_of(last) == "done"
    tokens = [s["message"]["params"]["_meta"]["progressToken"] for s in server.seen("tools/call")]
    assert len(set(tokens)) == 2


# ---- questions ------------------------------------------------------------------------------------------------

def test_a_client_that_refuses_sampling_does_not_retry(gateway, processes):
    """P-101: MRTR has no word for it; the server hears nothing more, and nothing waits."""
    gw, server = start(gateway, processes, "modern")
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": SAMPLE}}}) as stream:
        session.answer(stream.next(), error={"code": -1, "message": "no"})
        assert stream.next()["error"]["code"] == -1
    nothing_left(gw)
    meta = {CAPABILITIES: ALL}
    asked = gw.modern("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": SAMPLE}}}, meta=meta).message["result"]
    assert asked["resultType"] == "input_required"
    nothing_left(gw)
    assert len(server.seen("tools/call")) == 2


def test_a_mode_that_was_not_declared_is_a_wrong_parameter(gateway, processes):
    """P-275: -32602 from a client that takes forms, but opens no pages."""
    gw, server = start(gateway, processes)
    forms = {"elicitation": {"form": {}}}
    said = json.loads(text_of(gw.session(capabilities=forms).call(
        "tools/call", {"name": "up__ask", "arguments": {"questions": [URL]}}).message))
    assert said[0][0]["error"]["code"] == -32602
    said = json.loads(text_of(gw.modern("tools/call", {"name": "up__ask", "arguments": {"questions": [URL]}},
                                        meta={CAPABILITIES: forms}).message))
    assert said[0][0]["error"]["code"] == -32602
    nothing_left(gw)


def test_fractions_in_forms_are_fine(gateway, processes):
    """P-706, P-271: the schema files take whole numbers alone, by mistake."""
    for era, tool, arguments in (("legacy", "up__ask", {"questions": [FORM]}), ("modern", "up__inputs", {"requests": {"k": FORM}})):
        gw, _ = start(gateway, processes, era)
        session = gw.session(capabilities=ALL)
        with session.stream("tools/call", {"name": tool, "arguments": arguments}) as stream:
            session.answer(stream.next(), {"action": "accept", "content": {"n": 1.5}})
            assert '"n": 1.5' in text_of(stream.next())
        params = {"name": tool, "arguments": arguments}
        asked = gw.modern("tools/call", params, meta={CAPABILITIES: ALL}).message["result"]
        (key,) = asked["inputRequests"]
        params |= {"inputResponses": {key: {"action": "accept", "content": {"n": 2.25}}}, "requestState": asked["requestState"]}
        assert '"n": 2.25' in text_of(gw.modern("tools/call", params, meta={CAPABILITIES: ALL}).message)


def test_the_end_of_an_elicitation_is_told_under_its_own_name(gateway, processes):
    """P-272, P-612: the client knows the page by an id of ours; of ids that are nobody's it hears nothing."""
    gw, server = start(gateway, processes)
    complete = {"jsonrpc": "2.0", "method": "notifications/elicitation/complete"}
    server.behave(faults={"tools/call": events({"jsonrpc": "2.0", "id": "q", **URL},
                                               {**complete, "params": {"elicitationId": "of-nobody"}},
                                               {**complete, "params": {"elicitationId": "theirs"}}, answer())})
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__echo", "arguments": {}}) as stream:
        question, *told, last = stream.rest()
    minted = question["params"]["elicitationId"]
    assert minted != "theirs" and text_of(last) == "done"
    complete = [t for t in told if t["method"] == "notifications/elicitation/complete"]
    assert [t["params"]["elicitationId"] for t in complete] == [minted]
    older = gw.session("2025-06-18", capabilities={"elicitation": {}})
    assert text_of(older.call("tools/call", {"name": "up__echo", "arguments": {}}).message) == "done"


def test_a_parked_call_does_not_survive_its_process(gateway, processes):
    """P-473: -32602 after kill -9 and a new start with the same keys; the tool does not run a second time."""
    gw, server = start(gateway, processes)
    call, meta = {"name": "up__ask", "arguments": {"questions": [FORM]}}, {CAPABILITIES: ALL}
    asked = gw.modern("tools/call", call, meta=meta).message["result"]
    os.kill(gw.process.pid, signal.SIGKILL)
    gw.process.wait(60)
    gw.process.returncode = 0  # as this test wanted it
    again = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}}, data=gw.data).wait_ready("up")
    (key,) = asked["inputRequests"]
    error = again.modern("tools/call", {**call, "inputResponses": {key: {"action": "accept", "content": {"n": 1}}},
                                        "requestState": asked["requestState"]}, meta=meta).message["error"]
    assert error["code"] == -32602 and "again" in error["message"]
    assert len(server.seen("tools/call")) == 1
    nothing_left(again)


# ---- children -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["legacy", "modern"])
def test_a_new_child_is_listened_to_like_the_old_one(gateway, mode):
    """P-125: after its death it is started again and changes of its lists are heard."""
    gw = gateway({"builtins": [], "upstreams": {"up": fixture_server(mode, restart_backoff="50ms")}}).wait_ready("up")
    os.kill(int(text_of(gw.modern("tools/call", {"name": "up__pid", "arguments": {}}).message)), signal.SIGKILL)
    wait_for(lambda: gw.upstream("up")["restarts"] == 1 and gw.upstream("up")["state"] == "ready", what="restarted")
    assert "up__added" not in gw.tools()
    gw.call_tool("up__change")
    wait_for(lambda: "up__added" in gw.tools(), what="the change of the new child")


# ---- batches --------------------------------------------------------------------------------------------------

def test_a_batch_is_taken_apart(gateway, processes):
    """P-010, P-009: the server gets single calls, the client its answers together, with its own ids."""
    gw, server = start(gateway, processes, revision="2025-03-26")
    session = gw.session("2025-03-26")
    messages = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "up__echo", "arguments": {"text": str(n)}}}
                for n in (7, 8, 9)]
    answer = gw.request("POST", "/mcp", messages, session.headers)
    assert answer.status == 200 and {m["id"]: text_of(m) for m in answer.message} == {7: "7", 8: "8", 9: "9"}
    calls = server.seen("tools/call")
    assert len(calls) == 3 and len({c["message"]["id"] for c in calls}) == 3
    assert not [s for s in server.seen() if isinstance(s["message"], list)]


# ---- what cannot be carried -------------------------------------------------------------------------------------

def test_changed_roots_are_not_told_to_a_modern_server(gateway, processes):
    """P-478: not declared, so not sent; roots are read anew in each call instead. Legacy ones: test_upstream_sessions."""
    gw, server = start(gateway, processes, "modern")
    session = gw.session(capabilities={"roots": {"listChanged": True}})
    tool, arguments = "up__inputs", {"requests": {"k": {"method": "roots/list"}}}
    for folder in ("one", "two"):
        with session.stream("tools/call", {"name": tool, "arguments": arguments}) as stream:
            session.answer(stream.next(), {"roots": [{"uri": f"file:///{folder}"}]})
            assert f"file:///{folder}" in text_of(stream.next())
        assert session.notify("notifications/roots/list_changed").status == 202
    text_of(session.call("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}).message)
    assert not server.seen("notifications/roots/list_changed")
    declared = [s["message"]["params"].get("capabilities") or s["message"]["params"]["_meta"][CAPABILITIES]
                for s in requests_of(server) if s["method"] in ("initialize", "tools/call") and "_meta" in s["message"]["params"]
                or s["method"] == "initialize"]
    assert declared and all(d.get("roots", {}) == {} for d in declared), declared


def test_a_ping_of_a_server_is_answered_by_the_gateway(gateway, processes):
    """P-448, P-412: in the middle of a call; the client hears nothing of it, in neither era."""
    gw, _ = start(gateway, processes)
    call = {"name": "up__ask", "arguments": {"questions": [{"method": "ping"}]}}
    with gw.session(capabilities=ALL).stream("tools/call", call) as stream:
        (message,) = stream.rest()
    assert json.loads(text_of(message)) == [[{"result": {}}]]
    assert json.loads(text_of(gw.modern("tools/call", call, meta={CAPABILITIES: ALL}).message)) == [[{"result": {}}]]


@pytest.mark.parametrize("hints,most", [({}, 1), ({"destructiveHint": True}, 1), ({"idempotentHint": True}, 2), ({"readOnlyHint": True}, 2)])
def test_a_lost_stream_of_a_modern_server_is_an_error(gateway, processes, hints, most):
    """P-474, P-166: it cannot be resumed; what may have been done is not done again."""
    tool = {"name": "t", "inputSchema": {"type": "object"}, "annotations": hints}
    gw, server = start(gateway, processes, "modern", tools=[tool])
    server.behave(faults={"tools/call": {"kind": "half_event"}})
    session = gw.session()
    error = session.call("tools/call", {"name": "up__t", "arguments": {}}).message["error"]
    assert error["code"] == -32603 and error["data"]["gatespan"]["upstream"] == "up"
    assert 1 <= len(server.seen("tools/call")) <= most
    nothing_left(gw)


def test_logs_that_belong_to_no_call_are_not_passed_on(gateway, processes):
    """P-477, P-232: never on a listen, whatever level that asked for."""
    gw, server = start(gateway, processes)
    wait_for(lambda: server.push("notifications/unheard") > 0, what="the gateway's GET stream upstream")
    log = {"level": "emergency", "data": "of no call"}
    body = {"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
            "params": {"_meta": {**META, NAMESPACE + "logLevel": "debug"}, "notifications": {"toolsListChanged": True}}}
    head = {**BOTH, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    with Stream(gw, "POST", "/mcp", head, body=body) as stream:
        assert stream.next()["method"] == "notifications/subscriptions/acknowledged"
        server.push("notifications/message", **log)
        server.behave(tools=["echo", "later"])
        server.push("notifications/tools/list_changed")
        assert stream.next()["method"] == "notifications/tools/list_changed"

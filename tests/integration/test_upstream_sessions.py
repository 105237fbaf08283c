"""What our client face does on the sessions of legacy upstreams: log levels, questions and streams of their own, resumption."""
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import CLIENTS, Stream, fixture_server, free_port, http_server, wait_for

LEVEL = "io.modelcontextprotocol/logLevel"


def start(gateway, processes, upstream=None, config=None, **behaviour):
    server = http_server(processes, **{"tools": ["echo", "note", "ask"], **behaviour})
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, **(upstream or {})}}, **(config or {})})
    return gw.wait_ready("up"), server


def told(server):
    """Levels that each upstream session was told."""
    levels = {}
    for s in server.seen("logging/setLevel"):
        levels.setdefault(s["headers"]["mcp-session-id"], []).append(s["message"]["params"]["level"])
    return levels


def notes(events):
    return [e["params"]["level"] for e in events if e.get("method") == "notifications/message"]


def call_modern(gw, name, level=None, **arguments):
    meta = {LEVEL: level} if level else {}
    answer = gw.modern("tools/call", {"name": name, "arguments": arguments}, meta=meta)
    return answer.events() if answer.headers["content-type"].startswith("text/event-stream") else [answer.json]


def call_legacy(session, name, **arguments):
    with session.stream("tools/call", {"name": name, "arguments": arguments}) as stream:
        return stream.rest()


# ---- log levels (P-443) -------------------------------------------------------------------------------


def test_level_of_a_modern_caller_reaches_the_upstream_session(gateway, processes):
    """P-443: told before the call, once; a less verbose one changes nothing; nobody is given more than it asked for."""
    gw, server = start(gateway, processes)
    assert notes(call_modern(gw, "up__note")) == [] and told(server) == {}
    assert notes(call_modern(gw, "up__note", "info")) == ["info", "warning", "error"]
    assert notes(call_modern(gw, "up__note", "error")) == ["error"]
    assert list(told(server).values()) == [["info"]]
    assert notes(call_modern(gw, "up__note", "debug")) == ["debug", "info", "warning", "error"]
    assert notes(call_modern(gw, "up__note", "info")) == ["info", "warning", "error"]
    assert notes(call_modern(gw, "up__note")) == []
    assert list(told(server).values()) == [["info", "debug"]]


def test_level_that_a_legacy_client_sets_reaches_the_upstream_session(gateway, processes):
    """P-443: sessions that share an upstream session each get their own; who set none gets warnings (P-231)."""
    gw, server = start(gateway, processes)
    quiet, loud = gw.session(), gw.session()
    quiet.result("logging/setLevel", {"level": "alert"})
    assert told(server) == {}  # nothing is called yet
    assert notes(call_legacy(quiet, "up__note")) == []
    loud.result("logging/setLevel", {"level": "debug"})
    assert notes(call_legacy(loud, "up__note")) == ["debug", "info", "warning", "error"]
    assert notes(call_legacy(quiet, "up__note")) == []
    assert notes(call_legacy(gw.session(), "up__note")) == ["warning", "error"]
    assert list(told(server).values()) == [["warning", "debug"]]


def test_a_new_upstream_session_is_told_the_level_again(gateway, processes):
    """P-443 after P-441: a session that the server forgot had the level."""
    gw, server = start(gateway, processes)
    assert notes(call_modern(gw, "up__note", "info")) == ["info", "warning", "error"]
    server.behave(forget=True)
    assert notes(call_modern(gw, "up__note", "info")) == ["info", "warning", "error"]
    assert list(told(server).values()) == [["info"], ["info"]]


@pytest.mark.parametrize("fault", ["status", "close", "garbage", "html", "refusal"])
def test_a_server_that_refuses_levels_is_called_all_the_same(gateway, processes, fault):
    """P-443: a failure to set the level costs no call, and is not tried again and again."""
    how = {"status": {"kind": "status", "status": 500}, "refusal": {
        "kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no"}}'}}
    gw, server = start(gateway, processes, faults={"logging/setLevel": how.get(fault, {"kind": fault})})
    assert call_modern(gw, "up__note", "info")[-1]["result"]
    tried = len(server.seen("logging/setLevel"))  # twice where a connection was reused
    assert tried in (1, 2)
    for _ in range(3):
        assert call_modern(gw, "up__note", "info")[-1]["result"]
    assert len(server.seen("logging/setLevel")) == tried


def test_a_server_without_logging_is_told_no_level(gateway, processes):
    """P-180: setLevel belongs to the capability."""
    gw, server = start(gateway, processes, logging=False)
    assert call_modern(gw, "up__note", "debug")[-1]["result"]
    assert server.seen("logging/setLevel") == []


def test_level_reaches_a_child_process(gateway):
    """P-443 over stdio: before the call, and only when it is more than was told."""
    gw = gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy")}}).wait_ready("up")
    for level in ("info", "error", "debug", None, "info"):
        call_modern(gw, "up__echo", level, text="x")
    answer = call_modern(gw, "up__levels")[-1]
    assert json.loads(answer["result"]["content"][0]["text"]) == ["info", "debug"]
    session = gw.session()
    assert notes(call_legacy(session, "up__log")) == []
    session.result("logging/setLevel", {"level": "info"})
    assert notes(call_legacy(session, "up__log")) == ["info"]
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="exchanges_in_flight")


# ---- questions on a session's own stream (P-432) ------------------------------------------------------

FORM = {"method": "elicitation/create", "params": {
    "message": "Your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}
ROOTS = {"method": "roots/list"}
SAMPLE = {"method": "sampling/createMessage", "params": {
    "messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 5}}
ALL = {"roots": {}, "sampling": {"tools": {}, "context": {}}, "elicitation": {"form": {}, "url": {}}}
NAMED = {"action": "accept", "content": {"name": "Ada"}}
ANSWERS = {"elicitation/create": NAMED, "roots/list": {"roots": [{"uri": "file:///home"}]}, "sampling/createMessage": {
    "role": "assistant", "model": "m", "content": {"type": "text", "text": "4"}}}
CAPABLE = {"io.modelcontextprotocol/clientCapabilities": ALL}
PLACES = ["get", "json"]


def text_of(message):
    assert "result" in message, message
    return message["result"]["content"][0]["text"]


def said(message):
    return json.loads(text_of(message))


def nothing_left(gw):
    for name in ("gatespan_exchanges_in_flight", "gatespan_questions_open", "gatespan_parked"):
        wait_for(lambda n=name: gw.metric(n) == 0, what=f"{name} is 0")


def ask(gw, arguments, responses=None, state=None, meta=CAPABLE, **how):
    params = {"name": "up__ask", "arguments": arguments}
    if responses is not None:
        params |= {"inputResponses": responses, "requestState": state}
    return gw.modern("tools/call", params, meta=meta, **how).message


def rounds(gw, arguments):
    """A modern client that answers whatever it is asked; (methods asked, what the tool said)."""
    methods, message = [], ask(gw, arguments)
    assert "result" in message, message
    while message["result"].get("resultType") == "input_required":
        requests = message["result"]["inputRequests"]
        methods += [r["method"] for r in requests.values()]
        answers = {k: ANSWERS[r["method"]] for k, r in requests.items()}
        message = ask(gw, arguments, answers, message["result"]["requestState"])
    return methods, said(message)


def converse(session, stream):
    asked = []
    while (m := stream.next()) is not None:
        if "id" in m and "method" in m:
            asked.append(m["method"])
            assert session.answer(m, ANSWERS[m["method"]]).status == 202
        elif "method" not in m:
            return asked, m
    raise AssertionError("the stream ended without an answer")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("place", PLACES)
def test_modern_client_is_asked_what_comes_on_the_stream_of_the_session(gateway, processes, place, workers):
    """P-432, P-433: before the call's own answer has begun, and in rounds."""
    gw, server = start(gateway, processes, config={"workers": workers})
    for question in (FORM, ROOTS, SAMPLE):
        methods, answers = rounds(gw, {"on": place, "questions": [question], "rounds": 2})
        assert methods == [question["method"]] * 2
        assert [a["result"] for [a] in answers] == [ANSWERS[question["method"]]] * 2
    methods, answers = rounds(gw, {"on": place, "questions": [FORM, ROOTS, SAMPLE]})
    assert sorted(methods) == sorted(ANSWERS) and len(answers) == 3
    nothing_left(gw)
    ids = [s["headers"].get("mcp-session-id") for s in server.seen("GET")]
    assert len(ids) == len(set(ids)) == 2  # the keeper's, and that of the class: opened once


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("place", PLACES)
def test_legacy_client_is_asked_what_comes_on_the_stream_of_the_session(gateway, processes, place, workers):
    """P-432, P-460: on the stream of its call, all its parallel calls too."""
    gw, _ = start(gateway, processes, config={"workers": workers})
    session = gw.session(capabilities=ALL)
    arguments = {"on": place, "questions": [FORM, ROOTS], "rounds": 2}
    with session.stream("tools/call", {"name": "up__ask", "arguments": arguments}) as one, \
            session.stream("tools/call", {"name": "up__ask", "arguments": arguments}) as two:
        with ThreadPoolExecutor() as pool:
            ends = list(pool.map(lambda s: converse(session, s), (one, two)))
    assert sum(len(asked) for asked, _ in ends) >= 8  # anew, what was put down to a call that ended
    for _, answer in ends:
        assert len(said(answer)) == 4 and all("result" in a for [a] in said(answer))
    nothing_left(gw)


def test_a_question_that_may_be_of_two_callers_is_refused_with_the_reason(gateway, processes):
    """P-432: nobody is asked on behalf of somebody else's call."""
    gw, server = start(gateway, processes, tools=["echo", "ask", "slow"])
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(gw.modern, "tools/call", {"name": "up__slow", "arguments": {"until": "released"}}, meta=CAPABLE)
        wait_for(server.busy, what="the other call")
        try:
            error = said(ask(gw, {"on": "get", "questions": [FORM]}))[0][0]["error"]
        finally:
            server.release()
        assert error["code"] == -32601 and "several calls are in flight" in error["message"]
        assert slow.result().message["result"]
    assert rounds(gw, {"on": "get", "questions": [FORM]})[0] == ["elicitation/create"]
    nothing_left(gw)


def test_a_question_of_no_call_is_refused_with_the_reason(gateway, processes):
    """P-470: nothing is in flight; the stream stays for a while."""
    gw, server = start(gateway, processes)
    rounds(gw, {"on": "get", "questions": [FORM]})
    server.push("elicitation/create", **FORM["params"])  # a notification by that name: nobody's
    server.behave(ask="late-1", question=FORM)
    answer = wait_for(lambda: [s["message"] for s in server.seen("") if s["message"].get("id") == "late-1"], what="a refusal")
    assert answer[0]["error"]["code"] == -32601 and "no call is in flight" in answer[0]["error"]["message"]


def test_clients_that_cannot_be_asked_open_no_stream(gateway, processes):
    """P-431: their session declares nothing, and needs no stream."""
    gw, server = start(gateway, processes)
    wait_for(lambda: server.seen("GET"), what="the keeper's own stream")
    before = len(server.seen("GET"))
    for _ in range(3):
        assert call_modern(gw, "up__echo", text="x")[-1]["result"]
    assert len(server.seen("GET")) == before


@pytest.mark.parametrize("get", [False, "mute"])
def test_servers_without_such_a_stream_are_called_all_the_same(gateway, processes, get):
    """P-141: 405, or a head that does not come; both are found out once."""
    gw, server = start(gateway, processes, get=get)
    for _ in range(4):
        assert rounds(gw, {"questions": [FORM]})[0] == ["elicitation/create"]
    assert len(server.seen("GET")) <= 3
    nothing_left(gw)


def test_a_session_that_was_forgotten_is_listened_to_anew(gateway, processes):
    """P-441: the new session has a stream of its own."""
    gw, server = start(gateway, processes)
    assert rounds(gw, {"on": "get", "questions": [FORM]})[0] == ["elicitation/create"]
    server.behave(forget=True)
    assert rounds(gw, {"on": "get", "questions": [FORM]})[0] == ["elicitation/create"]
    assert rounds(gw, {"on": "json", "questions": [FORM]})[0] == ["elicitation/create"]
    nothing_left(gw)


def test_questions_that_nobody_answers_end_with_their_call(gateway, processes):
    """P-435: expiry refuses on the session, and cancels."""
    gw, server = start(gateway, processes, config={"limits": {"question_wait": "1s"}})
    asked = ask(gw, {"on": "get", "questions": [FORM]})
    assert asked["result"]["resultType"] == "input_required"
    wait_for(lambda: server.seen("notifications/cancelled"), what="the cancellation")
    nothing_left(gw)


def test_log_messages_on_the_stream_of_the_session_go_to_the_only_caller(gateway, processes):
    """P-443: by its level; with another caller in flight they are nobody's."""
    gw, server = start(gateway, processes, tools=["echo", "ask", "slow"])
    meta = {LEVEL: "info", **CAPABLE}
    params = {"name": "up__ask", "arguments": {"on": "get", "note": True, "questions": [FORM]}}
    answer = gw.modern("tools/call", params, meta=meta)
    assert answer.message["result"]["resultType"] == "input_required" and notes(answer.events()) == ["info", "error"]
    state = answer.message["result"]["requestState"]
    assert gw.modern("tools/call", {**params, "inputResponses": {"q1": NAMED}, "requestState": state}, meta=meta).message["result"]
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(gw.modern, "tools/call", {"name": "up__slow", "arguments": {"until": "released"}}, meta=meta)
        wait_for(server.busy, what="the other call")
        try:
            answer = gw.modern("tools/call", params, meta=meta)
        finally:
            server.release()
        assert "error" in said(answer.message)[0][0] and b"notifications/message" not in answer.body
        assert slow.result().message["result"] and b"notifications/message" not in slow.result().body


# ---- roots (P-260, P-431) -----------------------------------------------------------------------------

CHANGED = "notifications/roots/list_changed"


def test_changed_roots_reach_the_session_of_who_asked_for_them(gateway, processes):
    """P-431, P-460: declared by who declares it; told once roots were asked for, on the session that serves the client."""
    gw, server = start(gateway, processes)
    tells, silent = gw.session(capabilities={"roots": {"listChanged": True}}), gw.session(capabilities={"roots": {}})
    for session in (tells, silent):
        assert call_legacy(session, "up__echo", text="x")[-1]["result"]
        assert session.notify(CHANGED).status == 202
    for session in (tells, silent):
        with session.stream("tools/call", {"name": "up__ask", "arguments": {"questions": [ROOTS]}}) as stream:
            assert converse(session, stream)[0] == ["roots/list"]
        assert session.notify(CHANGED).status == 202
    told_of = wait_for(lambda: server.seen(CHANGED), what="the change")
    assert call_legacy(silent, "up__echo", text="x")[-1]["result"]
    calls = [s["headers"]["mcp-session-id"] for s in server.seen("tools/call")]
    assert [s["headers"]["mcp-session-id"] for s in server.seen(CHANGED)] == [told_of[0]["headers"]["mcp-session-id"]] == calls[:1]
    assert calls[0] != calls[1]
    declared = [s["message"]["params"]["capabilities"].get("roots") for s in server.seen("initialize")]
    assert sorted(map(str, declared[1:])) == ["{'listChanged': True}", "{}"]


def test_changed_roots_reach_a_child_process(gateway):
    """P-431 over stdio: the child that all share."""
    gw = gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy")}}).wait_ready("up")
    session = gw.session(capabilities={"roots": {"listChanged": True}})
    assert session.notify(CHANGED).status == 202
    with session.stream("tools/call", {"name": "up__ask_roots", "arguments": {}}) as stream:
        assert converse(session, stream)[0] == ["roots/list"]
    assert session.notify(CHANGED).status == 202
    wait_for(lambda: json.loads(text_of(call_legacy(session, "up__changes")[-1])) == 1, what="the change")


# ---- watching, and who may -----------------------------------------------------------------------------


def test_who_joins_a_subscription_that_fails_asks_himself(gateway, processes):
    """P-409: the second one waits for the first, whose failure is not his."""
    fault = {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32603,"message":"not now"}}', "times": 1, "after": 1}
    gw, server = start(gateway, processes, resources=["x://a"], subscribe=True, faults={"resources/subscribe": fault})
    wait_for(lambda: gw.modern("resources/list").message["result"]["resources"], what="the resource")
    uri = gw.modern("resources/list").message["result"]["resources"][0]["uri"]
    one, two = gw.session(), gw.session()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(one.call, "resources/subscribe", {"uri": uri})
        wait_for(lambda: server.seen("resources/subscribe"), what="the first")
        assert two.result("resources/subscribe", {"uri": uri}) == {}
        assert "not now" in first.result().message["error"]["message"]
    assert len(server.seen("resources/subscribe")) == 2
    wait_for(lambda: gw.metric("gatespan_watched_resources") == 1, what="one watched")


def test_streams_of_a_revoked_key_end(gateway, processes):
    """GET streams and listens: with their key, and no others."""
    gw, server = start(gateway, processes)
    made = gw.request("POST", "/api/v1/keys", {"name": "guest"}).json
    session, kept = gw.session(key=made["key"]), gw.session()
    head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "subscriptions/listen"}
    body = {"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": True}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}}
    with Stream(gw, "GET", "/mcp", session.headers, made["key"]) as get, Stream(gw, "GET", "/mcp", kept.headers) as other, \
            Stream(gw, "POST", "/mcp", head, made["key"], body) as listen:
        assert listen.next()["method"] == "notifications/subscriptions/acknowledged"
        tag = gw.request("GET", f"/api/v1/keys/{made['id']}").headers["etag"]
        assert gw.request("DELETE", f"/api/v1/keys/{made['id']}", None, {"If-Match": tag}).status == 204
        assert get.next() is None
        assert listen.next()["result"]["resultType"] == "complete" and listen.next() is None
        server.behave(tools=["echo", "another"])
        wait_for(lambda: server.push("notifications/tools/list_changed") > 0, what="the stream upstream")
        assert other.next()["method"] == "notifications/tools/list_changed"
    wait_for(lambda: gw.metric("gatespan_streams_open") <= 1, what="the streams are gone")


# ---- streams that are cut (P-144, P-150, P-449) ---------------------------------------------------------


def stored(gw, n, token="t"):
    answer = gw.modern("tools/call", {"name": "up__stored", "arguments": {"steps": n}}, meta={"progressToken": token})
    return [e["params"]["progress"] for e in answer.events()[:-1]], answer.message


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 5])
def test_a_call_whose_stream_is_cut_goes_on(gateway, processes, cut):
    """P-449: after each event, again and again; every event comes once, and the tool runs once."""
    gw, server = start(gateway, processes, tools=["stored"], ids=True, retry=100, cut=cut or 1)
    progress, answer = stored(gw, 4)
    assert progress == [1, 2, 3, 4] and answer["result"]["content"][0]["text"] == "ran 1"
    assert len(server.seen("tools/call")) == 1
    nothing_left(gw)


def test_a_stream_is_asked_for_again_when_the_server_wants_it(gateway, processes):
    """P-152: `retry` is waited for; a server may close and be polled without any news."""
    gw, server = start(gateway, processes, tools=["stored"], ids=True, retry=400, cut=0)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(stored, gw, 2)
        wait_for(lambda: len(resumptions(server)) >= 8, what="more polls than failures are allowed")
        server.behave(cut=None)
        assert call.result()[0] == [1, 2]
    times = [s["time"] for s in resumptions(server)]
    assert all(b - a > 0.3 for a, b in zip(times, times[1:]))
    assert len(server.seen("tools/call")) == 1


def resumptions(server):
    return [s for s in server.seen("GET") if "last-event-id" in s["headers"]]


def test_a_stream_without_ids_is_lost(gateway, processes):
    """P-449: an error that says so, and no second run."""
    gw, server = start(gateway, processes, tools=["stored"], cut=2)
    _, answer = stored(gw, 4)
    assert "ended without an answer" in answer["error"]["message"]
    assert len(server.seen("tools/call")) == 1 and resumptions(server) == []
    nothing_left(gw)


def test_a_server_that_does_not_resume_ends_the_call(gateway, processes):
    """P-449: it gave ids and refuses them."""
    gw, server = start(gateway, processes, tools=["stored"], ids="lost", retry=10, cut=2)
    _, answer = stored(gw, 4)
    assert "is not resumed: HTTP 400" in answer["error"]["message"]
    assert len(server.seen("tools/call")) == 1 and len(resumptions(server)) == 1
    nothing_left(gw)


def test_a_call_that_is_never_answered_is_polled_until_its_time_is_up(gateway, processes):
    """P-449: bounded by `timeout`."""
    gw, server = start(gateway, processes, upstream={"timeout": "2s"}, tools=["stored"], ids=True, retry=100, cut=0)
    _, answer = stored(gw, 4)
    assert "error" in answer
    assert len(resumptions(server)) <= 25
    nothing_left(gw)


# ---- a real server ------------------------------------------------------------------------------------


class Resumable:
    """tests/clients/resumable_server.mjs behind a gateway."""

    def __init__(self, node, gateway, processes):
        self.port, self.names = free_port(), iter(range(1000000))
        process = processes(node, CLIENTS / "resumable_server.mjs", self.port)
        wait_for(lambda: "listening\n" in process.lines, what="the server of the SDK")
        self.gw = gateway({"builtins": [], "upstreams": {"ts": {"url": f"http://127.0.0.1:{self.port}/mcp"}}}).wait_ready("ts")

    def cut(self, after):
        data = json.dumps({} if after is None else {"after": after}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/cut", data=data, timeout=60) as r:
            return json.loads(r.read())["cuts"]

    def call(self, tool, meta=None, responses=None, state=None, **arguments):
        params = {"name": f"ts__{tool}", "arguments": arguments}
        if responses is not None:
            params |= {"inputResponses": responses, "requestState": state}
        return self.gw.modern("tools/call", params, meta=meta)

    def name(self):
        return f"n{next(self.names)}"


@pytest.fixture(scope="module")
def resumable(node, module_gateway, module_processes):
    return Resumable(node, module_gateway, module_processes)


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5, 6, None])
def test_a_call_to_a_server_of_the_sdk_is_cut_at_each_event(resumable, after):
    """P-449: what was stored comes from its event store; the tool runs once."""
    name = resumable.name()
    before = resumable.cut(after)
    answer = resumable.call("steps", {"progressToken": "p"}, name=name, steps=4)
    assert (resumable.cut(None) > before) == (after is not None)
    assert text_of(answer.message) == f"{name} ran 1"
    assert [e["params"]["progress"] for e in answer.events()[:-1]] == [1, 2, 3, 4]
    nothing_left(resumable.gw)


@pytest.mark.parametrize("closes", [1, 3])
def test_a_server_of_the_sdk_that_wants_to_be_polled(resumable, closes):
    """P-152: it closes the stream of the call, we come back after its retry, again and again."""
    name = resumable.name()
    assert text_of(resumable.call("polls", name=name, closes=closes).message) == f"{name} ran 1"


def test_a_server_of_the_sdk_asks_on_the_stream_of_its_session(resumable):
    """P-432: elicitInput without a request, which is what server.elicitInput does."""
    name = resumable.name()
    message = resumable.call("asks", CAPABLE, name=name, rounds=2).message
    for _ in range(2):
        [key] = message["result"]["inputRequests"]
        message = resumable.call("asks", CAPABLE, {key: NAMED}, message["result"]["requestState"], name=name, rounds=2).message
    assert text_of(message) == f"{name} ran 1: Ada Ada"
    for tool, said_by in (("model", "4"), ("roots", "file:///home")):
        message = resumable.call(tool, CAPABLE).message
        [(key, question)] = message["result"]["inputRequests"].items()
        message = resumable.call(tool, CAPABLE, {key: ANSWERS[question["method"]]}, message["result"]["requestState"]).message
        assert text_of(message) == said_by
    nothing_left(resumable.gw)


def test_a_legacy_client_answers_a_server_of_the_sdk(resumable):
    """P-432, P-460: the same questions, as requests on the stream of the call."""
    session, name = resumable.gw.session(capabilities=ALL), resumable.name()
    for tool, arguments, said_by in (("asks", {"name": name, "rounds": 2}, f"{name} ran 1: Ada Ada"), ("model", {}, "4"),
                                     ("roots", {}, "file:///home")):
        with session.stream("tools/call", {"name": f"ts__{tool}", "arguments": arguments}) as stream:
            assert text_of(converse(session, stream)[1]) == said_by
    nothing_left(resumable.gw)

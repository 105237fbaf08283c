"""Enemies and accidents, rule by rule from the text of PROTOCOL: each ends one exchange, with the code and status that
stand there, and leaves nothing parked, open or allocated."""
import http.client
import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Stream, binary, fixture_server, http_server, memory_bound, resident, wait_for
from test_lines import Peer, Sse, WebSocket

NAMESPACE = "io.modelcontextprotocol/"
VERSION, CAPABILITIES = NAMESPACE + "protocolVersion", NAMESPACE + "clientCapabilities"
META = {VERSION: "2026-07-28", CAPABILITIES: {}}
BOTH = {"Accept": "application/json, text/event-stream"}
ALL = {"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}}
CAPABLE = {CAPABILITIES: ALL}
FORM = {"method": "elicitation/create", "params": {
    "message": "Your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}
NAMED = {"action": "accept", "content": {"name": "Ada"}}
ANN, EVE = "ann-0123456789abcdef", "eve-0123456789abcdef"


def text_of(message):
    assert "result" in message, message
    return message["result"]["content"][0]["text"]


# ---- codes and statuses -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def tools(module_gateway, module_processes):
    """A gateway with a tool that has an annotated argument and one that asks for what nobody declared."""
    region = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    server = http_server(module_processes, era="modern", prompts=["p"], resources=["x:a"],
                         tools=[{"name": "where", "inputSchema": region}, "echo"])
    gw = module_gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}})
    gw.server = server
    return gw.wait_ready("up")


def send(gw, method="tools/list", params=None, meta=META, drop=(), key="", body=None, **headers):
    """A modern request in which anything may be wrong."""
    params = {**(params or {}), **({"_meta": meta} if meta is not None else {})}
    head = {**BOTH, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method,
            **({"Mcp-Name": params["name"]} if isinstance(params.get("name"), str) else {}),
            **{k.replace("_", "-"): v for k, v in headers.items()}}
    for name in drop:
        head.pop(name, None)
    body = body if body is not None else {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return gw.request("POST", "/mcp", body, head, key)


UNKNOWN = {**META, VERSION: "2031-01-01"}
CALL = {"name": "up__where", "arguments": {"region": "north"}}
ORDER = {  # each is wrong in two ways at least: the first of P-072 counts
    "origin-before-key": (dict(Origin="https://evil.example", key="nobody-0123456789"), 403, None),
    "host-before-key": (dict(Host="evil.example", key="nobody-0123456789"), 403, None),
    "key-before-json": (dict(key="nobody-0123456789", body=b"{"), 401, None),
    "json-before-envelope": (dict(body=b'{"jsonrpc":"1.0","id":1,'), 400, -32700),
    "envelope-before-meta": (dict(body=b'{"jsonrpc":"1.0","id":1,"method":"x","params":{}}'), 400, -32600),
    "meta-before-version-header": (dict(meta=None, MCP_Protocol_Version="2026-07-28", Mcp_Method="other"), 400, -32602),
    "meta-before-its-header": (dict(meta={VERSION: "2026-07-28"}, drop=["MCP-Protocol-Version"]), 400, -32602),
    "meta-before-version": (dict(meta={VERSION: "2031-01-01"}, MCP_Protocol_Version="2031-01-01"), 400, -32602),
    "version-header-before-version": (dict(meta=UNKNOWN), 400, -32020),
    "version-before-method-header": (dict(meta=UNKNOWN, MCP_Protocol_Version="2031-01-01", Mcp_Method="other"), 400, -32022),
    "method-header-before-method": (dict(method="no/such", Mcp_Method="other"), 400, -32020),
    "method-before-name-header": (dict(method="no/such", params={"name": "x"}, Mcp_Name="y"), 404, -32601),
    "removed-method-before-params": (dict(method="resources/subscribe"), 404, -32601),
    "name-header-before-lookup": (dict(method="tools/call", params={"name": "up__none"}, Mcp_Name="other"), 400, -32020),
    "name-header-before-shape": (dict(method="tools/call", params={"arguments": {}}, drop=["Mcp-Name"]), 400, -32020),
    "lookup-before-param-headers": (dict(method="tools/call", params={**CALL, "name": "up__none"}), 200, -32602),
    "param-headers-at-last": (dict(method="tools/call", params=CALL), 400, -32020),
    "param-headers-differ": (dict(method="tools/call", params=CALL, Mcp_Param_Region="south"), 400, -32020),
}


@pytest.mark.parametrize("case", ORDER)
def test_the_first_fault_counts(tools, case):
    """P-072, P-071: in this order, and what is refused for its headers is JSON with the code in it."""
    request, status, code = ORDER[case]
    before = len(tools.server.seen("tools/call"))
    answer = send(tools, **request)
    assert answer.status == status, answer.body
    if code:
        assert answer.json["error"]["code"] == code, answer.body
        assert answer.headers["content-type"] == "application/json"
    assert len(tools.server.seen("tools/call")) == before


@pytest.mark.parametrize("member,value", [("id", None), ("id", 1.5), ("id", 1e300), ("id", {}), ("id", False), ("jsonrpc", None),
                                          ("method", None), ("method", ["tools/list"])])
def test_envelopes_of_wrong_types(tools, member, value):
    """P-001, P-002: -32600 with 400, in both eras."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}, member: value}
    answer = send(tools, body=body)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32600), answer.body
    answer = tools.request("POST", "/mcp", {k: v for k, v in body.items() if k != "params"}, tools.session().headers)
    assert (answer.status, answer.json["error"]["code"]) == (400, -32600), answer.body


@pytest.mark.parametrize("error", [{"code": "x", "message": "m"}, {"code": 1.5, "message": "m"}, {"code": 1}, {"message": "m"},
                                   [], "boom", None, {"code": 1, "message": 7}])
def test_errors_that_are_none(tools, error):
    """P-004: of an upstream: what the client gets is one all the same; of a client: refused, or of no effect."""
    body = json.dumps({"jsonrpc": "2.0", "id": "ID", "error": error}).replace('"ID"', "ID")
    tools.server.behave(faults={"tools/call": {"kind": "raw", "body": body}})
    try:
        answer = send(tools, "tools/call", {"name": "up__echo", "arguments": {}})
        said = answer.json["error"]
        assert isinstance(said["code"], int) and isinstance(said["message"], str) and "result" not in answer.json, answer.body
        assert answer.status == 200
        session = tools.session()
        assert tools.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "error": error}, session.headers).status in (202, 400)
    finally:
        tools.server.behave(faults={})


STATUSES = [(-32603, 200), (-32602, 200), (-32601, 404), (-32021, 400), (5, 200), (-7, 200)]


@pytest.mark.parametrize("code,status", STATUSES)
def test_statuses_of_codes(tools, code, status):
    """P-168 and the tables of §2 and §5.6: towards a modern client by the code, towards a legacy one 200 (P-406: -32021 has
    no word there but -32600, which is no 400 when an upstream says it)."""
    error = {"code": code, "message": "m", "data": {"requiredCapabilities": {"sampling": {}}}}
    tools.server.behave(faults={"tools/call": {"kind": "raw", "body": json.dumps(
        {"jsonrpc": "2.0", "id": "ID", "error": error}).replace('"ID"', "ID")}})
    try:
        answer = send(tools, "tools/call", {"name": "up__echo", "arguments": {}})
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        legacy = tools.session().call("tools/call", {"name": "up__echo", "arguments": {}})
        assert (legacy.status, legacy.json["error"]["code"]) == (200, -32600 if code == -32021 else code)
    finally:
        tools.server.behave(faults={})


@pytest.mark.parametrize("code", [-32000, -32001, -32002, -32019, -32042])
def test_codes_of_the_past_are_not_passed_on(tools, code):
    """P-020, P-021, P-441: nothing of -32000..-32019 reaches a modern client, nor -32042."""
    tools.server.behave(faults={"tools/call": {"kind": "raw", "body": json.dumps(
        {"jsonrpc": "2.0", "id": "ID", "error": {"code": code, "message": "m"}}).replace('"ID"', "ID")}})
    try:
        error = send(tools, "tools/call", {"name": "up__echo", "arguments": {}}).json["error"]
        assert not -32019 <= error["code"] <= -32000 and error["code"] != -32042, error
    finally:
        tools.server.behave(faults={})


@pytest.mark.parametrize("member,value", [("toolsListChanged", "yes"), ("promptsListChanged", 1), ("resourcesListChanged", {}),
                                          ("resourceSubscriptions", "file:///x"), ("resourceSubscriptions", [1]), ("taskIds", {})])
def test_a_filter_of_wrong_types_is_refused(tools, member, value):
    """P-110: rather than news that never come"""
    answer = send(tools, "subscriptions/listen", {"notifications": {member: value}})
    assert answer.status == 200 and answer.message["error"]["code"] == -32602


def test_a_response_towards_the_modern_form_is_refused(tools):
    """P-162: 400; there is nothing that it could answer."""
    for body in ({"jsonrpc": "2.0", "id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}):
        assert send(tools, body=body).status == 400


# ---- secrets ------------------------------------------------------------------------------------------

def test_names_and_keys_stay_out_of_the_log(gateway, processes):
    """P-172: no key, session id, state or cursor in it, with every request logged at the lowest level."""
    server = http_server(processes, tools=["echo", "ask"])
    gw = gateway({"builtins": ["time"], "log": {"level": "debug", "requests": True}, "limits": {"page": 1},
                  "keys": {"ann": {"secret": ANN}}, "upstreams": {"up": {"url": server.url, "headers": {
                      "Authorization": "Bearer upstream-secret-0123456789"}}}})
    wait_for(lambda: (gw.upstream("up") or {}).get("state") == "ready" and gw.metric("gatespan_catalogue_items", kind="tool") > 2, what="up")
    session = gw.session(key=ANN)
    cursor = session.result("tools/list")["nextCursor"]
    session.result("tools/list", {"cursor": cursor})
    with Stream(gw, "GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}, ANN):
        gw.request("GET", "/mcp", headers=session.headers)
    state = gw.modern("tools/call", {"name": "up__ask", "arguments": {"questions": [FORM]}}, meta=CAPABLE).message["result"]["requestState"]
    gw.modern("tools/call", {"name": "up__ask", "arguments": {}, "requestState": state, "inputResponses": {}}, meta=CAPABLE)
    gw.modern("tools/list", {"cursor": cursor + "x"})
    gw.request("DELETE", "/mcp", headers=session.headers, key=ANN)
    gw.request("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, session.headers, ANN)
    gw.request("GET", "/mcp?key=key-in-the-url-0123456789", key="wrong-key-0123456789abcdef")
    given = {s["headers"].get("mcp-session-id") for s in server.seen()} - {None}
    assert gw.stop() == 0
    wait_for(lambda: "/mcp" in gw.logs(), what="requests are logged")
    log = gw.logs()
    for secret in (ANN, gw.key, session.id, state, cursor, "upstream-secret", "wrong-key-0123456789abcdef", "key-in-the-url", *given):
        assert secret not in log, secret


# ---- nothing is left ------------------------------------------------------------------------------------

GAUGES = ["gatespan_exchanges_in_flight", "gatespan_questions_open", "gatespan_parked", "gatespan_streams_open",
          "gatespan_lines_open", "gatespan_watched_resources", "gatespan_upstream_in_flight", "gatespan_upstream_waiting",
          "gatespan_pool_waiting", "gatespan_stdio_queued_bytes", "gatespan_work_waiting"]


def gauges(gw):
    return {name: gw.metric(name) for name in GAUGES}


def open_files(gw):
    """But for the pools of connections upstream, which keep what they have for a while."""
    return len(os.listdir(f"/proc/{gw.process.pid}/fd")) - gw.metric("gatespan_pool_connections")


class Scene:
    """A gateway before a server that asks over HTTP, one over a pipe and a modern one; two people with keys.
    Questions wait for `wait`: a moment where the scene is about their end, else for longer than it lasts."""

    def __init__(self, gateway, processes, wait):
        self.old = http_server(processes, tools=["echo", "ask"], resources=["x:a"], subscribe=True)
        self.new = http_server(processes, era="modern", tools=["echo", "inputs"])
        self.gw = gateway({"builtins": [], "workers": 2, "limits": {"question_wait": wait, "page": 2},
                           "keys": {"ann": {"secret": ANN}, "eve": {"secret": EVE}},
                           "upstreams": {"old": {"url": self.old.url, "timeout": "1m"}, "new": {"url": self.new.url, "timeout": "1m"},
                                         "pipe": fixture_server("legacy", timeout="1m")}})
        wait_for(lambda: all((self.gw.upstream(n) or {}).get("state") == "ready" for n in ("old", "new", "pipe")), what="all ready")
        wait_for(lambda: self.gw.metric("gatespan_catalogue_items", kind="tool") > 20, what="all listed")

    def round(self, name="old__ask", arguments=None, key=ANN, **more):
        """One round of a modern call that can be asked everything."""
        arguments = arguments or {"questions": [FORM]}
        return self.gw.modern("tools/call", {"name": name, "arguments": arguments, **more}, meta=CAPABLE, key=key).message

    def asked(self, *arguments, **more):
        message = self.round(*arguments, **more)
        assert message.get("result", {}).get("resultType") == "input_required", message
        (key,) = message["result"]["inputRequests"]
        return key, message["result"]["requestState"]

    def still_works(self):
        assert text_of(self.round("old__echo", {"text": "on"})) == "on"

    def modern_socket(self, name, arguments):
        """A call whose connection can be broken off."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": {**META, **CAPABLE}}}
        connection = http.client.HTTPConnection("127.0.0.1", self.gw.port, timeout=60)
        connection.request("POST", "/mcp", json.dumps(body), {
            **BOTH, "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call",
            "Mcp-Name": name, "Authorization": f"Bearer {ANN}"})
        return connection


def answers_that_nobody_asked_for(s):
    session = s.gw.session(key=ANN, capabilities=ALL)
    for number in (1, 2, 99999, -1, "1", "abc", 2**63):
        assert session.answer({"id": number}, NAMED).status == 202
        assert session.answer({"id": number}, error={"code": -1, "message": "no"}).status == 202


def answers_twice_and_by_another(s):
    session, other = s.gw.session(key=ANN, capabilities=ALL), s.gw.session(key=EVE, capabilities=ALL)
    with session.stream("tools/call", {"name": "old__ask", "arguments": {"questions": [FORM]}}) as stream:
        question = stream.next()
        other.answer(question, {"action": "decline"})
        session.answer(question, NAMED)
        session.answer(question, {"action": "decline"})
        assert json.loads(text_of(stream.next())) == [[{"result": NAMED}]]


def states_that_are_not_theirs(s):
    key, state = s.asked()
    given = {"inputResponses": {key: NAMED}}
    for wrong in (state[:-9] + ("A" if state[-9] != "A" else "B") + state[-8:], state[1:], "", "x", "A" * 5000):
        assert s.round(**given, requestState=wrong)["error"]["code"] == -32602
    assert s.round(**given, requestState=state, key=EVE)["error"]["code"] == -32602
    assert s.round("new__inputs", **given, requestState=state)["error"]["code"] == -32602
    assert s.round(arguments={"questions": []}, **given, requestState=state)["error"]["code"] == -32602
    assert "result" in s.round(**given, requestState=state)
    assert s.round(**given, requestState=state)["error"]["code"] == -32602  # used up


def cursors_that_are_not_theirs(s):
    cursor = s.gw.modern("tools/list", key=ANN).message["result"]["nextCursor"]
    for wrong in (cursor[:-1], cursor + "A", "", "7", "A" * 5000):
        if wrong:
            assert s.gw.modern("tools/list", {"cursor": wrong}, key=ANN).message["error"]["code"] == -32602
    assert s.gw.modern("resources/list", {"cursor": cursor}, key=ANN).message["error"]["code"] == -32602


def sessions_that_are_not_theirs(s):
    session = s.gw.session(key=ANN)
    for method, body in (("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"}), ("GET", None), ("DELETE", None)):
        assert s.gw.request(method, "/mcp", body, session.headers, EVE).status == 404
    assert session.result("ping") == {}


def clients_that_do_not_come_back(s):
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda i: s.asked("old__ask" if i else "pipe__ask"), range(8)))
    wait_for(lambda: s.gw.metric("gatespan_parked") == 0, what="they expire")
    key, state = given[1]
    assert s.round(inputResponses={key: NAMED}, requestState=state)["error"]["code"] == -32602


def modern_clients_that_hang_up(s):
    before = s.gw.logs().count("silent call")
    connections = [s.modern_socket("pipe__silent", {}) for _ in range(4)]
    wait_for(lambda: s.gw.logs().count("silent call") == before + 4, what="the calls at the child")
    for connection in connections:
        connection.close()


def legacy_clients_that_hang_up_while_they_are_asked(s):
    session = s.gw.session(key=ANN, capabilities=ALL)
    stream = session.stream("tools/call", {"name": "old__ask", "arguments": {"questions": [FORM, FORM]}})
    stream.next()
    stream.close()
    wait_for(lambda: s.gw.metric("gatespan_questions_open") == 0, what="the questions end")


def sessions_that_end_while_they_are_asked(s):
    session = s.gw.session(key=ANN, capabilities=ALL)
    with session.stream("tools/call", {"name": "old__ask", "arguments": {"questions": [FORM]}}) as stream:
        question = stream.next()
        assert s.gw.request("DELETE", "/mcp", headers=session.headers, key=ANN).status == 200
        assert session.answer(question, NAMED).status == 404
        stream.rest()


def streams_that_are_cut(s):
    session = s.gw.session(key=ANN)
    assert session.result("resources/subscribe", {"uri": "gatespan+x://old/a"}) == {}
    streams = [Stream(s.gw, "GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}, ANN)]
    body = {"jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": {"_meta": META, "notifications": {
        "toolsListChanged": True, "resourceSubscriptions": ["gatespan+x://old/a"]}}}
    head = {**BOTH, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    streams += [Stream(s.gw, "POST", "/mcp", head, ANN, body) for _ in range(3)]
    wait_for(lambda: s.gw.metric("gatespan_streams_open") == 4, what="they are open")
    for stream in streams:
        stream.close()
    assert s.gw.request("DELETE", "/mcp", headers=session.headers, key=ANN).status == 200


def requests_that_stop_half_way(s):
    head = (f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ANN}\r\nContent-Type: application/json\r\n"
            "Content-Length: 1000\r\n\r\n{\"jsonrpc\"").encode()
    for part in (head, head[:60], b"P"):
        with socket.create_connection(("127.0.0.1", s.gw.port), 60) as c:
            c.sendall(part)


def batches_of_nonsense(s):
    session = s.gw.session("2025-03-26", key=ANN)
    items = [1, None, [], {}, {"jsonrpc": "2.0", "id": 1}, {"jsonrpc": "2.0", "id": "never", "result": {}},
             {"jsonrpc": "2.0", "id": 2, "method": "initialize"}, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": []}]
    answer = s.gw.request("POST", "/mcp", items, session.headers, ANN)
    assert answer.status == 200 and all("error" in m for m in answer.json)


def lines_that_hang_up(s):
    """In the middle of a call, and while they are asked."""
    for kind in (WebSocket, Sse):
        line = kind(s.gw)
        line.open("2025-11-25" if kind is WebSocket else "2024-11-05", ALL)
        line.request("tools/call", {"name": "old__ask", "arguments": {"questions": [{"method": "roots/list"}]}})
        assert line.receive()["method"] == "roots/list"
        line.request("tools/call", {"name": "pipe__silent", "arguments": {}})
        wait_for(lambda: s.gw.metric("gatespan_exchanges_in_flight") == 2, what="both calls are in flight")
        (line.ws if kind is WebSocket else line).close()
        wait_for(lambda: s.gw.metric("gatespan_lines_open") == 0, what="the line is gone")


def lines_that_hang_up_with_a_parked_call(s):
    line = WebSocket(s.gw)
    parked = line.call("tools/call", {"name": "old__ask", "arguments": {"questions": [FORM]}, "_meta": {**META, **CAPABLE}})
    assert parked["result"]["resultType"] == "input_required"
    line.ws.close()


def servers_that_want_to_be_called_again_and_again(s):
    """P-405: the client's cancellation ends it."""
    session = s.gw.session(key=ANN)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "tools/call", {"name": "new__inputs", "arguments": {"rounds": 10**9}}, None, "again")
        before = len(s.new.seen("tools/call"))
        wait_for(lambda: len(s.new.seen("tools/call")) > before, what="another call")
        session.notify("notifications/cancelled", {"requestId": "again"})
        assert call.result(60).body == b"" or "result" not in call.result().message


ENEMIES = {
    "10m": [answers_that_nobody_asked_for, answers_twice_and_by_another, states_that_are_not_theirs, cursors_that_are_not_theirs,
            sessions_that_are_not_theirs, modern_clients_that_hang_up, sessions_that_end_while_they_are_asked, streams_that_are_cut,
            requests_that_stop_half_way, batches_of_nonsense, lines_that_hang_up,
            servers_that_want_to_be_called_again_and_again],
    "1s": [clients_that_do_not_come_back, legacy_clients_that_hang_up_while_they_are_asked,
           lines_that_hang_up_with_a_parked_call],
}


@pytest.mark.parametrize("wait", ENEMIES)
def test_enemies_leave_nothing_behind(gateway, processes, wait):
    """P-099, P-101, P-148, P-405, P-434, P-435, P-615: one after the other, again and again: every gauge comes back to where it
    was, no connection, no descriptor and no memory stays."""
    s = Scene(gateway, processes, wait)
    s.still_works()
    wait_for(lambda: set(gauges(s.gw).values()) == {0}, what="quiet")
    before = gauges(s.gw)
    memory = files = None
    for lap in range(3):
        for enemy in ENEMIES[wait]:
            enemy(s)
            wait_for(lambda: gauges(s.gw) == before, what=f"nothing is left of {enemy.__name__}")
            s.still_works()
        wait_for(lambda: s.gw.metric("gatespan_client_connections") <= 2, what="no connection is left")
        if lap == 1:  # by now caches and pools have what they keep
            memory, files = resident(s.gw), open_files(s.gw)
    wait_for(lambda: resident(s.gw) - memory < memory_bound(8), what="memory is given back")
    wait_for(lambda: open_files(s.gw) <= files + 4, what="no descriptor is left")


NONSENSE = {
    "no-json": ("data: hello\n\n", False), "half": ('data: {"jsonrpc":"2.0",', True), "cut": ("", True),
    "of-another": ('data: {"jsonrpc":"2.0","id":"of-another","result":{"content":[]}}\n\n', False),
    "batch": ("data: []\n\n", False), "null": ("data: null\n\n", False), "not-utf-8": ("data: \xff\xfe\n\n", False),
    "question-without-params": ('data: {"jsonrpc":"2.0","id":"x","method":"elicitation/create"}\n\n', False),
    "question-of-no-kind": ('data: {"jsonrpc":"2.0","id":"x","method":"no/such"}\n\n', False),
    "params-are-a-list": ('data: {"jsonrpc":"2.0","id":"x","method":"sampling/createMessage","params":[]}\n\n', False),
    "progress-of-nobody": ('data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"?","progress":1}}\n\n', False),
    "error-without-id": ('data: {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what"}}\n\n', False),
    "fields": ("id: 1\nretry: x\nevent: strange\ndata: {}\n\n", False),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_in_the_middle_of_a_parked_call(gateway, processes, case):
    """P-164, P-433, P-434: over HTTP: the call goes on or ends with -32603, nothing else does, and nothing is left."""
    then, cut = NONSENSE[case]
    server = http_server(processes, tools=["echo", "ask"])
    gw = gateway({"builtins": [], "limits": {"question_wait": "1m"}, "upstreams": {"up": {"url": server.url, "timeout": "3s"}}})
    gw.wait_ready("up")
    wait_for(lambda: set(gauges(gw).values()) == {0}, what="quiet")
    before = gauges(gw)
    call = {"name": "up__ask", "arguments": {"questions": [FORM], "then": then, "cut": cut}}
    message = gw.modern("tools/call", call, meta=CAPABLE).message
    for _ in range(3):
        if message.get("result", {}).get("resultType") != "input_required":
            break
        given = {k: NAMED for k in message["result"].get("inputRequests", {})}
        message = gw.modern("tools/call", {**call, "inputResponses": given, "requestState": message["result"]["requestState"]},
                            meta=CAPABLE).message
    if "error" in message:
        code = -32700 if case == "error-without-id" else -32603  # the server's own: it could not read our id (P-007)
        assert message["error"]["code"] == code, message
    else:
        assert {"result": NAMED} in json.loads(text_of(message))[0]
    assert len(server.seen("tools/call")) == 1  # never a second run
    assert text_of(gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "on"}}).message) == "on"
    wait_for(lambda: gauges(gw) == before, what="nothing is left")


# ---- the same over lines -----------------------------------------------------------------------------------

class StandardInput(Peer):
    """A client of `serve --stdio`."""

    def __init__(self, folder):
        super().__init__()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
        self.process = subprocess.Popen([str(binary()), "serve", "--role", "server:time", "--stdio"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**clean, "HOME": str(folder)})

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, seconds=60):
        return json.loads(self.process.stdout.readline())


LINE_FAULTS = {
    "no-capabilities": ("tools/list", {"_meta": {VERSION: "2026-07-28"}}, -32602),
    "version-is-a-number": ("tools/list", {"_meta": {**META, VERSION: 20260728}}, -32602),
    "capabilities-are-a-list": ("tools/list", {"_meta": {**META, CAPABILITIES: []}}, -32602),
    "unknown-version": ("tools/list", {"_meta": UNKNOWN}, -32022),
    "a-legacy-version-in-modern-form": ("tools/list", {"_meta": {**META, VERSION: "2025-11-25"}}, -32022),
    "modern-initialize": ("initialize", {"_meta": META}, -32601),
    "modern-ping": ("ping", {"_meta": META}, -32601),
    "modern-unknown-method": ("no/such", {"_meta": META}, -32601),
    "modern-unknown-tool": ("tools/call", {"name": "no-such", "_meta": META}, -32602),
    "modern-cursor": ("tools/list", {"cursor": "x", "_meta": META}, -32602),
    "modern-level": ("tools/call", {"name": "x", "_meta": {**META, NAMESPACE + "logLevel": "loud"}}, -32602),
    "modern-listen-without-filter": ("subscriptions/listen", {"_meta": META}, -32602),
    "modern-state": ("tools/call", {"name": "TOOL", "requestState": "x", "inputResponses": {}, "_meta": META}, -32602),
    "params-are-a-list": ("tools/list", [1], -32602),
    "unknown-method": ("no/such", {}, -32601),
    "a-modern-method": ("server/discover", {}, -32601),
    "unknown-tool": ("tools/call", {"name": "no-such"}, -32602),
    "no-name": ("tools/call", {"arguments": {}}, -32602),
    "arguments-are-a-list": ("tools/call", {"name": "TOOL", "arguments": []}, -32602),
    "cursor": ("tools/list", {"cursor": "x"}, -32602),
    "initialize-again": ("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}, -32600),
}


@pytest.mark.parametrize("kind", ["websocket", "sse", "stdio"])
def test_codes_do_not_depend_on_the_transport(gateway, tmp_path, kind):
    """P-006, P-025, P-034, P-041, P-042, P-049, P-090: the same over WebSocket, HTTP+SSE and a pipe, and the line goes on."""
    gw = None if kind == "stdio" else gateway({"builtins": ["time"]})
    if gw:
        wait_for(gw.tools, what="time listed")
    line = StandardInput(tmp_path) if kind == "stdio" else WebSocket(gw) if kind == "websocket" else Sse(gw)
    tool = "get_current_time" if kind == "stdio" else "time__get_current_time"
    try:
        line.open("2024-11-05" if kind == "sse" else "2025-11-25")
        for case, (method, params, code) in LINE_FAULTS.items():
            if isinstance(params, dict) and params.get("name") == "TOOL":
                params = {**params, "name": tool}
            line.ids += 1
            line.send({"jsonrpc": "2.0", "id": line.ids, "method": method, "params": params})
            answer = line.answer(line.ids)
            assert answer.get("error", {}).get("code") == code, (case, answer)
            if code == -32022:
                assert answer["error"]["data"]["supported"] == ["2026-07-28"]
                assert answer["error"]["data"]["requested"] == params["_meta"][VERSION]
        assert line.call("ping")["result"] == {}
        if gw:
            wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing in flight")
    finally:
        if kind == "stdio":
            line.process.stdin.close()
            assert line.process.wait(60) == 0

"""Tasks in all four cells: how they begin, are looked at, ask, end, and who may do that (PROTOCOL §6.11)."""
import json
import socket
import sys
import threading

import pytest
from conftest import FIXTURES, HttpFixture, Stream, free_port, wait_for
from websockets.sync.client import connect

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CAPABILITIES = {"elicitation": {"form": {}}, "extensions": {EXTENSION: {}}}
CAPABLE = {"io.modelcontextprotocol/clientCapabilities": CAPABILITIES}
ANN, EVE = "ann-0123456789abcdef", "eve-0123456789abcdef"
NAMED = {"action": "accept", "content": {"name": "Ada"}}
ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])


class TaskServer(HttpFixture):
    def waiting(self):
        return self._control("open")

    def streams(self):
        """How many of sessions are open."""
        return self._control("streams")

    def tell(self, task, **members):
        return self._control("tell", {"taskId": task, **members})

    def end(self, task):
        self._control("end", {"taskId": task})


def start(gateway, processes, era, config=None, upstream=None, **behaviour):
    port = free_port()
    p = processes(sys.executable, FIXTURES / "task_server.py", port, json.dumps({"era": era, **behaviour}))
    wait_for(lambda: "ready\n" in p.lines, what="the task server")
    server = TaskServer(port, p)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, **(upstream or {})}}, **(config or {})})
    return gw.wait_ready("up"), server


def nothing_left(gw):
    for name in ("gatespan_exchanges_in_flight", "gatespan_questions_open", "gatespan_parked",
                 "gatespan_client_task_runs"):
        wait_for(lambda n=name: gw.metric(n) == 0, what=f"{name} is 0")


def text_of(result):
    return result["content"][0]["text"]


def refused(message, code=-32602):
    assert message.get("error", {}).get("code") == code, message
    return message["error"]


# ---- a modern client ---------------------------------------------------------------------------------


def modern(gw, method, params, meta=CAPABLE, **options):
    return gw.modern(method, params, meta=meta, name=params.get("name") or params.get("taskId"), **options).message


def create(gw, tool="up__job", **arguments):
    task = modern(gw, "tools/call", {"name": tool, "arguments": arguments})["result"]
    assert task["resultType"] == "task", task
    return task["taskId"]


def get(gw, task, **options):
    return modern(gw, "tasks/get", {"taskId": task}, **options)


def state(gw, task):
    answer = get(gw, task)
    assert answer["result"]["resultType"] == "complete", answer
    return answer["result"]


def until(gw, task, status, seconds=60):
    return wait_for(lambda: (s := state(gw, task))["status"] == status and s, seconds, f"the task is {status}")


@pytest.mark.smoke
@ERAS
def test_modern_client_gets_a_task_and_finds_its_outcome(gateway, processes, era):
    """P-293, P-294, P-295, P-446: flat, ids of ours, the outcome inline whatever the upstream is."""
    gw, server = start(gateway, processes, era)
    made = modern(gw, "tools/call", {"name": "up__job", "arguments": {"polls": 2, "text": "hello"}})["result"]
    assert {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"} <= set(made)
    assert not {"task", "ttl", "pollInterval", "result", "error", "inputRequests", "requestState"} & set(made)
    assert made["status"] == "working" and "own-" not in json.dumps(made)  # P-613
    done = until(gw, made["taskId"], "completed")
    assert done["taskId"] == made["taskId"] and text_of(done["result"]) == "hello"
    assert RELATED not in json.dumps(done)
    asked = server.seen("tasks/get")[0]
    assert asked["message"]["params"]["taskId"] == "own-1"
    if era == "modern":  # P-298
        assert asked["headers"]["mcp-name"] == "own-1"
    else:  # P-446
        assert server.seen("tools/call")[0]["message"]["params"]["task"] == {"ttl": 3600000}
    nothing_left(gw)


@ERAS
def test_modern_client_sees_failures_as_the_extension_has_them(gateway, processes, era):
    """P-295: isError is completed, a JSON-RPC error is failed."""
    gw, _ = start(gateway, processes, era)
    failed = until(gw, create(gw, polls=1, error=True, text="oh"), "completed")
    assert failed["result"]["isError"] is True and text_of(failed["result"]) == "oh"
    broken = until(gw, create(gw, polls=1, code=-32603), "failed")
    assert broken["error"] == {"code": -32603, "message": "broken"} and "result" not in broken
    nothing_left(gw)


@ERAS
def test_modern_client_answers_the_questions_of_a_task(gateway, processes, era):
    """P-294, P-446: inputRequests in tasks/get, answers by tasks/update; what nobody asked is ignored."""
    gw, server = start(gateway, processes, era)
    task = create(gw, ask=True)
    asks = until(gw, task, "input_required")
    ((key, request),) = asks["inputRequests"].items()
    assert request["method"] == "elicitation/create" and request["params"]["message"] == "[up] Your name?"
    assert modern(gw, "tasks/update", {"taskId": task, "inputResponses": {"other": NAMED}})["result"]["resultType"] == "complete"
    assert list(until(gw, task, "input_required")["inputRequests"]) == [key]
    if era == "legacy":  # P-100
        refused(modern(gw, "tasks/update", {"taskId": task, "inputResponses": {key: {"action": "perhaps"}}}))
    ack = modern(gw, "tasks/update", {"taskId": task, "inputResponses": {key: NAMED}})["result"]
    assert ack["resultType"] == "complete" and "taskId" not in ack
    assert json.loads(text_of(until(gw, task, "completed")["result"])) == NAMED
    nothing_left(gw)
    if era == "legacy":
        wait_for(lambda: server.waiting() == 0, what="no request waits at the server")


@ERAS
def test_modern_client_cancels(gateway, processes, era):
    """P-294: an empty acknowledgement, twice and after the end as well."""
    gw, server = start(gateway, processes, era)
    task, done = create(gw, never=True), create(gw, polls=1)
    until(gw, done, "completed")
    for one in (task, task, done):
        ack = modern(gw, "tasks/cancel", {"taskId": one})["result"]
        assert ack["resultType"] == "complete" and "status" not in ack
    assert state(gw, task)["status"] == "cancelled" and state(gw, done)["status"] == "completed"
    nothing_left(gw)


def test_modern_client_of_a_legacy_task_that_ended_at_once_gets_its_result(gateway, processes):
    """P-446: two more requests for what is there already would be two too many."""
    gw, _ = start(gateway, processes, "legacy")
    answer = modern(gw, "tools/call", {"name": "up__job", "arguments": {"text": "quick"}})["result"]
    assert answer["resultType"] == "complete" and text_of(answer) == "quick" and "taskId" not in answer


@ERAS
def test_methods_of_the_extension_need_it(gateway, processes, era):
    """P-296, P-049, P-298."""
    gw, _ = start(gateway, processes, era)
    task = create(gw, never=True)
    for method, more in (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}})):
        answer = gw.modern(method, {"taskId": task, **more}, name=task)
        assert answer.status == 400
        assert refused(answer.message, -32021)["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}
        wrong = gw.modern(method, {"taskId": task, **more}, name="other", meta=CAPABLE)
        assert wrong.status == 400 and refused(wrong.message, -32020)
    for method in ("tasks/result", "tasks/list"):
        refused(modern(gw, method, {"taskId": task}), -32601)
    refused(modern(gw, "tasks/get", {}), -32020)
    refused(modern(gw, "tasks/update", {"taskId": task}))


@ERAS
def test_modern_client_is_told_of_its_tasks(gateway, processes, era):
    """P-298, P-704: full tasks on the listen; ids that are none of the caller's are not acknowledged."""
    gw, server = start(gateway, processes, era)
    task = create(gw, ask=True)
    listen = {"notifications": {"taskIds": [task, "own-1", "x"]}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", **CAPABLE}}
    head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "subscriptions/listen"}
    body = {"jsonrpc": "2.0", "id": 77, "method": "subscriptions/listen", "params": listen}
    with Stream(gw, "POST", "/mcp", head, body=body) as stream:
        assert stream.next()["params"]["notifications"] == {"taskIds": [task]}
        told = stream.next()
        while told["params"]["status"] == "working":  # until the question is heard
            told = stream.next()
        assert told["method"] == "notifications/tasks" and told["params"]["taskId"] == task
        assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 77
        (key,) = told["params"]["inputRequests"]
        modern(gw, "tasks/update", {"taskId": task, "inputResponses": {key: NAMED}})
        while told["params"]["status"] != "completed":
            told = stream.next()
        assert json.loads(text_of(told["params"]["result"])) == NAMED
        other = create(gw, never=True)
        body = {**body, "id": 78, "params": {**listen, "notifications": {"taskIds": [other]}}}
        with Stream(gw, "POST", "/mcp", head, body=body) as second:
            assert second.next()["params"]["notifications"] == {"taskIds": [other]}
            assert second.next()["params"]["status"] == "working"
            wait_for(lambda: gw.metric("gatespan_client_task_runs") >= 1, what="the task that runs")
    nothing_left(gw)


# ---- a legacy client ---------------------------------------------------------------------------------


def begin(session, tool="up__job", task=None, **arguments):
    made = session.result("tools/call", {"name": tool, "arguments": arguments, "task": task or {}})
    assert set(made) <= {"task", "_meta"}, made
    return made["task"]


def legacy_until(session, task, status):
    return wait_for(lambda: (s := session.result("tasks/get", {"taskId": task}))["status"] == status and s,
                    60, f"the task is {status}")


@pytest.mark.smoke
@ERAS
def test_legacy_client_begins_a_task_and_fetches_its_outcome(gateway, processes, era):
    """P-290, P-291, P-417: nested, then flat; the outcome names its task."""
    gw, server = start(gateway, processes, era)
    session = gw.session()
    assert session.info["capabilities"]["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    task = begin(session, task={"ttl": 120000}, polls=2, text="hello")
    assert {"taskId", "status", "createdAt", "lastUpdatedAt", "ttl", "pollInterval"} <= set(task)
    assert task["status"] == "working" and "own-" not in json.dumps(task)
    result = session.result("tasks/result", {"taskId": task["taskId"]})
    assert text_of(result) == "hello" and result["_meta"][RELATED] == {"taskId": task["taskId"]}
    assert "resultType" not in result
    assert legacy_until(session, task["taskId"], "completed")["taskId"] == task["taskId"]
    if era == "legacy":
        assert server.seen("tools/call")[0]["message"]["params"]["task"] == {"ttl": 120000}
    nothing_left(gw)


@ERAS
def test_legacy_client_sees_failures_as_its_revision_has_them(gateway, processes, era):
    """P-292, P-417: isError is failed, and its result is the outcome; so is an error."""
    gw, _ = start(gateway, processes, era)
    session = gw.session()
    task = begin(session, polls=1, error=True, text="oh")["taskId"]
    legacy_until(session, task, "failed")
    assert session.result("tasks/result", {"taskId": task})["isError"] is True
    task = begin(session, polls=1, code=-32603)["taskId"]
    legacy_until(session, task, "failed")
    assert refused(session.call("tasks/result", {"taskId": task}).message, -32603)["message"] == "broken"


@ERAS
def test_legacy_client_is_asked_on_the_stream_of_tasks_result(gateway, processes, era):
    """P-292, P-417: once, with the task that asks named."""
    gw, server = start(gateway, processes, era)
    session = gw.session(capabilities={"elicitation": {}})
    task = begin(session, ask=True)["taskId"]
    assert session.result("tasks/get", {"taskId": task})["status"] == "input_required"
    with session.stream("tasks/result", {"taskId": task}) as stream:
        question = stream.next()
        assert question["method"] == "elicitation/create"
        assert question["params"]["_meta"][RELATED] == {"taskId": task}
        session.answer(question, NAMED)
        assert json.loads(text_of(stream.next()["result"])) == NAMED
        assert stream.rest() == []
    nothing_left(gw)


def test_status_of_a_legacy_task_passes_under_its_shown_id(gateway, processes):
    """P-290, P-612."""
    gw, _ = start(gateway, processes, "legacy")
    session = gw.session()
    task = begin(session, polls=1, tell=True)["taskId"]
    with session.stream("tasks/result", {"taskId": task}) as stream:
        told = stream.next()
        assert told["method"] == "notifications/tasks/status"
        assert told["params"]["taskId"] == task and told["params"]["status"] == "working"
        assert "result" in stream.next()


# ---- what a server tells by itself -------------------------------------------------------------------

STATUS = "notifications/tasks/status"


def get_stream(gw, session):
    return Stream(gw, "GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}, session.key)


def telling(gateway, processes, **more):
    """A legacy server that is heard on the streams of its sessions, and is hardly ever asked."""
    keys = {"keys": {"ann": {"secret": ANN}, "eve": {"secret": EVE}}, "workers": 3}
    return start(gateway, processes, "legacy", config=keys, streams=True, poll=60000, **more)


def told_by(stream):
    message = stream.next()
    assert message["method"] == STATUS and set(message) == {"jsonrpc", "method", "params"}, message
    return message["params"]


def test_status_on_the_stream_of_an_upstream_session_reaches_its_owner(gateway, processes):
    """P-290, P-417, P-612: under the shown id, on the GET stream of the session that made the task, and on no other."""
    gw, server = telling(gateway, processes)
    ann, eve = gw.session(key=ANN), gw.session(key=EVE)
    with get_stream(gw, ann) as hers, get_stream(gw, eve) as others:
        task, other = begin(ann, hold=True)["taskId"], begin(eve, hold=True)["taskId"]
        wait_for(lambda: server.streams() == 2, what="the gateway listens for both")
        server.tell("own-1", statusMessage="half of it")
        told = told_by(hers)
        assert (told["taskId"], told["status"], told["statusMessage"]) == (task, "working", "half of it")
        assert {"createdAt", "lastUpdatedAt", "ttl", "pollInterval"} <= set(told) and "own-" not in json.dumps(told)
        server.end("own-1")
        server.tell("own-1")
        assert told_by(hers)["status"] == "completed"
        server.end("own-2")
        server.tell("own-2")
        assert told_by(others)["taskId"] == other  # the first that eve hears
    for session, id in ((ann, task), (eve, other)):  # the record has learnt of it: nobody is asked
        assert [(t["taskId"], t["status"]) for t in session.result("tasks/list")["tasks"]] == [(id, "completed")]
    assert not server.seen("tasks/get")
    nothing_left(gw)


def test_status_reaches_a_client_on_a_line(gateway, processes):
    """P-290: a client that has one connection for everything hears of its task there."""
    gw, server = telling(gateway, processes)
    with connect(f"ws://127.0.0.1:{gw.port}/mcp", subprotocols=["mcp"], additional_headers={"Authorization": f"Bearer {ANN}"}) as line:
        def ask(method, **params):
            line.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
            return json.loads(line.recv(20))["result"]

        ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "t", "version": "1"})
        line.send('{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        task = ask("tools/call", name="up__job", arguments={"hold": True}, task={})["task"]["taskId"]
        wait_for(lambda: server.streams() == 1, what="the gateway listens")
        server.tell("own-1", statusMessage="half of it")
        told = json.loads(line.recv(20))
        assert told["method"] == STATUS and told["params"]["taskId"] == task
        assert told["params"]["statusMessage"] == "half of it"


def test_status_that_comes_before_the_task_is_named(gateway, processes):
    """P-290: they travel on two connections; the client hears of it once it knows the task."""
    gw, server = telling(gateway, processes)
    session = gw.session(key=ANN)
    with get_stream(gw, session) as stream:
        task = begin(session, early=True)
        assert task["status"] == "working"
        told = told_by(stream)
        assert (told["taskId"], told["status"]) == (task["taskId"], "completed")
    assert session.result("tasks/list")["tasks"][0]["status"] == "completed" and not server.seen("tasks/get")


def test_status_makes_a_listen_look_at_once(gateway, processes):
    """P-298, P-446, P-704: a modern client is told the whole task, its outcome too, long before it would be polled."""
    gw, server = telling(gateway, processes)
    task = create(gw, hold=True, text="hello")
    wait_for(lambda: server.streams() == 1, what="the gateway listens")
    body = {"jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": {"notifications": {"taskIds": [task]}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", **CAPABLE}}}
    with Stream(gw, "POST", "/mcp", {"Accept": "application/json, text/event-stream", "Mcp-Method": "subscriptions/listen",
                                     "MCP-Protocol-Version": "2026-07-28"}, body=body) as stream:
        assert stream.next()["params"]["notifications"] == {"taskIds": [task]}
        assert stream.next()["params"]["status"] == "working"
        server.end("own-1")
        server.tell("own-1")
        told = stream.next()["params"]
        assert (told["taskId"], told["status"], text_of(told["result"])) == (task, "completed", "hello")
    assert len(server.seen("tasks/get")) == 2
    nothing_left(gw)


def test_a_word_that_cannot_be_is_dropped(gateway, processes):
    """P-292, P-612: unknown ids, nonsense, and what comes after the end; the next good one is heard."""
    gw, server = telling(gateway, processes)
    session = gw.session(key=ANN)
    with get_stream(gw, session) as stream:
        first, second = begin(session, hold=True)["taskId"], begin(session, hold=True)["taskId"]
        wait_for(lambda: server.streams() == 1, what="the gateway listens")
        for members in ({"taskId": "own-9"}, {"taskId": first}, {"taskId": ""}, {"taskId": 7}, {"taskId": "x" * 2000},
                        {"taskId": "own-1", "status": "perhaps"}, {"taskId": "own-1", "createdAt": None},
                        {"taskId": "own-1", "ttl": "long"}):
            server._control("tell", members)
        session.result("tasks/cancel", {"taskId": first})
        server.tell("own-1", status="working")
        server.tell("own-1", status="completed")
        server.tell("own-2", statusMessage="here")
        assert (told_by(stream)["taskId"], stream.status) == (second, 200)
    assert [t["status"] for t in session.result("tasks/list")["tasks"]] == ["cancelled", "working"]


@ERAS
def test_legacy_client_cancels_once(gateway, processes, era):
    """P-292: the task comes back cancelled; what has ended is not cancelled."""
    gw, _ = start(gateway, processes, era)
    session = gw.session()
    task = begin(session, never=True)["taskId"]
    assert session.result("tasks/cancel", {"taskId": task})["status"] == "cancelled"
    assert session.result("tasks/get", {"taskId": task})["status"] == "cancelled"
    refused(session.call("tasks/cancel", {"taskId": task}).message)
    assert "error" in session.call("tasks/result", {"taskId": task}).message
    done = begin(session, polls=1)["taskId"]
    legacy_until(session, done, "completed")
    refused(session.call("tasks/cancel", {"taskId": done}).message)
    nothing_left(gw)


def test_cancelled_is_final_for_a_legacy_client(gateway, processes):
    """P-292, P-294: a server with the extension may take its time; its client must not see that."""
    gw, server = start(gateway, processes, "modern", stubborn=True)
    session = gw.session()
    task = begin(session, never=True)["taskId"]
    assert session.result("tasks/cancel", {"taskId": task})["status"] == "cancelled"
    assert session.result("tasks/get", {"taskId": task})["status"] == "cancelled"
    assert len(server.seen("tasks/cancel")) == 1


@ERAS
def test_a_result_that_came_at_once_is_a_task_that_has_ended(gateway, processes, era):
    """P-417: who asked for a task gets one, though the upstream made none."""
    gw, _ = start(gateway, processes, "modern")
    session = gw.session()
    task = begin(session, tool="up__plain", text="quick")
    assert task["status"] == "completed"
    result = session.result("tasks/result", {"taskId": task["taskId"]})
    assert text_of(result) == "quick" and result["_meta"][RELATED] == {"taskId": task["taskId"]}
    assert begin(session, tool="up__plain", error=True)["status"] == "failed"


def test_a_tool_without_tasks_refuses_one(gateway, processes):
    """P-291, P-203; no tool requires one, as the gateway waits."""
    gw, server = start(gateway, processes, "legacy")
    session = gw.session()
    refused(session.call("tools/call", {"name": "up__plain", "arguments": {}, "task": {}}).message, -32601)
    for wrong in ("x", [], {"ttl": "1"}, {"ttl": -1}):
        refused(session.call("tools/call", {"name": "up__job", "arguments": {}, "task": wrong}).message)
    support = {t["name"]: t.get("execution", {}).get("taskSupport") for t in session.result("tools/list")["tools"]}
    assert support == {"up__job": "optional", "up__must": "optional", "up__plain": None}
    old = gw.session("2025-06-18")
    assert all("execution" not in t for t in old.result("tools/list")["tools"]) and "tasks" not in old.info["capabilities"]
    refused(old.call("tasks/list").message, -32601)
    # a member that means nothing in that revision leads to no task upstream either
    assert text_of(old.result("tools/call", {"name": "up__job", "arguments": {"text": "t"}, "task": {}})) == "t"


def test_lists_are_of_one_caller_and_have_pages(gateway, processes):
    """P-290, P-417, P-478."""
    gw, _ = start(gateway, processes, "modern", config={"limits": {"page": 2}, "keys": {
        "one": {"secret": "gs_one_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, "two": {"secret": "gs_two_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}}})
    one, two = (gw.session(key=k) for k in ("gs_one_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "gs_two_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"))
    made = [begin(one, polls=1)["taskId"] for _ in range(5)]
    other = begin(two, never=True)["taskId"]
    listed, cursor = [], None
    while True:
        page = one.result("tasks/list", {"cursor": cursor} if cursor else {})
        listed += page["tasks"]
        cursor = page.get("nextCursor")
        if not cursor:
            break
        refused(two.call("tasks/list", {"cursor": cursor}).message)
    assert [t["taskId"] for t in listed] == made
    assert [t["taskId"] for t in two.result("tasks/list")["tasks"]] == [other]
    refused(one.call("tasks/list", {"cursor": "x"}).message)
    # P-297, P-327: an id is no credential
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        refused(two.call(method, {"taskId": made[0]}).message)
    assert one.result("tasks/get", {"taskId": made[0]})["taskId"] == made[0]


# ---- clients that take no task ------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_tool_that_must_be_a_task_is_waited_for(gateway, processes, era, version):
    """P-418, P-446: within the call; questions included, and the client hears of no task."""
    gw, server = start(gateway, processes, era)
    session = gw.session(version, capabilities={"elicitation": {}})
    result = session.result("tools/call", {"name": "up__must", "arguments": {"polls": 2, "text": "hello"}})
    assert text_of(result) == "hello" and RELATED not in json.dumps(result)
    with session.stream("tools/call", {"name": "up__must", "arguments": {"ask": True}}) as stream:
        question = stream.next()
        assert RELATED not in json.dumps(question)
        session.answer(question, NAMED)
        assert json.loads(text_of(stream.next()["result"])) == NAMED
    error = refused(session.call("tools/call", {"name": "up__must", "arguments": {"code": -32603}}).message, -32603)
    assert error["message"] == "broken"
    nothing_left(gw)


def test_modern_client_without_the_extension_waits_for_a_legacy_task(gateway, processes):
    """P-446; a round of questions is one of its call."""
    gw, server = start(gateway, processes, "legacy")
    meta = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    call = {"name": "up__must", "arguments": {"text": "hello"}}
    assert text_of(modern(gw, "tools/call", call, meta=meta)["result"]) == "hello"
    call = {"name": "up__must", "arguments": {"ask": True}}
    asks = modern(gw, "tools/call", call, meta=meta)["result"]
    assert asks["resultType"] == "input_required"
    (key,) = asks["inputRequests"]
    again = {**call, "inputResponses": {key: NAMED}, "requestState": asks["requestState"]}
    done = modern(gw, "tools/call", again, meta=meta)["result"]
    assert done["resultType"] == "complete" and json.loads(text_of(done)) == NAMED
    assert len(server.seen("tools/call")) == 2
    nothing_left(gw)


def test_modern_peers_refuse_by_themselves(gateway, processes):
    """P-296: between modern peers -32021 is the upstream's word, and the client's to act on."""
    gw, _ = start(gateway, processes, "modern")
    answer = gw.modern("tools/call", {"name": "up__must", "arguments": {}})
    assert answer.status == 400
    assert refused(answer.message, -32021)["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}


@ERAS
def test_waiting_can_be_switched_off(gateway, processes, era):
    """Option `tasks: refuse`."""
    gw, _ = start(gateway, processes, era, upstream={"tasks": "refuse"})
    refused(gw.session().call("tools/call", {"name": "up__must", "arguments": {}}).message, -32601 if era == "legacy" else -32600)
    refused(gw.modern("tools/call", {"name": "up__must", "arguments": {}}).message, -32021)


@ERAS
def test_who_waits_in_vain_leaves_no_task_behind(gateway, processes, era):
    """P-418: limits.task_wait; the task is cancelled upstream. So it is when the client gives up."""
    gw, server = start(gateway, processes, era, config={"limits": {"task_wait": "1s"}})
    session = gw.session()
    assert "error" in session.call("tools/call", {"name": "up__must", "arguments": {"never": True}}).message
    wait_for(lambda: len(server.seen("tasks/cancel")) == 1, what="the task is cancelled")
    waits = threading.Thread(target=session.call, args=("tools/call", {"name": "up__must", "arguments": {"never": True}}, None, "w-1"))
    waits.start()
    wait_for(lambda: any(s["message"].get("params", {}).get("taskId") == "own-2" for s in server.seen()),
             what="the gateway waits for the other task")
    session.notify("notifications/cancelled", {"requestId": "w-1"})
    waits.join(60)
    wait_for(lambda: len(server.seen("tasks/cancel")) == 2, what="the other task is cancelled")
    nothing_left(gw)
    wait_for(lambda: server.waiting() == 0, what="no request waits at the server")


def give_up_before_its_name(gw, server, client, n):
    """One call whose task the server has made, and tells of when its client is gone already."""
    arguments = {"late": True, "never": True, "n": n}
    if client == "legacy":
        session = gw.session()
        stream = threading.Thread(target=session.call, args=("tools/call", {
            "name": "up__job", "arguments": arguments, "task": {}}, None, "c"))
        stream.start()
        leave = lambda: session.notify("notifications/cancelled", {"requestId": "c"})  # noqa: E731
    else:
        peer = socket.create_connection(("127.0.0.1", gw.port))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "up__job", "arguments": arguments, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", **CAPABLE}}})
        peer.sendall((f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{gw.port}\r\nAuthorization: Bearer {gw.key}\r\n"
                      "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
                      "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: up__job\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        leave = peer.close
    wait_for(lambda: len(server.seen("tools/call")) == n, what="the call is at the server")
    leave()
    gw.request("GET", "/health")  # the only worker has seen that it left
    server._control("go", {})
    if client == "legacy":
        stream.join(60)


@pytest.mark.parametrize("client", ["legacy", "modern"])
@ERAS
def test_a_task_that_is_named_to_nobody_is_cancelled(gateway, processes, era, client):
    """P-243, P-445: who gave up before does not leave it to its time to live. Another try where the machine was slow."""
    gw, server = start(gateway, processes, era, config={"workers": 1})
    for n in range(1, 4):
        give_up_before_its_name(gw, server, client, n)
        try:
            wait_for(lambda: any(s["message"]["params"]["taskId"] == f"own-{n}" for s in server.seen("tasks/cancel")),
                     what="the task is cancelled")
            break
        except AssertionError:
            assert n < 3
    assert not server.seen("notifications/cancelled")
    nothing_left(gw)


# ---- enemies -----------------------------------------------------------------------------------------


@ERAS
def test_ids_that_are_not_ours_are_unknown(gateway, processes, era):
    """P-296, P-297, P-613: changed, made up, the upstream's own, of another profile."""
    gw, server = start(gateway, processes, era, config={"profiles": {"p": {"upstreams": ["up"]}}})
    task = create(gw, never=True)
    changed = task[:30] + ("A" if task[30] != "A" else "B") + task[31:]
    before = len(server.seen())
    for wrong in (changed, task[:-1], task + "A", "own-1", "x", "ä", "y" * 5000, '"', "\\n"):
        for method, more in (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}})):
            params = {"taskId": wrong, **more}
            if wrong.isascii() and '"' not in wrong and "\\" not in wrong and len(wrong) < 1000:
                refused(modern(gw, method, params))
            refused(gw.session().call(method, params).message, -32601 if method == "tasks/update" else -32602)
    refused(get(gw, task, path="/mcp/p"))
    assert len(server.seen()) == before
    assert state(gw, task)["status"] == "working"


@ERAS
def test_an_id_outlives_the_process_that_made_it(gateway, processes, era):
    """P-297, P-613: it leads to the task by itself, and the questions are heard anew."""
    gw, server = start(gateway, processes, era)
    task, asks = create(gw, never=True), create(gw, ask=True)
    assert gw.stop() == 0
    again = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}}, data=gw.data).wait_ready("up")
    assert state(again, task)["status"] == "working"
    (key,) = until(again, asks, "input_required")["inputRequests"]
    assert modern(again, "tasks/update", {"taskId": asks, "inputResponses": {key: NAMED}})["result"]["resultType"] == "complete"
    assert json.loads(text_of(until(again, asks, "completed")["result"])) == NAMED
    nothing_left(again)


@ERAS
@pytest.mark.parametrize("nonsense", [
    {}, {"taskId": "a", "status": "asleep", "createdAt": "x"}, {"taskId": 1, "status": "working", "createdAt": "x"},
    {"taskId": "a", "status": "working"}, {"taskId": "a", "status": "working", "createdAt": "x", "ttl": "1", "ttlMs": "1"},
], ids=["empty", "status", "id", "time", "ttl"])
def test_an_upstream_that_answers_nonsense_fails_that_request(gateway, processes, era, nonsense):
    """-32603 with what was wrong; the task is there still."""
    gw, server = start(gateway, processes, era)
    task = create(gw, polls=1, text="sound")
    server.behave(era=era, replace={"tasks/get": nonsense})
    assert refused(get(gw, task), -32603)["data"]["gatespan"]["upstream"] == "up"
    assert "error" in gw.session().call("tasks/get", {"taskId": task}).message
    server.behave(era=era)
    assert text_of(until(gw, task, "completed")["result"]) == "sound"
    made = {"resultType": "task", **nonsense} if era == "modern" else {"task": nonsense}
    server.behave(era=era, replace={"tools/call": made})
    refused(modern(gw, "tools/call", {"name": "up__job", "arguments": {}}), -32603)
    nothing_left(gw)


def test_a_task_that_nobody_takes_is_the_upstreams_fault(gateway, processes):
    """P-296: never to a request that did not declare the extension."""
    gw, server = start(gateway, processes, "modern")
    made = {"resultType": "task", "taskId": "a", "status": "working", "createdAt": "x", "lastUpdatedAt": "x", "ttlMs": 1}
    server.behave(era="modern", replace={"tools/call": made})
    for answer in (gw.modern("tools/call", {"name": "up__job", "arguments": {}}).message,
                   gw.session().call("tools/call", {"name": "up__job", "arguments": {}}).message):
        assert "takes none" in refused(answer, -32603)["message"]


def test_tasks_are_bounded(gateway, processes):
    """limits.tasks_per_key: a legacy client is told, a modern one gets its result without a task."""
    gw, server = start(gateway, processes, "modern", config={"limits": {"tasks_per_key": 2}})
    session = gw.session()
    begin(session, never=True)
    create(gw, never=True)
    assert refused(session.call("tools/call", {"name": "up__job", "arguments": {}, "task": {}}).message, -32603)
    answer = modern(gw, "tools/call", {"name": "up__job", "arguments": {"text": "x"}})["result"]
    assert answer["resultType"] == "complete" and text_of(answer) == "x"
    wait_for(lambda: gw.metric("gatespan_client_tasks") == 2, what="two tasks")


def test_results_that_are_kept_are_bounded(gateway, processes):
    """limits.task_bytes: such a task fails, and says why."""
    gw, _ = start(gateway, processes, "modern", config={"limits": {"task_bytes": "64KiB"}})
    session = gw.session()
    task = begin(session, tool="up__plain", text="x" * 70000)
    assert task["status"] == "failed"
    assert "task_bytes" in refused(session.call("tasks/result", {"taskId": task["taskId"]}).message, -32603)["message"]
    wait_for(lambda: gw.metric("gatespan_client_task_bytes") == 0, what="nothing kept")


def test_a_client_that_vanishes_leaves_nothing(gateway, processes):
    """P-435, P-472: a question of a legacy task that nobody answers is refused in the end."""
    gw, server = start(gateway, processes, "legacy", config={"limits": {"question_wait": "10s"}})
    task = create(gw, ask=True)
    until(gw, task, "input_required")
    nothing_left(gw)
    assert json.loads(text_of(until(gw, task, "completed")["result"])) == {"action": "cancel"}
    wait_for(lambda: server.waiting() == 0, what="no request waits at the server")


def test_cancelling_ends_what_listens_for_questions(gateway, processes):
    """Nothing is held open for a task that is over."""
    gw, server = start(gateway, processes, "legacy")
    task = create(gw, ask=True)
    until(gw, task, "input_required")
    modern(gw, "tasks/cancel", {"taskId": task})
    nothing_left(gw)
    wait_for(lambda: server.waiting() == 0, what="no request waits at the server")
    assert state(gw, task)["status"] == "cancelled"


# ---- the official SDK --------------------------------------------------------------------------------


def everything(gateway, node):
    from conftest import CLIENTS
    server = CLIENTS / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
    return gateway({"builtins": [], "upstreams": {"all": {"command": node, "args": [str(server), "stdio"]}}}).wait_ready("all")


def test_task_tool_of_the_typescript_sdk_for_every_client(gateway, node):
    """simulate-research-query of server-everything (SDK 1.x) requires a task: P-417, P-446, P-418."""
    gw = everything(gateway, node)
    call = {"name": "all__simulate-research-query", "arguments": {"topic": "tasks", "ambiguous": False}}
    task = modern(gw, "tools/call", call)["result"]
    assert task["resultType"] == "task"
    session = gw.session()
    began = session.result("tools/call", {**call, "task": {"ttl": 60000}})["task"]
    plain = gw.session("2025-06-18").result("tools/call", call)
    assert plain["content"] and RELATED not in json.dumps(plain)
    outcome = session.result("tasks/result", {"taskId": began["taskId"]})
    assert outcome["content"] and outcome["_meta"][RELATED] == {"taskId": began["taskId"]}
    assert until(gw, task["taskId"], "completed")["result"]["content"]
    nothing_left(gw)


def test_status_on_a_pipe_of_the_typescript_sdk(gateway, node):
    """P-290, P-417: its stages come one after the other on the pipe, and are told on the GET stream; nobody polls."""
    gw = everything(gateway, node)
    session = gw.session()
    with get_stream(gw, session) as stream:
        task = begin(session, "all__simulate-research-query", topic="tasks", ambiguous=False)["taskId"]
        told = [told_by(stream)]
        while told[-1]["status"] != "completed":
            told.append(told_by(stream))
    assert {t["taskId"] for t in told} == {task}
    assert len({t.get("statusMessage") for t in told if t["status"] == "working"}) > 1
    assert session.result("tasks/list")["tasks"][0]["status"] == "completed"


def test_question_of_a_task_of_the_typescript_sdk(gateway, node):
    """P-446: an ambiguous query asks in the middle of its task."""
    gw = everything(gateway, node)
    call = {"name": "all__simulate-research-query", "arguments": {"topic": "python", "ambiguous": True}}
    task = modern(gw, "tools/call", call)["result"]["taskId"]
    ((key, request),) = until(gw, task, "input_required")["inputRequests"].items()
    assert request["method"] == "elicitation/create"
    field = next(iter(request["params"]["requestedSchema"]["properties"]))
    answer = {"action": "accept", "content": {field: "technical"}}
    modern(gw, "tasks/update", {"taskId": task, "inputResponses": {key: answer}})
    assert until(gw, task, "completed")["result"]["content"]
    nothing_left(gw)

"""Tasks by raw peers, rule by rule from the text of PROTOCOL §6.11: both kinds of client with both kinds of server."""
import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import FIXTURES, free_port, wait_for

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
DECLARED = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}}}
ANN, EVE = "ann-0123456789abcdef", "eve-0123456789abcdef"
FINAL = ("completed", "failed", "cancelled")


class Tasking:
    """tests/fixtures/tasking_server.py."""

    def __init__(self, processes, era):
        self.port = free_port()
        p = processes(sys.executable, FIXTURES / "tasking_server.py", self.port, era)
        wait_for(lambda: "ready\n" in p.lines, what="the server")
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/control/{path}", data=data, timeout=60) as r:
            return json.loads(r.read())

    def finish(self, how="ok"):
        self.control("finish", {"how": how})

    def seen(self, *methods):
        return [m for m in self.control("seen") if m.get("method") in methods]


@pytest.fixture(params=["legacy", "modern"])
def peers(request, gateway, processes):
    """A gateway with two people before a server with tasks, of each era."""
    server = Tasking(processes, request.param)
    gw = gateway({"builtins": [], "keys": {"ann": {"secret": ANN}, "eve": {"secret": EVE}}, "profiles": {"other": {}},
                  "upstreams": {"up": {"url": server.url}}})
    return gw.wait_ready("up"), server, request.param


def modern(gw, method, key=ANN, meta=DECLARED, path="/mcp", **params):
    """The whole answer; tasks/… carry their task as Mcp-Name (P-298)."""
    return gw.modern(method, params, meta=meta, key=key, path=path, name=params.get("taskId"))


def begin(gw, **more):
    return modern(gw, "tools/call", name="up__work", arguments={}, **more).message["result"]


def code_of(answer):
    return answer.message.get("error", {}).get("code")


# ---- clients of 2025-11-25 ------------------------------------------------------------------------------

def test_a_task_of_2025_11_25(peers):
    """P-290, P-291, P-292, P-203, P-417, P-460: nested at first, then flat; the outcome by tasks/result, which names its task;
    what has ended is not cancelled."""
    gw, server, _ = peers
    session = gw.session(key=ANN)
    assert session.info["capabilities"]["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    support = {t["name"]: t.get("execution", {}).get("taskSupport") for t in session.result("tools/list")["tools"]}
    assert support["up__work"] == "optional"
    created = session.result("tools/call", {"name": "up__work", "arguments": {}, "task": {"ttl": 30000}})
    assert set(created) <= {"task", "_meta"}
    task = created["task"]
    assert task["status"] == "working" and {"taskId", "createdAt", "lastUpdatedAt", "ttl"} <= set(task)
    assert "own-" not in task["taskId"]
    state = session.result("tasks/get", {"taskId": task["taskId"]})  # P-297: it is there before its creation was answered
    assert (state["taskId"], state["status"]) == (task["taskId"], "working") and "task" not in state
    assert [t["taskId"] for t in session.result("tasks/list")["tasks"]] == [task["taskId"]]
    server.finish()
    outcome = session.result("tasks/result", {"taskId": task["taskId"]})
    assert outcome["content"][0]["text"] == "done" and outcome["_meta"][RELATED] == {"taskId": task["taskId"]}
    state = session.result("tasks/get", {"taskId": task["taskId"]})
    assert state["status"] == "completed" and RELATED not in state.get("_meta", {})
    assert code_of(session.call("tasks/cancel", {"taskId": task["taskId"]})) == -32602
    assert not [m for m in (created, state, outcome) if {"resultType", "ttlMs"} & set(m)]


@pytest.mark.parametrize("how", ["isError", "error"])
def test_a_task_of_2025_11_25_that_fails(peers, how):
    """P-292, P-417: failed both ways; tasks/result is exactly what the call would have been answered with."""
    gw, server, _ = peers
    session = gw.session(key=ANN)
    task = session.result("tools/call", {"name": "up__work", "arguments": {}, "task": {}})["task"]
    server.finish(how)
    message = session.call("tasks/result", {"taskId": task["taskId"]}).message
    if how == "isError":
        assert message["result"]["isError"] is True and message["result"]["content"][0]["text"] == "broken"
    else:
        assert (message["error"]["code"], message["error"]["message"]) == (77, "burst")
    assert session.result("tasks/get", {"taskId": task["taskId"]})["status"] == "failed"


def test_a_task_of_2025_11_25_is_cancelled(peers):
    """P-292, P-290: the task comes back, cancelled for good; the server hears of it under its own id."""
    gw, server, _ = peers
    session = gw.session(key=ANN)
    task = session.result("tools/call", {"name": "up__work", "arguments": {}, "task": {}})["task"]
    assert session.result("tasks/cancel", {"taskId": task["taskId"]})["status"] == "cancelled"
    assert [m["params"]["taskId"] for m in server.seen("tasks/cancel")] == ["own-1"]
    assert session.result("tasks/get", {"taskId": task["taskId"]})["status"] == "cancelled"
    assert code_of(session.call("tasks/cancel", {"taskId": task["taskId"]})) == -32602


def test_clients_that_know_no_tasks(peers):
    """P-180, P-203, P-415, P-418: older revisions see nothing of them; a tool that runs as a task only is waited for."""
    gw, server, _ = peers
    for version in ("2025-06-18", "2025-03-26", "2024-11-05"):
        session = gw.session(version, key=ANN)
        assert "tasks" not in session.info["capabilities"]
        assert all("execution" not in t for t in session.result("tools/list")["tools"])
        assert code_of(session.call("tasks/list")) == -32601
        ignored = session.result("tools/call", {"name": "up__work", "arguments": {}, "task": {}})
        assert ignored["content"][0]["text"] == "done" and "task" not in ignored
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "tools/call", {"name": "up__must", "arguments": {}})
        wait_for(lambda: server.seen("tasks/get", "tasks/result"), what="the gateway waits for its task")
        assert not call.done()
        server.finish()
        message = call.result(60).message
    assert message.get("result", {}).get("content", [{}])[0].get("text") == "done", message


# ---- modern clients ---------------------------------------------------------------------------------------

def test_a_task_of_the_extension(peers):
    """P-293, P-294, P-295, P-297, P-446: flat, then the outcome inline; acknowledgements are empty; what has ended may be
    cancelled again and again."""
    gw, server, era = peers
    assert EXTENSION in modern(gw, "server/discover").message["result"]["capabilities"]["extensions"]
    created = begin(gw)
    assert created["resultType"] == "task" and created["status"] == "working"
    assert {"taskId", "createdAt", "lastUpdatedAt", "ttlMs"} <= set(created)
    assert not {"task", "result", "error", "inputRequests", "requestState", "content", "ttl"} & set(created)
    assert "own-" not in created["taskId"]  # P-613
    named = {"taskId": created["taskId"]}
    state = modern(gw, "tasks/get", **named).message["result"]
    assert (state["resultType"], state["status"], state["taskId"]) == ("complete", "working", created["taskId"])
    server.finish("isError")
    state = modern(gw, "tasks/get", **named).message["result"]
    assert state["status"] == "completed" and state["result"]["isError"] is True and "error" not in state
    for _ in range(2):
        acknowledged = modern(gw, "tasks/cancel", **named).message["result"]
        assert set(acknowledged) <= {"resultType", "_meta"} and acknowledged["resultType"] == "complete"
    assert set(modern(gw, "tasks/update", inputResponses={"nobody": {}}, **named).message["result"]) <= {"resultType", "_meta"}
    failing = begin(gw)
    server.finish("error")
    state = modern(gw, "tasks/get", taskId=failing["taskId"]).message["result"]
    assert state["status"] == "failed" and state["error"]["code"] == 77 and "result" not in state
    assert [m["params"]["taskId"] for m in server.seen("tasks/get")][:2] == ["own-1", "own-1"]  # P-613: its own there
    assert era == "modern" or all("task" in m["params"] for m in server.seen("tools/call"))


def test_rounds_come_before_the_task(gateway, processes):
    """P-299: the questions of the call first, then the task, in which nothing of their state is left."""
    server = Tasking(processes, "modern")
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}}).wait_ready("up")
    meta = {"io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}}, "elicitation": {}}}
    call = {"name": "up__work", "arguments": {"ask": True}}
    asked = modern(gw, "tools/call", key="", meta=meta, **call).message["result"]
    assert asked["resultType"] == "input_required" and "taskId" not in asked
    created = modern(gw, "tools/call", key="", meta=meta, **call, requestState=asked["requestState"],
                     inputResponses={"k": {"action": "accept", "content": {}}}).message["result"]
    assert created["resultType"] == "task" and not {"requestState", "inputRequests"} & set(created)
    first, second = server.seen("tools/call")
    assert "requestState" not in first["params"] and second["params"]["requestState"] == "state-of-the-rounds"
    state = modern(gw, "tasks/get", key="", meta=meta, taskId=created["taskId"]).message["result"]
    assert "requestState" not in state and "state-of-the-rounds" not in json.dumps([created, state])
    assert "requestState" not in server.seen("tasks/get")[-1]["params"]


def test_who_did_not_declare_the_extension(peers):
    """P-296: gets no task, and may not ask for one; the refusal says what to declare. What the extension has not, is not there."""
    gw, server, _ = peers
    plain = {"io.modelcontextprotocol/clientCapabilities": {}}
    done = modern(gw, "tools/call", meta=plain, name="up__work", arguments={}, task={"ttl": 1}).message["result"]
    assert done["resultType"] == "complete" and done["content"][0]["text"] == "done"
    created = begin(gw)
    for method, more in (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}})):
        answer = modern(gw, method, meta=plain, taskId=created["taskId"], **more)
        assert (answer.status, code_of(answer)) == (400, -32021), method
        assert EXTENSION in answer.message["error"]["data"]["requiredCapabilities"]["extensions"]
    for method in ("tasks/list", "tasks/result"):
        answer = modern(gw, method, **({"taskId": created["taskId"]} if method == "tasks/result" else {}))
        assert (answer.status, code_of(answer)) == (404, -32601), method
    assert not server.seen("tasks/get", "tasks/cancel", "tasks/update", "tasks/list", "tasks/result")


def test_the_header_of_a_task(peers):
    """P-298, P-071: Mcp-Name is the id that the client knows; else 400 and -32020, before anything is done."""
    gw, server, _ = peers
    created = begin(gw)
    for headers in ({"Mcp-Name": "other"}, {"Mcp-Name": ""}):
        answer = gw.modern("tasks/get", {"taskId": created["taskId"]}, meta=DECLARED, key=ANN, headers=headers)
        assert (answer.status, code_of(answer)) == (400, -32020), headers
    answer = gw.modern("tasks/get", {"taskId": created["taskId"]}, meta=DECLARED, key=ANN)
    assert (answer.status, code_of(answer)) == (400, -32020)
    assert not server.seen("tasks/get")


def test_ids_of_tasks_are_their_owners(peers):
    """P-297, P-327, P-612, P-613: of another principal or profile, changed, made up, the server's own: -32602, and the server
    hears nothing; the task is unharmed."""
    gw, server, _ = peers
    shown = begin(gw)["taskId"]
    legacy = gw.session(key=ANN).result("tools/call", {"name": "up__work", "arguments": {}, "task": {}})["task"]["taskId"]
    middle = len(shown) // 2
    changed = shown[:middle] + ("A" if shown[middle] != "A" else "B") + shown[middle + 1:]
    wrong = [changed, shown[:-1], shown + "A", "own-1", "x", "A" * 3000]
    for method, more in (("tasks/get", {}), ("tasks/cancel", {}), ("tasks/update", {"inputResponses": {}})):
        for task in wrong:
            assert code_of(modern(gw, method, taskId=task, **more)) == -32602, (method, task)
        assert code_of(modern(gw, method, key=EVE, taskId=shown, **more)) == -32602
        assert code_of(modern(gw, method, path="/mcp/other", taskId=shown, **more)) == -32602
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        for task in [*wrong, "", 7, None]:
            assert code_of(gw.session(key=ANN).call(method, {"taskId": task})) == -32602, (method, task)
        assert code_of(gw.session(key=EVE).call(method, {"taskId": legacy})) == -32602
    assert gw.session(key=EVE).result("tasks/list")["tasks"] == []
    assert not server.seen("tasks/get", "tasks/cancel", "tasks/update", "tasks/result")
    assert modern(gw, "tasks/get", taskId=shown).message["result"]["status"] == "working"
    server.finish()
    assert modern(gw, "tasks/get", taskId=shown).message["result"]["status"] == "completed"
    for name in ("gatespan_exchanges_in_flight", "gatespan_parked", "gatespan_questions_open", "gatespan_upstream_in_flight"):
        wait_for(lambda n=name: gw.metric(n) == 0, what=f"{name} is 0")


def test_a_task_where_there_can_be_none(gateway, processes):
    """P-291, P-203: -32601 for `task` with a tool that forbids it; a malformed one is -32602; the server is not called."""
    server = Tasking(processes, "legacy")
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url}}}).wait_ready("up")
    session = gw.session()
    assert code_of(session.call("tools/call", {"name": "up__never", "arguments": {}, "task": {}})) == -32601
    for task in ([], 7, {"ttl": "long"}):
        assert code_of(session.call("tools/call", {"name": "up__work", "arguments": {}, "task": task})) == -32602, task
    assert not server.seen("tools/call")
    assert session.result("tools/call", {"name": "up__never", "arguments": {}})["content"][0]["text"] == "done"

"""Questions in the middle of a call, in all four cells: who asks, who is asked, what comes of it (PROTOCOL §8)."""
import http.client
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import (CLIENTS, FIXTURES, Stream, fixture_server, free_port, http_server, memory_bound, resident, run_client,
                      wait_for)

FORM = {"method": "elicitation/create", "params": {
    "message": "Your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}
URL = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://example.org/x", "message": "Open this"}}
SAMPLE = {"method": "sampling/createMessage", "params": {
    "messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 5}}
ROOTS = {"method": "roots/list"}
ALL = {"roots": {}, "sampling": {"tools": {}, "context": {}}, "elicitation": {"form": {}, "url": {}}}
APPS = {"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}}
NAMED = {"action": "accept", "content": {"name": "Ada"}}
SAMPLED = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "4"}}
ROOTED = {"roots": [{"uri": "file:///home", "name": "home"}]}
ANSWERS = {"elicitation/create": NAMED, "sampling/createMessage": SAMPLED, "roots/list": ROOTED}


def text_of(message):
    assert "result" in message, message
    return json.loads(message["result"]["content"][0]["text"])


def start(gateway, processes, era="legacy", upstream=None, config=None, **behaviour):
    """A gateway in front of one HTTP fixture with tools that ask."""
    server = http_server(processes, era=era, tools=["echo", "ask", "inputs"], **behaviour)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, **(upstream or {})}}, **(config or {})})
    return gw.wait_ready("up"), server


def nothing_left(gw):
    """Nothing parked, asked, open or in flight (issue: bad input)."""
    for name in ("gatespan_exchanges_in_flight", "gatespan_questions_open", "gatespan_parked"):
        wait_for(lambda n=name: gw.metric(n) == 0, what=f"{name} is 0")


def converse(session, stream, answers=ANSWERS):
    """Answers every question until the response; (questions, notifications, response)."""
    questions, notes = [], []
    while (m := stream.next()) is not None:
        if "id" in m and "method" in m:
            questions.append(m)
            assert session.answer(m, answers[m["method"]]).status == 202
        elif "method" in m:
            notes.append(m)
        else:
            return questions, notes, m
    raise AssertionError("the stream ended without an answer")


# ---- legacy client ----------------------------------------------------------------------------------

@pytest.mark.smoke
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("question", [FORM, SAMPLE, ROOTS, URL], ids=["form", "sampling", "roots", "url"])
def test_legacy_client_is_asked_on_the_stream_of_its_call(gateway, processes, era, question):
    """P-260, P-402, P-403, P-460: a real request with an id of the gateway's; the answer reaches the upstream."""
    gw, server = start(gateway, processes, era)
    session = gw.session(capabilities=ALL)
    arguments = {"questions": [question]} if era == "legacy" else {"requests": {"k": question}}
    tool = "up__ask" if era == "legacy" else "up__inputs"
    with session.stream("tools/call", {"name": tool, "arguments": arguments}) as stream:
        questions, told, answer = converse(session, stream)
    (q,) = questions
    if era == "modern" and question is URL:  # P-407
        assert [t["method"] for t in told] == ["notifications/elicitation/complete"]
        assert told[0]["params"]["elicitationId"] == q["params"]["elicitationId"]
    else:
        assert told == []
    assert q["method"] == question["method"]
    assert q["params"]["_meta"]["gatespan/upstream"] == "up"
    if question in (FORM, URL):  # P-274, P-640: people see who asks
        assert q["params"]["message"] == "[up] " + question["params"]["message"]
    assert ("elicitationId" in q["params"]) == (question is URL)  # P-407
    given = ANSWERS[question["method"]]
    if era == "legacy":
        assert text_of(answer) == [[{"result": given}]]
    else:
        assert text_of(answer)["said"] == [{"k": given}]
        assert text_of(answer)["capabilities"] == ALL
        retry = server.seen("tools/call")[1]["message"]
        assert retry["id"] != server.seen("tools/call")[0]["message"]["id"]  # P-097
    nothing_left(gw)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_several_questions_at_once_and_in_rounds(gateway, processes, era):
    """P-098, P-403: all of a round are put at once, answered in any order; rounds repeat."""
    gw, _ = start(gateway, processes, era)
    session = gw.session(capabilities=ALL)
    if era == "legacy":
        call = {"name": "up__ask", "arguments": {"questions": [FORM, SAMPLE, ROOTS], "rounds": 3}}
    else:
        call = {"name": "up__inputs", "arguments": {"requests": {"a": FORM, "b": SAMPLE, "c": ROOTS}, "rounds": 3}}
    with session.stream("tools/call", call) as stream:
        for _ in range(3):
            asked = [stream.next() for _ in range(3)]
            for q in reversed(asked):
                assert session.answer(q, ANSWERS[q["method"]]).status == 202
        answer = stream.next()
    if era == "legacy":
        assert text_of(answer) == [[{"result": NAMED}], [{"result": SAMPLED}], [{"result": ROOTED}]] * 3
    else:
        assert text_of(answer)["said"] == [{"a": NAMED, "b": SAMPLED, "c": ROOTED}] * 3
    nothing_left(gw)


def test_legacy_client_of_an_older_revision_is_asked_in_its_words(gateway, processes):
    """P-402, P-475: 2025-06-18 knows forms but no modes; url is not even declared to the upstream."""
    gw, server = start(gateway, processes, "modern")
    session = gw.session("2025-06-18", capabilities={"elicitation": {}, "roots": {"listChanged": True}})
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {
            "requests": {"k": {**FORM, "params": {"mode": "form", **FORM["params"]}}}}}) as stream:
        (q,), _, answer = converse(session, stream)
    assert "mode" not in q["params"]
    assert text_of(answer)["capabilities"] == {"roots": {}, "elicitation": {"form": {}}}


def test_client_without_the_capability_is_never_asked(gateway, processes):
    """P-406, P-437: the upstream is told so by capabilities; what it asks all the same is refused to it."""
    gw, server = start(gateway, processes)
    answer = gw.session().call("tools/call", {"name": "up__ask", "arguments": {"questions": [FORM, SAMPLE]}})
    said = text_of(answer.message)
    assert [s[0]["error"]["code"] for s in said] == [-32601, -32601]
    server.behave(era="modern")


def test_missing_capability_of_a_modern_upstream_has_its_legacy_words(gateway, processes):
    """P-406: -32021 becomes -32600 with the same data."""
    gw, server = start(gateway, processes, "modern")
    server.behave(faults={"tools/call": {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32021,'
                          '"message":"needs sampling","data":{"requiredCapabilities":{"sampling":{}}}}}'}})
    error = gw.session().call("tools/call", {"name": "up__inputs", "arguments": {}}).message["error"]
    assert error["code"] == -32600 and error["data"] == {"requiredCapabilities": {"sampling": {}}}
    server.behave(faults={})
    # asked without having been offered it: the upstream's fault (P-045)
    error = gw.session().call("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": FORM}}}).message["error"]
    assert error["code"] == -32603 and "elicitation/create" in error["message"]
    nothing_left(gw)


def test_refusals_of_a_legacy_client(gateway, processes):
    """P-404, P-471: a refused form is cancelled; refused sampling ends the call with the client's own error."""
    gw, _ = start(gateway, processes, "modern")
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": FORM}}}) as stream:
        session.answer(stream.next(), error={"code": -32603, "message": "no"})
        assert text_of(stream.next())["said"] == [{"k": {"action": "cancel"}}]
    refusal = {"code": -1, "message": "User rejected", "data": {"why": "late"}}
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": SAMPLE}}}) as stream:
        session.answer(stream.next(), error=refusal)
        assert stream.next()["error"] == refusal
    nothing_left(gw)


def test_refusals_pass_between_legacy_peers(gateway, processes):
    """P-460: error code, message and data of the client's answer are the upstream's to read."""
    gw, _ = start(gateway, processes)
    session = gw.session(capabilities=ALL)
    refusal = {"code": -1, "message": "User rejected", "data": [1]}
    with session.stream("tools/call", {"name": "up__ask", "arguments": {"questions": [SAMPLE]}}) as stream:
        session.answer(stream.next(), error=refusal)
        assert text_of(stream.next()) == [[{"error": refusal}]]


def test_answers_nobody_waits_for_change_nothing(gateway, processes):
    """Answers to questions never asked, duplicates, answers of another session: ignored, the right one counts."""
    gw, _ = start(gateway, processes)
    session, other = gw.session(capabilities=ALL), gw.session(capabilities=ALL)
    for number in (1, 2, 3, 99999, -1, "1", "abc"):
        assert session.answer({"id": number}, {"action": "accept"}).status == 202
    with session.stream("tools/call", {"name": "up__ask", "arguments": {"questions": [FORM]}}) as stream:
        q = stream.next()
        assert other.answer(q, {"action": "accept", "content": {"name": "Eve"}}).status == 202
        assert session.answer({"id": str(q["id"])}, {"action": "decline"}).status == 202
        session.answer(q, NAMED)
        session.answer(q, {"action": "decline"})
        assert text_of(stream.next()) == [[{"result": NAMED}]]
    nothing_left(gw)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_question_that_is_not_answered_ends_the_call(gateway, processes, era):
    """P-404: the client hears that its answer is not wanted any more, and why its call failed."""
    gw, server = start(gateway, processes, era, config={"limits": {"question_wait": "1s"}})
    session = gw.session(capabilities=ALL)
    call = {"name": "up__ask", "arguments": {"questions": [FORM]}} if era == "legacy" else \
        {"name": "up__inputs", "arguments": {"requests": {"k": FORM}}}
    with session.stream("tools/call", call) as stream:
        q = stream.next()
        cancelled = stream.next()
        assert cancelled["method"] == "notifications/cancelled" and cancelled["params"]["requestId"] == q["id"]
        error = stream.next()["error"]
        assert error["code"] == -32603 and error["data"]["gatespan"]["kind"] == "timeout"
    nothing_left(gw)
    if era == "legacy":  # P-243
        wait_for(lambda: server.seen("notifications/cancelled"), what="the upstream is told")


def test_a_cancelled_call_withdraws_its_questions(gateway, processes):
    """P-243, P-414: the client gives up in the middle of being asked."""
    gw, server = start(gateway, processes)
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__ask", "arguments": {"questions": [FORM]}}, "c-1") as stream:
        stream.next()
        session.notify("notifications/cancelled", {"requestId": "c-1"})
        assert [m for m in stream.rest() if "result" in m or "error" in m] == []
    nothing_left(gw)
    wait_for(lambda: server.seen("notifications/cancelled"), what="the upstream is told")


def test_rounds_and_questions_are_bounded(gateway, processes):
    """P-102: an upstream that asks without end is stopped."""
    gw, _ = start(gateway, processes, "modern", config={"limits": {"rounds": 3, "questions": 2}})
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": FORM}, "rounds": 9}}) as stream:
        questions, _, answer = converse(session, stream)
    assert len(questions) == 3 and "rounds" in answer["error"]["message"]
    many = {str(i): FORM for i in range(3)}
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": many}}) as stream:
        messages = stream.rest()
    assert "questions" in messages[-1]["error"]["message"]
    nothing_left(gw)


def test_an_upstream_that_only_wants_to_be_called_again(gateway, processes):
    """P-405: no questions, only a state: the gateway retries by itself."""
    gw, server = start(gateway, processes, "modern")
    answer = gw.session().call("tools/call", {"name": "up__inputs", "arguments": {"rounds": 2}})
    assert text_of(answer.message)["said"] == []
    assert len(server.seen("tools/call")) == 3


def test_questions_can_be_switched_off_for_an_upstream(gateway, processes):
    """Option `questions: refuse`: nothing is declared, nothing is carried."""
    gw, server = start(gateway, processes, upstream={"questions": "refuse"})
    session = gw.session(capabilities=ALL)
    answer = session.call("tools/call", {"name": "up__ask", "arguments": {"questions": [ROOTS]}})
    assert text_of(answer.message)[0][0]["error"]["code"] == -32601
    declared = [s["message"]["params"]["capabilities"] for s in server.seen("initialize")]
    assert declared == [APPS, {}]  # the keeper's, which lists apps too; the session's


def test_sessions_differ_by_what_can_be_asked(gateway, processes):
    """P-431: each capability class has an upstream session of its own, which declares the truth."""
    gw, server = start(gateway, processes)
    for capabilities in ({}, {"roots": {}}, {"roots": {}}, ALL):
        gw.session(capabilities=capabilities).call("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
    declared = [s["message"]["params"]["capabilities"] for s in server.seen("initialize")]
    assert declared == [{**ALL, **APPS, "roots": {"listChanged": True}}, {}, {"roots": {}}, ALL]  # the first is the keeper's


# ---- over stdio ---------------------------------------------------------------------------------------

def stdio_gateway(gateway, **options):
    return gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy", **options)}}).wait_ready("up")


def test_legacy_client_and_a_child_process(gateway):
    """P-432: the only caller in flight is the one who is asked."""
    gw = stdio_gateway(gateway)
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__ask", "arguments": {}}) as stream:
        questions, _, answer = converse(session, stream)
    assert [q["method"] for q in questions] == ["sampling/createMessage"]
    said = {a["id"]: a for a in text_of(answer)}
    assert said["q-1"]["result"] == SAMPLED and said[2]["result"] == {}
    nothing_left(gw)


def test_a_child_that_serves_two_callers_asks_nobody(gateway):
    """P-432: on a pipe nothing says whose question it is, and a stranger must not be asked."""
    gw = stdio_gateway(gateway)
    one, other = gw.session(capabilities=ALL), gw.session(capabilities=ALL)
    waits = threading.Thread(target=other.call, args=("tools/call", {"name": "up__silent"}, None, "w-1"))
    waits.start()
    gw.wait_log("silent call")
    said = {a["id"]: a for a in text_of(one.call("tools/call", {"name": "up__ask", "arguments": {}}).message)}
    assert said["q-1"]["error"]["code"] == -32601
    other.notify("notifications/cancelled", {"requestId": "w-1"})
    waits.join(60)
    nothing_left(gw)


# ---- modern client ------------------------------------------------------------------------------------

CAPABLE = {"io.modelcontextprotocol/clientCapabilities": ALL}


def modern(gw, name, arguments=None, responses=None, state=None, meta=CAPABLE, **options):
    """One round of a tool call in modern form; the message."""
    params = {"name": name, "arguments": arguments or {}}
    if responses is not None:
        params["inputResponses"] = responses
    if state is not None:
        params["requestState"] = state
    return gw.modern("tools/call", params, meta=meta, **options).message


def asked(message):
    """The result of a round that ended with questions."""
    assert message.get("result", {}).get("resultType") == "input_required", message
    return message["result"]


def refused(message, code=-32602):
    assert message.get("error", {}).get("code") == code, message
    return message["error"]["message"]


@pytest.mark.smoke
@pytest.mark.parametrize("question", [FORM, SAMPLE, ROOTS, URL], ids=["form", "sampling", "roots", "url"])
def test_modern_client_of_a_legacy_upstream_is_asked_by_a_round(gateway, processes, question):
    """P-433, P-434, P-439: the answers reach the very call that asked; it ran once."""
    gw, server = start(gateway, processes)
    arguments = {"questions": [question]}
    result = asked(modern(gw, "up__ask", arguments))
    ((key, request),) = result["inputRequests"].items()
    assert request["method"] == question["method"]
    assert request["params"]["_meta"]["gatespan/upstream"] == "up"
    assert "elicitationId" not in request["params"]
    wait_for(lambda: gw.metric("gatespan_parked") == 1, what="one parked")
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing in flight")
    given = ANSWERS[question["method"]]
    done = modern(gw, "up__ask", arguments, {key: given}, result["requestState"])
    assert text_of(done) == [[{"result": given}]] and done["result"]["resultType"] == "complete"
    assert len(server.seen("tools/call")) == 1
    nothing_left(gw)


@pytest.mark.parametrize("workers", [1, 3])
def test_rounds_go_on_whatever_worker_they_reach(gateway, processes, workers):
    """P-434, decision 2: several rounds of several questions, calls side by side."""
    gw, server = start(gateway, processes, config={"workers": workers})
    call = {"questions": [FORM, SAMPLE, ROOTS], "rounds": 4}

    def whole(_):
        message = modern(gw, "up__ask", call)
        while message["result"].get("resultType") == "input_required":  # a slow server's questions come in parts
            result = asked(message)
            given = {k: ANSWERS[q["method"]] for k, q in result["inputRequests"].items()}
            message = modern(gw, "up__ask", call, given, result["requestState"])
        return text_of(message)

    with ThreadPoolExecutor(8) as pool:
        for said in pool.map(whole, range(24)):
            assert said == [[{"result": NAMED}], [{"result": SAMPLED}], [{"result": ROOTED}]] * 4
    assert len(server.seen("tools/call")) == 24
    nothing_left(gw)


def test_missing_answers_are_asked_for_again(gateway, processes):
    """P-100: what was answered counts, what was not is asked again; what nobody asked is ignored."""
    gw, _ = start(gateway, processes)
    call = {"questions": [FORM, ROOTS]}
    result = asked(modern(gw, "up__ask", call))
    keys = {q["method"]: k for k, q in result["inputRequests"].items()}
    again = asked(modern(gw, "up__ask", call, {keys["roots/list"]: ROOTED, "q99": NAMED, "": {}}, result["requestState"]))
    assert list(again["inputRequests"]) == [keys["elicitation/create"]]
    done = modern(gw, "up__ask", call, {keys["elicitation/create"]: NAMED}, again["requestState"])
    assert text_of(done) == [[{"result": NAMED}], [{"result": ROOTED}]]
    nothing_left(gw)


def test_malformed_answers_are_refused_and_spoil_nothing(gateway, processes):
    """P-100: -32602; the round can be answered still."""
    gw, _ = start(gateway, processes)
    call = {"questions": [FORM]}
    result = asked(modern(gw, "up__ask", call))
    (key,) = result["inputRequests"]
    for wrong in ({key: {"action": "perhaps"}}, {key: []}, {key: None}, []):
        refused(modern(gw, "up__ask", call, wrong, result["requestState"]))
    done = modern(gw, "up__ask", call, {key: NAMED}, result["requestState"])
    assert text_of(done) == [[{"result": NAMED}]]
    nothing_left(gw)


def test_a_state_opens_for_its_own_request_alone(gateway, processes):
    """P-099, P-327, P-434: tampered, foreign, stolen, replayed: -32602, and the call is unharmed."""
    gw, server = start(gateway, processes, config={"keys": {"eve": {"secret": "eve-0123456789abcdef"}}})
    call = {"questions": [FORM]}
    result = asked(modern(gw, "up__ask", call))
    (key,) = result["inputRequests"]
    state, answer = result["requestState"], {key: NAMED}
    tampered = state[:-9] + ("A" if state[-9] != "A" else "B") + state[-8:]
    for wrong in (tampered, state[:-1], state + "A", "", "x", "e30", "A" * 10000):
        refused(modern(gw, "up__ask", call, answer, wrong))
    refused(modern(gw, "up__ask", {"questions": [FORM], "more": 1}, answer, state))  # other arguments
    refused(modern(gw, "up__inputs", call, answer, state))  # another tool
    refused(modern(gw, "up__ask", call, answer, state, key="eve-0123456789abcdef"))  # another principal
    assert len(server.seen("tools/call")) == 1
    assert text_of(modern(gw, "up__ask", call, answer, state)) == [[{"result": NAMED}]]
    assert "ended" in refused(modern(gw, "up__ask", call, answer, state))  # once
    assert len(server.seen("tools/call")) == 1
    nothing_left(gw)


def test_answers_without_a_state_begin_a_call(gateway, processes):
    """P-097, P-100: they continue nothing, and what they are for is asked; what is no object is refused."""
    gw, server = start(gateway, processes)
    call = {"questions": [FORM]}
    result = asked(modern(gw, "up__ask", call, {"q1": NAMED, "name": NAMED}))
    assert list(result["inputRequests"]) == ["q1"]
    assert text_of(modern(gw, "up__ask", call, {"q1": NAMED}, result["requestState"])) == [[{"result": NAMED}]]
    for wrong in ([], "x", 1):
        refused(modern(gw, "up__ask", call, wrong))
    assert len(server.seen("tools/call")) == 1
    nothing_left(gw)


def chain(gateway, processes, folder):
    """A modern server behind a gateway that offers sessions alone, behind another gateway: (the outer, the server)."""
    server = http_server(processes, era="modern", tools=["inputs"])
    own = {"prefix": False, "rewrite_uris": False}
    config = folder / "inner.json"  # each its own: gateways read theirs again when it changes
    config.write_text(json.dumps({"builtins": [], "protocol": {"newest": "2025-11-25"},
                                  "upstreams": {"up": {"url": server.url, **own}}}))
    inner = gateway(config)
    wait_for(lambda: inner.upstream("up")["state"] == "ready", what="the inner gateway's upstream")
    headers = {"Authorization": f"Bearer {inner.key}"}
    outer = gateway({"builtins": [], "upstreams": {"up": {"url": inner.mcp, "headers": headers, **own}}})
    wait_for(lambda: outer.upstream("up")["state"] == "ready", what="the outer gateway's upstream")
    return outer, server


def test_two_gateways_keep_the_keys_of_a_server(gateway, processes, tmp_path):
    """P-096, P-433: a legacy hop has no keys; between gateways they travel in _meta."""
    gw, server = chain(gateway, processes, tmp_path)
    call = {"requests": {"user_name": FORM, "what.to-say": SAMPLE}}
    result = asked(modern(gw, "inputs", call))
    assert set(result["inputRequests"]) == {"user_name", "what.to-say"}
    assert "gatespan/key" not in json.dumps(result)
    answers = {"user_name": NAMED, "what.to-say": SAMPLED}
    done = text_of(modern(gw, "inputs", call, answers, result["requestState"]))
    assert done["said"] == [answers]
    # who knows the keys may bring answers at once; others are still asked for
    assert text_of(modern(gw, "inputs", call, {**answers, "more": 1}))["said"] == [answers]
    again = asked(modern(gw, "inputs", call, {"user_name": NAMED, "what.to-say": {"role": 1}}))
    assert list(again["inputRequests"]) == ["what.to-say"]
    assert text_of(modern(gw, "inputs", call, {"what.to-say": SAMPLED}, again["requestState"]))["said"] == [answers]
    nothing_left(gw)


def test_one_of_many_retries_goes_on(gateway, processes):
    """P-434: the same round answered twelve times at once runs on once."""
    gw, server = start(gateway, processes, config={"workers": 2})
    result = asked(modern(gw, "up__ask", {"questions": [FORM]}))
    (key,) = result["inputRequests"]
    with ThreadPoolExecutor(12) as pool:
        messages = list(pool.map(lambda _: modern(gw, "up__ask", {"questions": [FORM]}, {key: NAMED},
                                                  result["requestState"]), range(12)))
    assert len([m for m in messages if "result" in m]) == 1
    assert all(m["error"]["code"] == -32602 for m in messages if "error" in m)
    nothing_left(gw)


@pytest.mark.parametrize("over", ["http", "stdio"])
def test_a_client_that_never_returns(gateway, processes, over):
    """P-435, P-472: at its end the questions are refused, the upstream is told, nothing is left; no second run."""
    short = {"limits": {"question_wait": "1s"}}
    if over == "http":
        gw, server = start(gateway, processes, config=short)
    else:
        gw = gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy")}, **short}).wait_ready("up")
    call = {"questions": [FORM, SAMPLE, ROOTS], "leave": True} if over == "http" else {}
    result = asked(modern(gw, "up__ask", call))
    wait_for(lambda: gw.metric("gatespan_parked_ended_total", how="expired") == 1, what="it expires")
    answers = {k: ANSWERS[q["method"]] for k, q in result["inputRequests"].items()}
    assert "ended" in refused(modern(gw, "up__ask", call, answers, result["requestState"]))
    nothing_left(gw)
    if over == "http":
        wait_for(lambda: server.seen("notifications/cancelled"), what="the upstream is told")
        wait_for(lambda: len(server.seen("")) == 3, what="each question has an answer")
        told = [s["message"] for s in server.seen("")]
        assert {"action": "cancel"} in [m.get("result") for m in told]
        assert sorted(m["error"]["code"] for m in told if "error" in m) == [-32601, -1]
        assert len(server.seen("tools/call")) == 1
    else:
        wait_for(lambda: len(text_of(modern(gw, "up__cancelled"))) == 1, what="the child is told")


def test_a_client_that_goes_in_its_second_round_cancels(gateway, processes):
    """P-165, P-445: closing the stream of a round ends the call; the round's own end did not."""
    gw, server = start(gateway, processes)
    call = {"questions": [FORM], "rounds": 2, "patience": 60}
    result = asked(modern(gw, "up__ask", call))
    assert not server.seen("notifications/cancelled")
    (key,) = result["inputRequests"]
    second = asked(modern(gw, "up__ask", call, {key: NAMED}, result["requestState"]))
    assert not server.seen("notifications/cancelled")
    (key,) = second["inputRequests"]
    server.behave(faults={"": {"kind": "nothing"}})  # the answer never reaches the upstream
    body = {"jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": {
        "name": "up__ask", "arguments": call, "inputResponses": {key: NAMED}, "requestState": second["requestState"],
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", **CAPABLE}}}
    head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call", "Mcp-Name": "up__ask", "Content-Type": "application/json",
            "Authorization": f"Bearer {gw.key}"}
    connection = http.client.HTTPConnection("127.0.0.1", gw.port)
    connection.request("POST", "/mcp", json.dumps(body), head)
    wait_for(lambda: len(server.seen("")) == 2, what="the answer on its way to the upstream")
    connection.close()
    wait_for(lambda: server.seen("notifications/cancelled"), what="the upstream is told")
    nothing_left(gw)


def test_progress_goes_to_the_round_that_is_there(gateway, processes):
    """P-444: each retry brings its own token."""
    gw, _ = start(gateway, processes)
    call = {"questions": [FORM], "rounds": 2, "progress": True}
    params = {"name": "up__ask", "arguments": call}
    first = gw.modern("tools/call", params, meta={**CAPABLE, "progressToken": "one"})
    told, message = first.events()[:-1], first.message
    assert [t["params"]["progressToken"] for t in told] == ["one"]
    result = asked(message)
    (key,) = result["inputRequests"]
    params |= {"inputResponses": {key: NAMED}, "requestState": result["requestState"]}
    second = gw.modern("tools/call", params, meta={**CAPABLE, "progressToken": 2})
    assert [t["params"]["progressToken"] for t in second.events()[:-1]] == [2]
    asked(second.message)


def test_modern_client_without_the_capability(gateway, processes):
    """P-431, P-437: its session declares nothing, and what is asked all the same is refused upstream."""
    gw, server = start(gateway, processes)
    said = text_of(modern(gw, "up__ask", {"questions": [FORM]}, meta={}))
    assert said[0][0]["error"]["code"] == -32601
    assert server.seen("initialize")[-1]["message"]["params"]["capabilities"] == {}
    half = {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}}
    result = asked(modern(gw, "up__ask", {"questions": [FORM, ROOTS]}, meta=half))
    assert [q["method"] for q in result["inputRequests"].values()] == ["roots/list"]


def test_waiting_calls_are_bounded(gateway, processes):
    """Beyond limits.parked_per_key a question is refused upstream; the call itself is not."""
    gw, _ = start(gateway, processes, config={"limits": {"parked_per_key": 2}})
    states = [asked(modern(gw, "up__ask", {"questions": [FORM]})) for _ in range(2)]
    assert text_of(modern(gw, "up__ask", {"questions": [FORM]})) == [[{"result": {"action": "cancel"}}]]
    (key,) = states[0]["inputRequests"]
    assert text_of(modern(gw, "up__ask", {"questions": [FORM]}, {key: NAMED}, states[0]["requestState"]))
    asked(modern(gw, "up__ask", {"questions": [FORM]}))  # there is room again


def test_an_upstream_dies_while_its_call_waits(gateway):
    """P-434: the retry hears that it is lost, -32603; the tool does not run again."""
    gw = gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy")}}).wait_ready("up")
    pid = text_of(modern(gw, "up__pid"))
    result = asked(modern(gw, "up__ask"))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gw.metric("gatespan_upstream_failures_total") == 1, what="the child is lost")
    (key,) = result["inputRequests"]
    assert "up" in refused(modern(gw, "up__ask", {}, {key: SAMPLED}, result["requestState"]), -32603)
    nothing_left(gw)


@pytest.mark.parametrize("noise", ["not json at all", '{"jsonrpc":"2.0","id":', '{"jsonrpc":"2.0","id":"q-1","result":7}',
                                   '[]', '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":[]}'])
def test_nonsense_while_a_call_waits(gateway, noise):
    """What an upstream prints in the middle of a parked call ends at most that call."""
    gw = gateway({"builtins": [], "upstreams": {"up": fixture_server("legacy")}}).wait_ready("up")
    message = modern(gw, "up__ask_and_say", {"text": noise})
    if "result" in message:  # else half an answer came in the same moment as the question, and ended the call
        result = asked(message)
        (key,) = result["inputRequests"]
        message = modern(gw, "up__ask_and_say", {"text": noise}, {key: SAMPLED}, result["requestState"])
    assert "result" in message or message["error"]["code"] == -32603
    assert modern(gw, "up__echo", {"text": "on"})["result"]["content"][0]["text"] == "on"
    nothing_left(gw)


@pytest.mark.parametrize("method,params", [("tools/list", {}), ("completion/complete", {
    "ref": {"type": "ref/prompt", "name": "up__p"}, "argument": {"name": "a", "value": ""}})])
def test_states_mean_nothing_to_other_methods(gateway, processes, method, params):
    """P-095: only tools/call, prompts/get and resources/read have rounds."""
    gw, _ = start(gateway, processes, prompts=["p"])
    message = gw.modern(method, {**params, "inputResponses": {}, "requestState": "x"}, meta=CAPABLE).message
    assert "result" in message, message


@pytest.mark.slow
def test_ten_thousand_calls_wait_at_once(gateway):
    """P-433: each costs a few KiB and no task; every one goes on with its own answer."""
    server = {"command": sys.executable, "args": [str(FIXTURES / "asking_server.py")]}
    gw = gateway({"builtins": [], "workers": 2, "limits": {"parked_per_key": 10000}, "upstreams": {"up": server}})
    gw.wait_ready("up")
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", **CAPABLE}
    head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call", "Mcp-Name": "up__ask", "Content-Type": "application/json",
            "Authorization": f"Bearer {gw.key}"}

    def post(connection, number, **more):
        params = {"name": "up__ask", "arguments": {"n": number}, "_meta": meta, **more}
        body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        connection.request("POST", "/mcp", json.dumps(body), head)
        return json.loads(connection.getresponse().read())

    def begin(first):
        connection = http.client.HTTPConnection("127.0.0.1", gw.port)
        return [(n, asked(post(connection, n))) for n in range(first, 10000, 32)]

    def go_on(waiting):
        connection = http.client.HTTPConnection("127.0.0.1", gw.port)
        for number, result in waiting:
            (key,) = result["inputRequests"]
            given = {key: {"action": "accept", "content": {"n": number}}}
            done = post(connection, number, inputResponses=given, requestState=result["requestState"])
            assert text_of(done)[1]["content"] == {"n": number}

    before = resident(gw)
    with ThreadPoolExecutor(32) as pool:
        parts = list(pool.map(begin, range(32)))
        wait_for(lambda: gw.metric("gatespan_parked") == 10000, what="all parked")
        wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing in flight")
        assert resident(gw) - before < memory_bound(60)  # 4 KiB each, and what 32 connections leave behind
        list(pool.map(go_on, parts))
    nothing_left(gw)


# ---- modern to modern ---------------------------------------------------------------------------------

@pytest.mark.smoke
def test_modern_peers_ask_and_answer_through_sealed_states(gateway, processes):
    """P-461: questions pass, the upstream's state comes back to it byte for byte, and to nobody else."""
    gw, server = start(gateway, processes, "modern")
    call = {"requests": {"a": FORM, "b": SAMPLE, "c": ROOTS, "d": URL}, "rounds": 2}
    result = asked(modern(gw, "up__inputs", call))
    assert set(result["inputRequests"]) == {"a", "b", "c", "d"}
    assert result["inputRequests"]["a"]["params"]["message"] == "[up] Your name?"
    given = {"a": NAMED, "b": SAMPLED, "c": ROOTED, "d": {"action": "accept"}}
    again = asked(modern(gw, "up__inputs", call, given, result["requestState"]))
    wait_for(lambda: gw.metric("gatespan_parked") == 0, what="none parked")
    done = text_of(modern(gw, "up__inputs", call, given, again["requestState"]))
    assert done["said"] == [given, given] and done["capabilities"] == ALL
    states = [s["message"]["params"].get("requestState") for s in server.seen("tools/call")]
    assert states[0] is None and json.loads(states[1])["round"] == 1
    refused(modern(gw, "up__inputs", {**call, "rounds": 1}, given, again["requestState"]))
    refused(modern(gw, "up__inputs", call, given, again["requestState"][:-2]))
    assert len(server.seen("tools/call")) == 3


def test_a_modern_upstream_may_ask_for_another_call_alone(gateway, processes):
    """P-096: requestState without questions, towards a client that can be asked nothing."""
    gw, server = start(gateway, processes, "modern")
    result = asked(modern(gw, "up__inputs", {}, meta={}))
    assert "inputRequests" not in result
    assert text_of(modern(gw, "up__inputs", {}, None, result["requestState"], meta={}))["said"] == []


def test_a_modern_upstream_may_only_ask_what_was_offered(gateway, processes):
    """P-045, P-103: it asked for what the client has not declared."""
    gw, _ = start(gateway, processes, "modern")
    meta = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    assert "not offered" in refused(modern(gw, "up__inputs", {"requests": {"k": SAMPLE}}, meta=meta), -32603)
    asked(modern(gw, "up__inputs", {"requests": {"k": FORM}}, meta=meta))


# ---- -32042 -------------------------------------------------------------------------------------------

def test_addresses_that_must_be_opened_first(gateway, processes):
    """P-438: -32042 of a 2025-11-25 server is a round with url questions; the call then runs for the first time."""
    gw, server = start(gateway, processes)
    fault = {"kind": "raw", "times": 1, "body": json.dumps({"jsonrpc": "2.0", "id": "ID", "error": {
        "code": -32042, "message": "open it", "data": {"elicitations": [
            {**URL["params"], "elicitationId": "theirs"}]}}}).replace('"ID"', "ID")}
    server.behave(faults={"tools/call": fault})
    result = asked(modern(gw, "up__echo", {"text": "x"}))
    ((key, request),) = result["inputRequests"].items()
    assert request["params"]["url"] == URL["params"]["url"] and "elicitationId" not in request["params"]
    done = modern(gw, "up__echo", {"text": "x"}, {key: {"action": "accept"}}, result["requestState"])
    assert done["result"]["content"][0]["text"] == "x"
    server.behave(faults={"tools/call": {**fault, "times": 2}})
    result = asked(modern(gw, "up__echo", {"text": "x"}))
    refused(modern(gw, "up__echo", {"text": "x"}, {key: {"action": "decline"}}, result["requestState"]), -32603)
    answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {}}, meta={})
    assert answer.status == 400 and answer.json["error"]["code"] == -32021
    assert answer.json["error"]["data"]["requiredCapabilities"] == {"elicitation": {"url": {}}}


# ---- headers ------------------------------------------------------------------------------------------

def test_headers_that_the_upstream_refuses_are_made_anew_once(gateway, processes):
    """P-079, P-416: -32020 of a server whose annotations changed in silence: listed again, called again, once."""
    gw, server = start(gateway, processes, "modern")
    region = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    fault = {"kind": "raw", "times": 1, "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32020,"message":"Mcp-Param-Region"}}'}
    server.behave(tools=[{"name": "echo", "inputSchema": region}], faults={"tools/call": fault})
    for client in (modern, lambda gw, name, args: gw.session().call("tools/call", {"name": name, "arguments": args}).message):
        server.behave(faults={"tools/call": fault})
        done = client(gw, "up__echo", {"region": "north", "text": "x"})
        assert done["result"]["content"][0]["text"] == "x"
        first, second = server.seen("tools/call")[-2:]
        assert "mcp-param-region" not in first["headers"] and second["headers"]["mcp-param-region"] == "north"
        assert first["message"]["id"] != second["message"]["id"]
    server.behave(faults={"tools/call": {**fault, "times": 2}})
    assert "refused" in refused(modern(gw, "up__echo", {"region": "north"}), -32603)
    server.behave(tools=["other"], faults={"tools/call": fault})
    assert "no tool echo" in refused(modern(gw, "up__echo", {"region": "north"}), -32603)


def test_a_round_whose_headers_are_refused_is_repeated_with_its_answers(gateway, processes):
    """P-079, P-403: the client is not asked again for what it has answered."""
    gw, server = start(gateway, processes, "modern")
    session = gw.session(capabilities=ALL)
    with session.stream("tools/call", {"name": "up__inputs", "arguments": {"requests": {"k": FORM}}}) as stream:
        question = stream.next()
        server.behave(faults={"tools/call": {"kind": "raw", "times": 1,
                      "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32020,"message":"header"}}'}})
        assert session.answer(question, NAMED).status == 202
        assert text_of(stream.next())["said"] == [{"k": NAMED}]
    refused_one, repeated = [s["message"]["params"] for s in server.seen("tools/call")[1:]]
    for member in ("inputResponses", "requestState"):
        assert refused_one[member] == repeated[member]
    nothing_left(gw)


# ---- watched resources --------------------------------------------------------------------------------

A, B = "gatespan+x://up/a", "gatespan+x://up/b"


def watching_gateway(gateway, processes, era, **config):
    server = http_server(processes, era=era, resources=["x://a", "x://b"], subscribe=True)
    gw = gateway({"builtins": [], "upstreams": {"up": {"url": server.url, "restart_backoff": "50ms",
                                                        "restart_backoff_max": "200ms"}}, **config})
    gw.wait_ready("up")
    return gw, server


def open_get(gw, session):
    return Stream(gw, "GET", "/mcp", {**session.headers, "Accept": "text/event-stream"})


def listen(gw, *uris, **flags):
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": "l-1", "method": "subscriptions/listen", "params": {
        "notifications": {"resourceSubscriptions": list(uris), **flags}, "_meta": meta}}
    head = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "subscriptions/listen"}
    return Stream(gw, "POST", "/mcp", head, body=body)


def watched_upstream(server, era):
    """The URIs that the upstream was asked for, in the end."""
    if era == "legacy":
        uris = set()
        for s in server.seen():
            if s["method"] == "resources/subscribe":
                uris.add(s["message"]["params"]["uri"])
            elif s["method"] == "resources/unsubscribe":
                uris.discard(s["message"]["params"]["uri"])
        return uris
    lists = [s["message"]["params"]["notifications"].get("resourceSubscriptions")
             for s in server.seen("subscriptions/listen")]
    return set(next((u for u in reversed(lists) if u is not None), []))


def update(server, uri, at_least=1):
    wait_for(lambda: server.push("notifications/resources/updated", uri=uri) >= at_least, what="a stream upstream")


@pytest.mark.smoke
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_legacy_session_watches_a_resource(gateway, processes, era):
    """P-212, P-409, P-622: updates of what it subscribed to, under the URI it knows, and of nothing else."""
    gw, server = watching_gateway(gateway, processes, era)
    session, other = gw.session(), gw.session()
    assert session.info["capabilities"]["resources"]["subscribe"] is True
    for s in (session, other):
        assert s.result("resources/subscribe", {"uri": A}) == {}
    assert session.result("resources/subscribe", {"uri": A}) == {}  # twice is once
    wait_for(lambda: watched_upstream(server, era) == {"x://a"}, what="the upstream is asked")
    if era == "legacy":
        assert len(server.seen("resources/subscribe")) == 1  # however many want it
    with open_get(gw, session) as stream:
        update(server, "x://b", 1 if era == "legacy" else 2)
        update(server, "x://a", 1 if era == "legacy" else 2)
        message = stream.next()
        assert message == {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": A}}
    assert session.result("resources/unsubscribe", {"uri": A}) == {}
    assert watched_upstream(server, era) == {"x://a"}  # the other one's
    assert gw.request("DELETE", "/mcp", headers=other.headers).status == 200
    wait_for(lambda: gw.metric("gatespan_watched_resources") == 0, what="nothing watched")
    if era == "legacy":
        wait_for(lambda: watched_upstream(server, era) == set(), what="the upstream is told")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_modern_client_watches_resources(gateway, processes, era):
    """P-110, P-112, P-442: acknowledged is what can be watched; the stream's end lets go."""
    gw, server = watching_gateway(gateway, processes, era)
    with listen(gw, A, B, "gatespan+x://up/a", "x://nobody/s", "nonsense") as stream:
        ack = stream.next()
        assert ack["method"] == "notifications/subscriptions/acknowledged"
        assert ack["params"]["notifications"] == {"resourceSubscriptions": [A, B]}
        wait_for(lambda: watched_upstream(server, era) == {"x://a", "x://b"}, what="the upstream is asked")
        update(server, "x://b", 1 if era == "legacy" else 2)
        while (message := stream.next())["params"]["uri"] != B:
            pass  # what was open anew is told as updated, too
        assert message["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "l-1"}
    wait_for(lambda: gw.metric("gatespan_watched_resources") == 0, what="nothing watched")
    nothing_left(gw)


def test_what_changed_before_the_upstream_was_listened_to_is_told(gateway, processes):
    """P-409, P-410: subscribe is answered before the stream upstream is there; what came in between is told with it."""
    gw, server = watching_gateway(gateway, processes, "modern")
    session = gw.session()
    with open_get(gw, session) as stream:
        for uri in (A, B):
            assert session.result("resources/subscribe", {"uri": uri}) == {}
            while stream.next()["params"]["uri"] != uri:
                pass  # the other one, again


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_watching_goes_on_after_the_upstream_was_lost(gateway, processes, era):
    """P-410, P-442: subscribed again, and told as updated since something may have been missed."""
    gw, server = watching_gateway(gateway, processes, era)
    with listen(gw, A) as stream:
        stream.next()
        wait_for(lambda: watched_upstream(server, era) == {"x://a"}, what="the upstream is asked")
        server.process.kill()
        server.process.wait()
        again = http_server(processes, server.port, era=era, resources=["x://a", "x://b"], subscribe=True)
        assert stream.next()["params"]["uri"] == A
        wait_for(lambda: watched_upstream(again, era) == {"x://a"}, what="the new one is asked")


def test_refusals_of_subscriptions(gateway, processes):
    """P-212: what is not there, what cannot be watched, too many."""
    gw, _ = watching_gateway(gateway, processes, "legacy", limits={"subscriptions": 1})
    session = gw.session()
    assert session.call("resources/subscribe", {"uri": "gatespan+x://down/a"}).message["error"]["code"] == -32002
    assert session.call("resources/subscribe", {"uri": 7}).message["error"]["code"] == -32602
    assert session.result("resources/subscribe", {"uri": A}) == {}
    assert "subscriptions" in session.call("resources/subscribe", {"uri": B}).message["error"]["message"]
    assert session.result("resources/unsubscribe", {"uri": B}) == {}
    wait_for(lambda: gw.metric("gatespan_watched_resources") == 1, what="one watched")
    wait_for(lambda: gw.modern("resources/subscribe", {"uri": A}).status == 404, what="gone in modern form (P-049)")


# ---- real peers ---------------------------------------------------------------------------------------

REAL = {"elicitation/create": NAMED, "sampling/createMessage": SAMPLED, "roots/list": ROOTED}
KINDS = [("legacy", None), ("modern", "2026-07-28"), ("modern", "legacy"), ("python", "legacy"), ("python", "auto")]
EVERYTHING = str(CLIENTS / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js")


@pytest.fixture(scope="module")
def real(node, module_gateway, module_processes):
    """A gateway in front of official servers of both eras that ask, over pipes and HTTP."""
    ports = [free_port(), free_port()]
    module_processes(node, CLIENTS / "ts_server.mjs", ports[0])
    web = module_processes(node, EVERYTHING, "streamableHttp", env={**os.environ, "PORT": str(ports[1])})
    wait_for(lambda: any("listening" in line for line in web.lines), what="server-everything over HTTP")
    gw = module_gateway({"builtins": [], "upstreams": {
        "pipe": {"command": node, "args": [EVERYTHING]},
        "web": {"url": f"http://127.0.0.1:{ports[1]}/mcp"}, "ts": {"url": f"http://127.0.0.1:{ports[0]}/mcp"}}})
    return gw.wait_ready("pipe", "web", "ts")


def real_calls(upstream):
    if upstream == "ts":
        yield "ts__greet_user", {"greeting": "Hello"}, "elicitation/create", "Hello, Ada!"
        return
    yield f"{upstream}__trigger-elicitation-request", {}, "elicitation/create", "Ada"
    yield f"{upstream}__trigger-sampling-request", {"prompt": "2+2", "maxTokens": 10}, "sampling/createMessage", "4"


@pytest.mark.parametrize("upstream", ["pipe", "web", "ts"])
@pytest.mark.parametrize("kind,mode", KINDS, ids=[f"{k}-{m}" for k, m in KINDS])
def test_official_clients_and_servers_ask_and_answer(real, node, kind, mode, upstream):
    """P-403, P-433, P-460, P-461: each client in each era with each server; every question was answered once."""
    calls = list(real_calls(upstream))
    steps = [{"op": "call", "name": name, "arguments": arguments} for name, arguments, _, _ in calls]
    out = run_client(kind, real, steps, node=node, answers=REAL, **({"mode": mode} if mode else {}))
    assert "results" in out, out
    for (name, _, _, expected), answer in zip(calls, out["results"]):
        assert "ok" in answer, (name, answer)
        assert expected in json.dumps(answer["ok"]), name
    methods = [q["method"] for q in out["questions"]]
    assert [m for m in methods if m != "roots/list"] == [method for _, _, method, _ in calls]
    nothing_left(real)

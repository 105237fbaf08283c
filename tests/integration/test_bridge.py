"""Questions in the middle of a call, in all four cells: who asks, who is asked, what comes of it (PROTOCOL §8)."""
import json
import threading

import pytest
from conftest import fixture_server, http_server, wait_for

FORM = {"method": "elicitation/create", "params": {
    "message": "Your name?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}
URL = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://example.org/x", "message": "Open this"}}
SAMPLE = {"method": "sampling/createMessage", "params": {
    "messages": [{"role": "user", "content": {"type": "text", "text": "2+2?"}}], "maxTokens": 5}}
ROOTS = {"method": "roots/list"}
ALL = {"roots": {}, "sampling": {"tools": {}, "context": {}}, "elicitation": {"form": {}, "url": {}}}
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
    """P-402, P-403, P-460: a real request with an id of the gateway's; the answer reaches the upstream."""
    gw, server = start(gateway, processes, era)
    session = gw.session(capabilities=ALL)
    arguments = {"questions": [question]} if era == "legacy" else {"requests": {"k": question}}
    tool = "up__ask" if era == "legacy" else "up__inputs"
    with session.stream("tools/call", {"name": tool, "arguments": arguments}) as stream:
        questions, _, answer = converse(session, stream)
    (q,) = questions
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
    assert all(s["message"]["params"]["capabilities"] == {} for s in server.seen("initialize"))


def test_sessions_differ_by_what_can_be_asked(gateway, processes):
    """P-431: each capability class has an upstream session of its own, which declares the truth."""
    gw, server = start(gateway, processes)
    for capabilities in ({}, {"roots": {}}, {"roots": {}}, ALL):
        gw.session(capabilities=capabilities).call("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
    declared = [s["message"]["params"]["capabilities"] for s in server.seen("initialize")]
    assert declared == [ALL, {}, {"roots": {}}, ALL]  # the first is the keeper's


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
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 1, what="the other call is in flight")
    said = {a["id"]: a for a in text_of(one.call("tools/call", {"name": "up__ask", "arguments": {}}).message)}
    assert said["q-1"]["error"]["code"] == -32601
    other.notify("notifications/cancelled", {"requestId": "w-1"})
    waits.join(20)
    nothing_left(gw)

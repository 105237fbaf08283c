"""Every message of the gateway held to the schema of its revision: clients of each before servers of each.

tests/fixtures/wire.py reads the wire on both sides; tests/fixtures/wide_server.py says everything that there is to say.
"""
import json
import sys

import pytest
from conftest import FIXTURES, Stream, wait_for

sys.path.insert(0, str(FIXTURES))
from wide_server import Wide  # noqa: E402
from wire import CLIENT, R03, R06, R11, R24, R26, REVISIONS, SERVER, Tap, problems  # noqa: E402

ASKED = {  # what a client of each revision can be asked (P-181)
    R24: {"sampling": {}, "roots": {"listChanged": True}}, R03: {"sampling": {}, "roots": {"listChanged": True}},
    R06: {"sampling": {}, "roots": {}, "elicitation": {}},
    R11: {"sampling": {"tools": {}, "context": {}}, "roots": {}, "elicitation": {"form": {}, "url": {}}},
    R26: {"sampling": {"tools": {}, "context": {}}, "roots": {}, "elicitation": {"form": {}, "url": {}}}}
KINDS = {R24: ["sample", "roots"], R03: ["sample", "roots"], R06: ["form", "sample", "roots"],
         R11: ["form", "many", "sample", "roots", "url"], R26: ["form", "many", "sample", "roots", "url"]}
FORM = {"name": "n", "age": 3}
ANSWERS = {"elicitation/create": {"action": "accept", "content": FORM},
           "sampling/createMessage": {"role": "assistant", "content": {"type": "text", "text": "a"}, "model": "m"},
           "roots/list": {"roots": [{"uri": "file:///r", "name": "r"}]}}
ERRORS = [{"code": c, "message": "m", "data": {"uri": "wide://x", "elicitations": [
    {"mode": "url", "message": "go", "url": "https://example.com/x", "elicitationId": "e"}]}}
    for c in (-32700, -32600, -32602, -32603, -32000, -32001, -32002, -32042, -32050, 17)]
REQUESTS = [("tools/list", {}), ("prompts/list", {}), ("resources/list", {}), ("resources/templates/list", {}),
            ("prompts/get", {"name": "p", "arguments": {"a": "1"}}), ("resources/read", {"uri": "wide://one"}),
            ("resources/read", {"uri": "wide://missing"}), ("tools/call", {"name": "all"}),
            ("tools/call", {"name": "none"}), ("prompts/get", {"name": "none"}), ("tools/list", {"cursor": "no"}),
            ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}}),
            *(("tools/call", {"name": "error", "arguments": {"a": json.dumps(e)}}) for e in ERRORS)]
LEGACY_REQUESTS = [("ping", {}), ("logging/setLevel", {"level": "debug"}), ("resources/subscribe", {"uri": "wide://one"}),
                   ("resources/unsubscribe", {"uri": "wide://one"}), ("nothing/such", {})]


class Modern:
    """A client of 2026-07-28: what it was asked is answered by calling again."""

    def __init__(self, gw):
        self.gw = gw

    def ask(self, method, params, meta=None, rounds=2):
        answer = self.gw.modern(method, params, meta={
            "io.modelcontextprotocol/clientCapabilities": ASKED[R26], **(meta or {})}).message
        result = answer.get("result", {})
        if result.get("resultType") != "input_required" or not rounds:
            return answer
        given = {k: ANSWERS[q["method"]] | ({"content": None} if (q.get("params") or {}).get("mode") == "url" else {})
                 for k, q in result["inputRequests"].items()}
        for each in given.values():
            if each.get("content", "") is None:
                del each["content"]
        return self.ask(method, {**params, "inputResponses": given, "requestState": result["requestState"]}, meta, rounds - 1)

    def chat(self, name, **arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments}, {
            "progressToken": 7, "io.modelcontextprotocol/logLevel": "debug"})

    def close(self):
        pass


class Legacy:
    """A client on a session: it answers on the stream of its call."""

    def __init__(self, gw, revision):
        self.session = gw.session(revision, capabilities=ASKED[revision])

    def ask(self, method, params):
        return self.session.call(method, params).message

    def chat(self, name, **arguments):
        with self.session.stream("tools/call", {"name": name, "arguments": arguments, "_meta": {"progressToken": "7"}}) as s:
            for message in iter(s.next, None):
                if "method" in message and "id" in message:
                    result = dict(ANSWERS[message["method"]])
                    if message["params"].get("mode") == "url":
                        result.pop("content")
                    assert self.session.answer(message, result).status == 202
                elif "method" not in message:
                    return message
        raise AssertionError("the stream ended without an answer")

    def close(self):
        self.session.gateway.request("DELETE", "/mcp", headers=self.session.headers)


class OldLegacy:
    """A client of 2024-11-05: all that it hears comes on one stream (P-130)."""

    def __init__(self, gw):
        self.gw, self.next_id = gw, 0
        self.stream = Stream(gw, "GET", "/sse", {"Accept": "text/event-stream"})
        self.path = self.stream.event()[1]
        self.ask("initialize", {"protocolVersion": R24, "capabilities": ASKED[R24], "clientInfo": {"name": "t", "version": "1"}})
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def post(self, message):
        assert self.gw.request("POST", self.path, message).status == 202

    def ask(self, method, params):
        self.next_id += 1
        self.post({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params})
        for message in iter(self.stream.next, None):
            if "method" in message and "id" in message:
                self.post({"jsonrpc": "2.0", "id": message["id"], "result": ANSWERS[message["method"]]})
            elif message.get("id") == self.next_id:
                return message
        raise AssertionError("the stream ended without an answer")

    def chat(self, name, **arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments, "_meta": {"progressToken": "7"}})

    def close(self):
        self.stream.close()


def client_of(gw, revision):
    return Modern(gw) if revision == R26 else OldLegacy(gw) if revision == R24 else Legacy(gw, revision)


def drive(client, revision, upstream):
    """Everything that this client can ask of that server."""
    for method, params in REQUESTS + (LEGACY_REQUESTS if revision != R26 else []):
        answer = client.ask(method, params)
        assert ("result" in answer) != ("error" in answer), answer
    assert "result" in client.chat("chatty")
    for kind in set(KINDS[revision]) & set(KINDS[upstream]):
        answer = client.chat("ask", a=json.dumps([kind]))
        assert "result" in answer, (kind, answer)


@pytest.fixture
def between(gateway):
    """A gateway with taps on both sides of it: started(upstream's revision)."""
    opened = []

    def start(revision):
        wide = Wide(revision)
        behind = Tap(wide.port)
        gw = gateway({"upstreams": {"wide": {"url": f"http://127.0.0.1:{behind.port}/mcp", "prefix": False,
                                             "rewrite_uris": False}}, "builtins": []})
        wait_for(lambda: gw.upstream("wide")["state"] == "ready", 30, "the upstream is ready")
        wait_for(lambda: "all" in gw.tools(), 30, "its tools are listed")
        front = Tap(gw.port)
        opened.extend((wide, behind, front))
        gw.port, gw.url = front.port, f"http://127.0.0.1:{front.port}"
        return gw, front, behind

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize("upstream", (R24, R03, R06, R11, R26))
def test_nothing_is_said_that_the_revision_does_not_have(between, upstream):
    """P-011, P-096, P-163, P-402, P-415, P-416, P-440, P-441, P-460: as clients of every revision hear it, and the server."""
    gw, front, behind = between(upstream)
    for revision in REVISIONS:
        client = client_of(gw, revision)
        drive(client, revision, upstream)
        client.close()
    said, count = problems(front, SERVER)
    asked, more = problems(behind, CLIENT)
    assert count > 100 and more > 80
    assert not said and not asked, "\n".join([*said, *asked])

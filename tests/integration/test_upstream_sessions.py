"""What our client face does on the sessions of legacy upstreams: log levels, roots, streams of their own, resumption."""
import json

import pytest
from conftest import fixture_server, http_server, wait_for

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
    meta = {LEVEL: level} if level else {
}
answer = gw.modern("tools/call", { "name" : name, "arguments" : arguments },
                   meta = meta) return answer.events() if answer.headers["content-type"]
             .startswith("text/event-stream") else[answer.json]

         def
         call_legacy(session, name, **arguments)
    : with session
             .stream("tools/call", { "name" : name, "arguments" : arguments }) as stream
    : return stream.rest()
#-- -- log levels( \
    P -            \
    443) -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -- -

          def
          test_level_of_a_modern_caller_reaches_the_upstream_session(gateway, processes)
    : ""
      "P-443: told before the call, once; a less verbose one changes nothing; nobody is given more "
      "than it asked for."
      "" gw,
server = start(gateway, processes) assert notes(call_modern(gw, "up__note")) == [] and
         told(server) == {
}
assert notes(call_modern(gw, "up__note", "info")) ==
    [ "info", "warning", "error" ] assert
    notes(call_modern(gw, "up__note", "error")) == ["error"] assert list(told(server).values()) ==
    [["info"]] assert notes(call_modern(gw, "up__note", "debug")) ==
    [ "debug", "info", "warning", "error" ] assert notes(call_modern(gw, "up__note", "info")) ==
    [ "info", "warning", "error" ] assert
    notes(call_modern(gw, "up__note")) == [] assert list(told(server).values()) ==
    [[ "info", "debug" ]]

    def test_level_that_a_legacy_client_sets_reaches_the_upstream_session(gateway, processes)
    : ""
      "P-443: sessions that share an upstream session each get their own; who set none gets "
      "warnings (P-231)."
      "" gw,
server = start(gateway, processes) quiet, loud = gw.session(), gw.session() quiet.result(
                                                                   "logging/setLevel",
                                                                   { "level" : "alert" }) assert
                                                                   told(server) == {
}
#nothing is called yet assert notes(call_legacy(quiet, "up__note")) ==
    [] loud.result("logging/setLevel", { "level" : "debug" }) assert notes(
         call_legacy(loud, "up__note")) ==
     ["debug", "info", "warning",
      "error"] assert
      notes(call_legacy(quiet, "up__note")) ==
      [] assert notes(call_legacy(gw.session(), "up__note")) ==
       ["warning", "error"] assert
                   list(told(server).values()) ==
        [["warning", "debug"]]

         def
         test_a_new_upstream_session_is_told_the_level_again(
             gateway,
             processes) : ""
                          "P-443 after P-441: a session that the server forgot had the level."
                          "" gw,
         server =
             start(gateway, processes) assert notes(call_modern(gw, "up__note", "info")) ==
             ["info", "warning",
              "error"] server.behave(forget = True) assert
                  notes(call_modern(gw, "up__note", "info")) ==
              ["info", "warning", "error"] assert list(told(server).values()) ==
               [["info"],
                 ["info"]]

                  @pytest.mark.parametrize("fault",
                                           [ "status", "close", "garbage", "html", "refusal" ]) def
                  test_a_server_that_refuses_levels_is_called_all_the_same(
                      gateway,
                      processes,
                      fault) : ""
                               "P-443: a failure to set the level costs no call, and is not tried again and again."
                               ""
    how = {"status": {"kind": "status", "status": 500}, "refusal": {
        "kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no"}}'}}
                     gw,
                     server = start(gateway, processes, faults = {
                         "logging/setLevel" : how.get(fault, { "kind" : fault })
                     }) assert
                     call_modern(gw, "up__note", "info")
                         [-1]
                          ["result"] tried =
                               len(server.seen(
                                   "logging/setLevel")) #twice where a connection was reused assert
                                   tried in(1, 2) for _ in range(3) : assert
                                   call_modern(gw, "up__note", "info")
                                       [-1]
                                        ["result"] assert
                                         len(server.seen("logging/setLevel")) ==
                                         tried

                                             def
                                             test_a_server_without_logging_is_told_no_level(
                                                 gateway,
                                                 processes) : ""
                                                              "P-180: setLevel belongs to the capability."
                                                              "" gw,
                                         server = start(gateway, processes, logging = False) assert
                                         call_modern(gw, "up__note", "debug")
                                             [-1]
                                              ["result"] assert server
                                                   .seen("logging/setLevel") ==
                                               []

                                                def
                                                test_level_reaches_a_child_process(
                                                    gateway,
                                                    tmp_path) : ""
                                                                "P-443 over stdio: before the call, and only when it is more than was told."
                                                                "" gw =
                                                                    gateway({
                                                                        "builtins" : [],
                                                                        "upstreams" : {
                                                                            "up" : fixture_server(
                                                                                "legacy")
                                                                        }
                                                                    })
                                                                        .wait_ready("up") for level in(
                                                                            "info",
                                                                            "error", "debug", None,
                                                                            "info") : call_modern(gw,
                                                                                                  "up__echo",
                                                                                                  level,
                                                                                                  text =
                                                                                                      "x")
                                                                            answer = call_modern(
                                                                        gw, "up__levels")
                                                                        [-1] assert json.loads(
                                                                             answer["result"]
                                                                                   ["content"][0]
                                                                                   ["text"]) ==
                                                                         ["info",
                                                                          "debug"] session =
                                                                              gw.session() assert
                                                                              notes(call_legacy(
                                                                                  session,
                                                                                  "up__log")) ==
                                                                              [] session.result(
                                                                                   "logging/setLevel",
                                                                                   {
                                                                                       "level" :
                                                                                           "info"
                                                                                   }) assert
                                                                               notes(call_legacy(
                                                                                   session,
                                                                                   "up__log")) ==
                                                                               ["info"] assert gw.metric(
                                                                                    "gatespan_exchanges_in_flight") ==
                                                                                0

"""Upstreams that are slow, dead, wedged or broken: who asked is told which one it was, everybody else goes on."""
import http.client
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from conftest import FIXTURES, fixture_server, free_port, http_server, memory_bound, resident, wait_for


def stdio(mode="legacy", *arguments, **options):
    return fixture_server(mode, *arguments, **options)


def config(**upstreams):
    return {"builtins": ["time"], "upstreams": upstreams}


def text_of(result):
    return "".join(c.get("text", "") for c in result["content"])


def failure(gateway, name, arguments=None, upstream=None):
    """Calls a tool that must fail in the gateway's own words (P-024); the error."""
    answer = gateway.modern("tools/call", {"name": name, "arguments": arguments or {}})
    assert answer.status == 200, answer.body
    error = answer.message["error"]
    assert error["code"] == -32603, error
    assert error["data"]["gatespan"]["upstream"] == upstream
    assert upstream in error["message"]
    return error


def others_are_fine(gateway):
    """The handshakes, the lists and the calls of another upstream."""
    assert gateway.modern("server/discover").status == 200
    assert "time__get_current_time" in gateway.tools()
    session = gateway.session()
    assert any(t["name"] == "time__get_current_time" for t in session.result("tools/list")["tools"])
    assert "structuredContent" in gateway.call_tool("time__get_current_time")


def missing(gateway):
    """The upstreams that a list says are missing (P-616)."""
    return gateway.modern("tools/list").message["result"]["_meta"].get("gatespan/missingUpstreams", [])


def failed_state(gateway, name):
    return wait_for(lambda: (u := gateway.upstream(name)) and u["state"] == "failed" and u, what=f"{name} failed")


# ---- upstreams that are nearly right ---------------------------------------------------------------

@pytest.mark.parametrize("over", ["stdio", "http"])
def test_an_empty_result_is_no_discovery(gateway, processes, over):
    """P-058, P-059: servers that answer anything with {} are asked to initialize."""
    if over == "stdio":
        up = fixture_server("agrees")
    else:
        body = '{"jsonrpc":"2.0","id":ID,"result":{}}'
        server = http_server(processes, era="legacy", faults={"server/discover": {"kind": "raw", "body": body}})
        up = {"url": server.url}
    gw = gateway(config(up=up)).wait_ready("up")
    assert gw.upstream("up")["revision"] == "2025-11-25"
    assert text_of(gw.call_tool("up__echo", text="hello")) == "hello"


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("result", ['{}', ' { "content" : [] }', '{"content":[],"structuredContent":{"resultType":"%s"}}' % ("x" * 99)])
def test_a_result_without_its_type_gets_one(gateway, processes, result, rewrite):
    """P-085: clients must take its absence for complete, servers must send it."""
    body = '{"jsonrpc":"2.0","id":ID,"result":' + result + '}'
    server = http_server(processes, era="modern", faults={"tools/call": {"kind": "raw", "body": body}})
    gw = gateway(config(up={"url": server.url, "rewrite_uris": rewrite})).wait_ready("up")
    got = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}).message["result"]
    assert got["resultType"] == "complete"
    assert {**json.loads(result), "resultType": "complete"}.items() <= got.items()


# ---- upstreams that do not come up ----------------------------------------------------------------

@pytest.mark.smoke
@pytest.mark.parametrize("command,reason", [
    ("no-such-program-anywhere", "no-such-program-anywhere"), ("/etc/passwd", "/etc/passwd"), ("/tmp", "/tmp")])
def test_missing_command_is_named_with_a_remedy(gateway, command, reason):
    """The state, the log and the list name it; the others are served."""
    gw = gateway(config(gone={"command": command}))
    state = failed_state(gw, "gone")
    assert reason in state["reason"]
    gw.wait_log(reason)
    assert any(reason in l and '"upstream":"gone"' in l for l in gw.logs().splitlines())
    others_are_fine(gw)
    assert missing(gw) == ["gone"]
    assert gw.request("GET", "/health").json["status"] == "ok"
    assert gw.request("GET", "/ready").status == 200  # not required


def test_missing_working_directory_is_named(gateway):
    gw = gateway(config(lost=stdio(cwd="/nonexistent/folder")))
    assert "/nonexistent/folder" in failed_state(gw, "lost")["reason"]
    others_are_fine(gw)


def test_a_server_that_ends_at_once_says_why(gateway):
    """Its last words on stderr are the reason, and are in the log under its name."""
    gw = gateway(config(broken=stdio("fails")))
    assert "Cannot find module '/x/server.js'" in failed_state(gw, "broken")["reason"]
    gw.wait_log("Cannot find module")
    line = next(l for l in gw.logs().splitlines() if "Cannot find module" in l)
    assert '"upstream":"broken"' in line
    others_are_fine(gw)


def test_a_server_that_never_answers_delays_nobody(gateway):
    """Still starting; lists name it, handshakes do not wait for it, other calls work."""
    gw = gateway(config(mute=stdio("mute", timeout="5m", probe_timeout="1m")))
    began = time.monotonic()
    others_are_fine(gw)
    assert time.monotonic() - began < 30
    assert missing(gw) == ["mute"]
    assert gw.upstream("mute")["state"] != "ready"


def test_an_http_server_that_is_not_there_is_retried(gateway, processes):
    """Connection refused is the reason; when it comes up it is taken in without a restart."""
    port = free_port()
    gw = gateway(config(late={"url": f"http://127.0.0.1:{port}/mcp", "restart_backoff": "50ms",
                              "restart_backoff_max": "200ms"}))
    reason = failed_state(gw, "late")["reason"]
    assert str(port) in reason and "refused" in reason.lower()
    others_are_fine(gw)
    http_server(processes, port)
    gw.wait_ready("late")
    assert text_of(gw.call_tool("late__echo", text="here now")) == "here now"
    wait_for(lambda: missing(gw) == [], what="nothing missing")


def test_unresolvable_host_is_named(gateway):
    gw = gateway(config(dns={"url": "http://does-not-exist.invalid/mcp"}))
    assert "does-not-exist.invalid" in failed_state(gw, "dns")["reason"]
    others_are_fine(gw)


@pytest.mark.parametrize("fault", [
    {"kind": "html"}, {"kind": "close"}, {"kind": "half"}, {"kind": "garbage"}, {"kind": "wrong_id"},
    {"kind": "status", "status": 500}, {"kind": "status", "status": 503}, {"kind": "status", "status": 401},
    {"kind": "status", "status": 302, "headers": {"location": "https://login.example/"}},
    {"kind": "raw", "body": "[]"}, {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID}'},
    {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":{"protocolVersion":"1999-01-01","capabilities":{},"serverInfo":{}}}'},
], ids=lambda f: f["kind"] + str(f.get("status", "")))
def test_an_http_server_that_is_none_is_failed_with_a_reason(gateway, processes, fault):
    server = http_server(processes, faults={"*": fault})
    gw = gateway(config(page={"url": server.url}))
    state = failed_state(gw, "page")
    assert state["reason"], state
    if fault.get("status") == 401:
        assert "credentials" in state["reason"]
    if fault["kind"] == "html":
        assert "web page" in state["reason"] and "`url`" in state["reason"]
    others_are_fine(gw)
    server.behave(faults={})
    gw.wait_ready("page")


def test_restarts_are_capped(gateway, tmp_path):
    """restart_limit failures in a row, then it is given up and says so. (A child that ends when it
    is asked for its era gets a second start for initialize, which is no failure of its own.)"""
    starts = tmp_path / "starts"
    gw = gateway(config(hopeless=stdio("fails", starts, restart_limit=3, restart_backoff="10ms", probe_timeout="1m")))
    wait_for(lambda: "given up" in gw.upstream("hopeless").get("reason", ""), what="given up")
    assert len(starts.read_text().splitlines()) == 6
    assert gw.upstream("hopeless")["failures"] == 3


@pytest.mark.parametrize("mode", ["legacy", "modern", "silent", "exits", "slow", "banner"])
def test_every_way_to_open_is_understood(gateway, mode):
    """P-058: the era of a stdio server, found out whatever it does to the question."""
    gw = gateway(config(server=stdio(mode, probe_timeout="300ms", restart_backoff="50ms")))
    gw.wait_ready("server")
    assert text_of(gw.call_tool("server__echo", text=mode)) == mode
    assert gw.upstream("server")["revision"] == ("2026-07-28" if mode in ("modern", "slow") else "2025-11-25")


# ---- upstreams that go wrong in mid-call -----------------------------------------------------------

@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_a_wedged_call_ends_in_an_error_that_names_the_upstream(gateway, processes, kind):
    """P-642: while it hangs, lists, handshakes and other calls are answered; then its own client gets the timeout."""
    if kind == "stdio":
        upstream, tool, arguments = stdio(timeout="5m"), "silent", {}
    else:
        server = http_server(processes)
        upstream, tool, arguments = {"url": server.url, "timeout": "5m"}, "slow", {"until": "released"}
    gw = gateway(config(wedged=upstream, short={**upstream, "timeout": "5s"}))
    gw.wait_ready("wedged", "short")
    hanging = raw_call(gw, f"wedged__{tool}", arguments)
    gw.wait_log("silent call") if kind == "stdio" else wait_for(server.busy, what="the call upstream")
    others_are_fine(gw)
    assert text_of(gw.call_tool("wedged__echo", text="beside it")) == "beside it"
    hanging.setblocking(False)
    with pytest.raises(BlockingIOError):
        hanging.recv(1)
    hanging.close()
    error = failure(gw, f"short__{tool}", arguments, "short")
    assert "timed out" in error["message"] or "deadline" in error["message"] or "5s" in error["message"], error
    assert error["data"]["gatespan"]["kind"] == "timeout"
    for name in ("wedged", "short"):
        assert text_of(gw.call_tool(f"{name}__echo", text="after it")) == "after it"
        assert gw.upstream(name)["state"] == "ready"


@pytest.mark.parametrize("fault", [
    {"kind": "html"}, {"kind": "close"}, {"kind": "half"}, {"kind": "half_event"}, {"kind": "wrong_id"}, {"kind": "garbage"},
    {"kind": "endless"}, {"kind": "status", "status": 500}, {"kind": "status", "status": 401}, {"kind": "status", "status": 403},
    {"kind": "status", "status": 429}, {"kind": "status", "status": 301, "headers": {"location": "/elsewhere"}},
    {"kind": "status", "status": 202}, {"kind": "raw", "body": "{}"}, {"kind": "raw", "body": ""},
    {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":[]}'}, {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":'},
    {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":{"content":[],"x":NaN}}'},
    {"kind": "raw", "body": "<html>", "type": "application/json"},
], ids=lambda f: f["kind"] + str(f.get("status", "")) + f.get("body", "")[-12:])
def test_a_broken_http_answer_is_an_error_that_names_the_upstream(gateway, processes, fault):
    server = http_server(processes)
    gw = gateway(config(shaky={"url": server.url, "timeout": "5s", "max_answer": "1MiB"}))
    gw.wait_ready("shaky")
    server.behave(faults={"tools/call": fault})
    failure(gw, "shaky__echo", {"text": "x"}, "shaky")
    others_are_fine(gw)
    server.behave(faults={})
    assert text_of(gw.call_tool("shaky__echo", text="well again")) == "well again"


def test_www_authenticate_of_an_upstream_does_not_reach_the_client(gateway, processes):
    """P-641: a 401 behind us is no 401 in front of us."""
    challenge = {"www-authenticate": 'Bearer resource_metadata="https://upstream.example/meta"'}
    server = http_server(processes)
    gw = gateway(config(locked={"url": server.url}))
    gw.wait_ready("locked")
    server.behave(faults={"tools/call": {"kind": "status", "status": 401, "headers": challenge}})
    answer = gw.modern("tools/call", {"name": "locked__echo", "arguments": {}})
    assert answer.status == 200 and "www-authenticate" not in answer.headers
    assert "upstream.example" not in answer.body.decode()


@pytest.mark.parametrize("tool,arguments", [("broken", {}), ("not_utf8", {}),
                                            ("raw", {"text": "<html>502 Bad Gateway</html>"}),
                                            ("raw", {"text": '{"jsonrpc":"2.0","id":ID,"result":{"x":1,}}'}),
                                            ("raw", {"text": '{"jsonrpc":"2.0","id":424242,"result":{"content":[]}}'})])
def test_broken_lines_of_a_child_do_not_hang_the_gateway(gateway, tool, arguments):
    """An error for the call, at the latest after its timeout, and the child serves on."""
    gw = gateway(config(child=stdio(timeout="3s")))
    gw.wait_ready("child")
    failure(gw, f"child__{tool}", arguments, "child")
    others_are_fine(gw)
    gw.wait_ready("child")
    assert text_of(gw.call_tool("child__echo", text="alive")) == "alive"


@pytest.mark.parametrize("noise", ["<html></html>", "Listening on port 3000", '{"jsonrpc":"2.0","id":99999,"result":{}}',
                                   '{"jsonrpc":"2.0","method":"notifications/unheard/of"}', "{", "[]", "null", "\t"])
def test_noise_of_a_child_between_messages_is_skipped(gateway, noise):
    gw = gateway(config(child=stdio()))
    gw.wait_ready("child")
    assert text_of(gw.call_tool("child__raw", text=noise, then=True)) == "after"


def test_a_second_answer_to_one_call_is_dropped(gateway):
    gw = gateway(config(child=stdio()))
    gw.wait_ready("child")
    for _ in range(3):
        assert text_of(gw.call_tool("child__twice")) == "first"
        assert text_of(gw.call_tool("child__echo", text="own")) == "own"


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_an_endless_answer_is_cut_at_its_limit(gateway, processes, kind):
    """A 1 GiB line: an error that names upstream and limit, memory bounded, the others served meanwhile."""
    if kind == "stdio":
        upstream = stdio(timeout="60s", restart_backoff="50ms")
        tool, arguments = "huge", {"bytes": 1 << 30}
    else:
        server = http_server(processes)
        upstream, tool, arguments = {"url": server.url, "timeout": "60s"}, "echo", {}
    gw = gateway(config(big=upstream))
    gw.wait_ready("big")
    if kind == "http":
        server.behave(faults={"tools/call": {"kind": "endless", "times": 1}})
    before = resident(gw)
    error = failure(gw, f"big__{tool}", arguments, "big")
    assert "16" in error["message"] or "limit" in error["message"] or "larger" in error["message"], error
    assert resident(gw) - before < memory_bound(100)
    others_are_fine(gw)
    gw.wait_ready("big")
    assert text_of(gw.call_tool("big__echo", text="small")) == "small"


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_large_answers_below_the_limit_pass(gateway, processes, kind):
    upstream = stdio() if kind == "stdio" else {"url": http_server(processes).url}
    gw = gateway({**config(up=upstream), "limits": {"body": "16MiB"}})
    gw.wait_ready("up")
    text = "ä€😀\\\"" * 500_000
    assert text_of(gw.call_tool("up__echo", text=text)) == text


def test_a_child_that_stops_reading_is_bounded(gateway):
    """Calls to it fail and are not kept for ever; the gateway does not grow with them."""
    gw = gateway({**config(deaf=stdio(timeout="2s", restart_backoff="10s")), "limits": {"body": "16MiB"}})
    gw.wait_ready("deaf")
    gw.call_tool("deaf__stop_reading")
    before = resident(gw)
    with ThreadPoolExecutor(8) as pool:
        for error in pool.map(lambda _: failure(gw, "deaf__echo", {"text": "x" * (4 << 20)}, "deaf"), range(16)):
            assert error["data"]["gatespan"]["kind"] in ("timeout", "unavailable", "upstream", "overload"), error
    assert resident(gw) - before < memory_bound(200)
    others_are_fine(gw)


# ---- death and restart ---------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["legacy", "modern"])
def test_a_killed_child_is_restarted(gateway, mode):
    """kill -9: ready again as another process; health and metrics count it."""
    gw = gateway(config(child=stdio(mode, restart_backoff="50ms")))
    gw.wait_ready("child")
    first = int(text_of(gw.call_tool("child__pid")))
    assert gw.metric("gatespan_stdio_starts_total", upstream="child") == 1
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: gw.upstream("child")["restarts"] == 1 and gw.upstream("child")["state"] == "ready", what="restarted")
    second = int(text_of(gw.call_tool("child__pid")))
    assert second != first
    assert gw.metric("gatespan_stdio_starts_total", upstream="child") == 2
    assert gw.metric("gatespan_stdio_children", upstream="child") == 1
    assert gw.upstream("child")["failures"] == 1


@pytest.mark.parametrize("tool", ["crash", "kill", "close_stdout"])
def test_a_call_in_flight_when_its_child_dies_gets_an_error(gateway, tool):
    """It is not repeated (P-645): nobody knows what was done. What the child wrote on stderr is in the log."""
    gw = gateway(config(child=stdio(restart_backoff="50ms", timeout="20s")))
    gw.wait_ready("child")
    error = failure(gw, f"child__{tool}", None, "child")
    assert error["data"]["gatespan"]["kind"] != "timeout"
    if tool == "crash":
        line = wait_for(lambda: next((l for l in gw.logs().splitlines() if "ValueError: boom" in l), None), what="stderr")
        assert '"upstream":"child"' in line
    others_are_fine(gw)
    wait_for(lambda: gw.upstream("child")["state"] == "ready" and gw.upstream("child")["restarts"] == 1, what="restarted")
    assert text_of(gw.call_tool("child__echo", text="again")) == "again"


def test_stderr_of_a_child_is_in_the_log_with_its_name_and_cannot_flood_it(gateway):
    gw = gateway(config(chatty=stdio()))
    gw.wait_ready("chatty")
    gw.call_tool("chatty__stderr", lines=3, size=10)
    gw.wait_log("noise 2")
    lines = [l for l in gw.logs().splitlines() if "noise" in l]
    assert lines and all('"upstream":"chatty"' in l for l in lines)
    assert text_of(gw.call_tool("chatty__stderr", lines=20000, size=200)) == "said"
    assert text_of(gw.call_tool("chatty__echo", text="x")) == "x"
    assert len(gw.logs()) < 3_000_000


def test_children_see_only_their_own_environment(gateway):
    """Least privilege (P-126): no key of the gateway, no variable that was not asked for."""
    upstream = stdio(env={"OWN": "value"}, inherit_env=["WANTED"], cwd="/")
    gw = gateway(config(child=upstream), env={"WANTED": "yes", "UNWANTED": "canary-of-the-operator"})
    gw.wait_ready("child")
    found = json.loads(text_of(gw.call_tool("child__surroundings")))
    assert found["env"]["OWN"] == "value" and found["env"]["WANTED"] == "yes" and found["cwd"] == "/"
    assert not {"UNWANTED", "GATESPAN_ADMIN_KEY"} & set(found["env"])
    assert set(found["env"]) <= {"OWN", "WANTED", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE",
                                 "TZ", "TMPDIR", "TERM"}


def test_children_inherit_no_descriptor(gateway):
    """Nothing but its three streams: no socket of a client, no lock, no other child's pipe."""
    gw = gateway(config(one=stdio(), two=stdio()))
    gw.wait_ready("one", "two")
    for name in ("one", "two"):
        pid = int(text_of(gw.call_tool(f"{name}__pid")))
        kinds = {n: os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        assert set(kinds) <= {"0", "1", "2"}, kinds


def test_memory_of_a_child_is_limited(gateway):
    """It, and nobody else, goes without; below the limit it lives as ever."""
    gw = gateway(config(hungry=stdio(memory="256MiB", restart_backoff="50ms"), free=stdio()))
    gw.wait_ready("hungry", "free")
    assert text_of(gw.call_tool("hungry__allocate", mebibytes=50)) == "50"
    assert text_of(gw.call_tool("free__allocate", mebibytes=400)) == "400"
    failure(gw, "hungry__allocate", {"mebibytes": 400}, "hungry")
    wait_for(lambda: gw.upstream("hungry")["restarts"] == 1 and gw.upstream("hungry")["state"] == "ready", what="restarted")
    assert text_of(gw.call_tool("hungry__echo", text="back")) == "back"
    assert gw.upstream("free")["failures"] == 0


def test_processes_of_a_child_are_limited(gateway):
    """More than it may have end it, with all of them; the reason says so."""
    gw = gateway(config(many=stdio(processes=10, restart_backoff="50ms"), free=stdio()))
    gw.wait_ready("many", "free")
    assert text_of(gw.call_tool("many__fork", most=5, seconds=0.5)) == "5"
    assert text_of(gw.call_tool("free__fork", most=30, seconds=0)) == "30"
    assert "processes" in failure(gw, "many__fork", {"most": 30, "seconds": 20}, "many")["message"]
    wait_for(lambda: gw.upstream("many")["restarts"] == 1 and gw.upstream("many")["state"] == "ready", what="restarted")
    assert gw.upstream("free")["failures"] == 0


def test_a_question_in_mid_call_is_refused_and_ping_is_answered(gateway):
    """P-432, P-245: no capability was declared, so sampling is refused; the call goes on."""
    gw = gateway(config(child=stdio()))
    gw.wait_ready("child")
    answers = {a["id"]: a for a in json.loads(text_of(gw.call_tool("child__ask")))}
    assert "error" in answers["q-1"]
    assert answers[2]["result"] == {}


# ---- cancellation and ids ---------------------------------------------------------------------------------

def cancelled_once(gw):
    """The child has heard of one cancellation, in the end."""
    wait_for(lambda: len(json.loads(text_of(gw.call_tool("child__cancelled")))) == 1, what="one cancellation at the child")


def test_cancelling_a_legacy_call_cancels_it_upstream(gateway):
    """P-243, P-612: the upstream hears of it under its own id."""
    gw = gateway(config(child=stdio(timeout="60s")))
    gw.wait_ready("child")
    session = gw.session()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.call, "tools/call", {"name": "child__silent", "arguments": {}}, None, "to-cancel")
        gw.wait_log("silent call")
        assert session.notify("notifications/cancelled", {"requestId": "to-cancel", "reason": "test"}).status == 202
        wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the call ended")
        call.result()
    cancelled_once(gw)
    assert session.notify("notifications/cancelled", {"requestId": "to-cancel"}).status == 202  # finished: ignored
    assert session.notify("notifications/cancelled", {"requestId": 4711}).status == 202  # never there: ignored


def test_another_session_cannot_cancel(gateway):
    """P-148: request ids are a session's own."""
    gw = gateway(config(child=stdio(timeout="2s")))
    gw.wait_ready("child")
    mine, other = gw.session(), gw.session()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(mine.call, "tools/call", {"name": "child__silent", "arguments": {}}, None, 77)
        gw.wait_log("silent call")
        assert other.notify("notifications/cancelled", {"requestId": 77}).status == 202
        assert call.result().message["error"]["data"]["gatespan"]["kind"] == "timeout"


def raw_call(gateway, name, arguments, request_id=1):
    """A modern call on a socket of its own, so that it can be broken off."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call",
                       "params": {"name": name, "arguments": arguments, "_meta": meta}})
    head = (f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {gateway.key}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
            f"Mcp-Name: {name}\r\nContent-Length: {len(body)}\r\n\r\n")
    s = socket.create_connection(("127.0.0.1", gateway.port), 60)
    s.sendall((head + body).encode())
    return s


@pytest.mark.parametrize("mode", ["legacy", "modern"])
def test_a_modern_client_that_goes_cancels_its_call_upstream(gateway, mode):
    """P-165, P-445: closing the connection is the cancellation."""
    gw = gateway(config(child=stdio(mode, timeout="60s")))
    gw.wait_ready("child")
    s = raw_call(gw, "child__silent", {})
    gw.wait_log("silent call")
    s.close()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the call ended")
    cancelled_once(gw)


def test_a_legacy_client_that_goes_does_not_cancel_its_call(gateway, processes):
    """P-144: the work goes on."""
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    session = gw.session()
    body = json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call",
                       "params": {"name": "up__slow", "arguments": {"seconds": 1}}})
    fields = "".join(f"{k}: {v}\r\n" for k, v in session.headers.items())
    s = socket.create_connection(("127.0.0.1", gw.port), 60)
    s.sendall((f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {gw.key}\r\nContent-Type: application/json\r\n"
               f"{fields}Content-Length: {len(body)}\r\n\r\n{body}").encode())
    wait_for(lambda: server.seen("tools/call"), what="the call upstream")
    s.close()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the call ended")
    wait_for(lambda: gw.metric("mcp_server_operation_duration_seconds_count", gen_ai_tool_name="up__slow", outcome="ok") == 1,
             what="its count")
    assert not server.seen("notifications/cancelled")


@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_equal_ids_of_different_clients_never_mix(gateway, processes, kind):
    """P-610: everybody uses id 1, everybody gets the own answer."""
    upstream = stdio() if kind == "stdio" else {"url": http_server(processes, sse=True).url}
    gw = gateway(config(up=upstream))
    gw.wait_ready("up")

    def ask(i):
        answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": f"of {i}"}}, request_id=1)
        return answer.message["id"], text_of(answer.message["result"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(200))) == [(1, f"of {i}") for i in range(200)]


# ---- HTTP upstreams: sessions, headers, limits --------------------------------------------------------------

def test_a_forgotten_session_is_opened_again_and_the_call_repeated(gateway, processes):
    """P-441: 404 means the request was not processed; the client notices nothing."""
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    assert text_of(gw.call_tool("up__echo", text="one")) == "one"
    before = len(server.seen("initialize"))
    server.behave(forget=True)
    assert text_of(gw.call_tool("up__echo", text="two")) == "two"
    assert len(server.seen("initialize")) > before


def test_an_upstream_that_forgets_at_once_is_an_error_not_a_loop(gateway, processes):
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    server.behave(faults={"tools/call": {"kind": "status", "status": 404}})
    failure(gw, "up__echo", None, "up")
    assert len(server.seen("tools/call")) <= 3


def test_tool_calls_are_not_repeated_when_the_answer_is_lost(gateway, processes):
    """P-645: only what proves that nothing was done allows a second try."""
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    gw.call_tool("up__echo", text="warm")
    server.behave(faults={"tools/call": {"kind": "close"}})
    failure(gw, "up__echo", {"text": "once"}, "up")
    assert len([s for s in server.seen("tools/call") if s["message"]["params"]["arguments"] == {"text": "once"}]) == 1


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_what_travels_upstream_and_what_does_not(gateway, processes, era):
    """P-643, P-326, P-461: the upstream's own headers; nothing of the client's."""
    server = http_server(processes, era=era)
    gw = gateway(config(up={"url": server.url, "headers": {"Authorization": "Bearer of-the-upstream", "X-Team": "blue"}}))
    gw.wait_ready("up")
    answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}, name="up__echo",
                       headers={"Cookie": "client=1", "X-Forwarded-For": "10.1.2.3", "X-Own": "of the client"},
                       meta={"com.example/note": "kept"})
    assert "result" in answer.message
    call = server.seen("tools/call")[-1]
    headers, message = call["headers"], call["message"]
    assert headers["authorization"] == "Bearer of-the-upstream" and headers["x-team"] == "blue"
    assert not {"cookie", "x-forwarded-for", "x-own", "x-api-key", "origin"} & set(headers)
    assert gw.key not in json.dumps(call)
    assert message["params"]["name"] == "echo" and message["params"]["arguments"] == {"text": "x"}
    assert message["params"]["_meta"]["com.example/note"] == "kept"
    assert message["id"] != 0 and "text/event-stream" in headers["accept"]
    if era == "modern":
        assert headers["mcp-protocol-version"] == "2026-07-28"
        assert headers["mcp-method"] == "tools/call" and headers["mcp-name"] == "echo"
        assert "mcp-session-id" not in headers
        assert message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
    else:
        assert headers["mcp-session-id"].startswith("session-")
        assert headers["mcp-protocol-version"] == "2025-11-25"
        assert not any(k.startswith("io.modelcontextprotocol/") for k in message["params"].get("_meta", {}))


def test_numbers_and_unknown_members_survive(gateway, processes):
    """P-011, P-013: spelled as the client and the server spelled them."""
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    result = '{"content":[],"structuredContent":{"big":12345678901234567890,"exact":1.10,"e":1E400},"com.example":{"b":1,"a":2}}'
    server.behave(faults={"tools/call": {"kind": "raw", "body": '{"jsonrpc":"2.0","id":ID,"result":' + result + "}"}})
    answer = gw.session().call("tools/call", {"name": "up__echo", "arguments": {}})
    for part in ('"big":12345678901234567890', '"exact":1.10', '"e":1E400', '"com.example":{"b":1,"a":2}'):
        assert part in answer.body.decode()


EVENT = '{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"from the stream"}]}}'

GOOD_STREAMS = {
    "plain": f"data: {EVENT}\n\n",
    "named": f"event: message\ndata: {EVENT}\n\n",
    "crlf": f"event: message\r\ndata: {EVENT}\r\n\r\n",
    "cr": f"event: message\rdata: {EVENT}\r\r",
    "bom": f"\ufeffdata: {EVENT}\n\n",
    "no-space": f"data:{EVENT}\n\n",
    "comments": f": hello\n\n: again\n\ndata: {EVENT}\n\n",
    "priming": f"id: 1\ndata: \n\nid: 2\nretry: 3000\ndata: {EVENT}\n\n",
    "several-data-lines": "data: " + EVENT.replace(",", ",\ndata: ") + "\n\n",
    "notification-before": 'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
                           f"\n\ndata: {EVENT}\n\n",
    "other-event-before": f"event: ping\ndata: what\n\ndata: {EVENT}\n\n",
    "unknown-fields": f"color: blue\nfield without colon\ndata: {EVENT}\n\n",
    "more-behind-the-answer": f"data: {EVENT}\n\ndata: {EVENT}\n\n: tail\n\n",
}


@pytest.mark.parametrize("case", GOOD_STREAMS)
def test_event_streams_are_read_as_the_standard_says(gateway, processes, case):
    """P-154, P-151."""
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url, "timeout": "5s"}))
    gw.wait_ready("up")
    server.behave(faults={"tools/call": {"kind": "raw", "type": "text/event-stream", "body": GOOD_STREAMS[case]}})
    for _ in range(2):
        assert text_of(gw.call_tool("up__echo")) == "from the stream"
    assert text_of(gw.session().result("tools/call", {"name": "up__echo", "arguments": {}})) == "from the stream"


JSON_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = f"{len(EVENT):x}\r\n{EVENT}\r\n0\r\n\r\n"

GOOD_WIRES = {
    "length": f"{JSON_HEAD}content-length: LENGTH\r\n\r\n{EVENT}",
    "until-close": f"{JSON_HEAD}connection: close\r\n\r\n{EVENT}",
    "http-1-0": f"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{EVENT}",
    "no-reason": f"HTTP/1.1 200\r\ncontent-type: application/json\r\ncontent-length: LENGTH\r\n\r\n{EVENT}",
    "interim": f"HTTP/1.1 100 Continue\r\n\r\n{JSON_HEAD}connection: close\r\n\r\n{EVENT}",
    "early-hints": f"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{JSON_HEAD}connection: close\r\n\r\n{EVENT}",
    "type-with-charset": f"HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\ncontent-length: LENGTH\r\n\r\n{EVENT}",
}

BAD_WIRES = {
    "two-lengths": f"{JSON_HEAD}content-length: LENGTH\r\ncontent-length: 5\r\n\r\n{EVENT}",
    "both-lengths": f"{JSON_HEAD}content-length: LENGTH\r\ntransfer-encoding: chunked\r\n\r\n{EVENT}",
    "odd-length": f"{JSON_HEAD}content-length: +LENGTH\r\n\r\n{EVENT}",
    "gzip": f"{JSON_HEAD}transfer-encoding: gzip\r\n\r\n{EVENT}",
    "content-gzip": f"{JSON_HEAD}content-encoding: gzip\r\ncontent-length: LENGTH\r\n\r\n\x1f\x8b",
    "folded": f"{JSON_HEAD}x-a: b\r\n c\r\ncontent-length: LENGTH\r\n\r\n{EVENT}",
    "bare-lf": f"HTTP/1.1 200 OK\ncontent-type: application/json\r\ncontent-length: LENGTH\r\n\r\n{EVENT}",
    "chunk-size": f"{JSON_HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n{EVENT}\r\n0\r\n\r\n",
    "chunks-cut": f"{JSON_HEAD}transfer-encoding: chunked\r\n\r\n10\r\n" + '{"jsonrpc":"2.0"',
    "endless-interim": "HTTP/1.1 100 Continue\r\n\r\n" * 10000,
    "head-too-large": f"{JSON_HEAD}x-a: {'b' * 300000}\r\ncontent-length: LENGTH\r\n\r\n{EVENT}",
    "many-headers": JSON_HEAD + "x-a: b\r\n" * 100000 + f"content-length: LENGTH\r\n\r\n{EVENT}",
    "switching": "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "no-content": "HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("case", GOOD_WIRES)
def test_answers_of_any_correct_framing_are_read(gateway, processes, case):
    server = http_server(processes)
    gw = gateway(config(up={"url": server.url, "timeout": "5s"}))
    gw.wait_ready("up")
    server.behave(faults={"tools/call": {"kind": "wire", "text": GOOD_WIRES[case]}})
    for _ in range(3):
        assert text_of(gw.call_tool("up__echo")) == "from the stream"


@pytest.mark.parametrize("case", BAD_WIRES)
def test_answers_of_broken_framing_are_errors_and_poison_nothing(gateway, processes, case):
    """What follows on the same connection is never taken for the next answer."""
    server = http_server(processes)
    gw = gateway({**config(up={"url": server.url, "timeout": "5s"}), "workers": 1})
    gw.wait_ready("up")
    poison = f"{JSON_HEAD}content-length: 92\r\n\r\n" + '{"jsonrpc":"2.0","id":9,"result":{"content":[{"type":"text","text":"poison"}]}}'
    server.behave(faults={"tools/call": {"kind": "wire", "text": BAD_WIRES[case] + poison, "keep": True, "times": 1}})
    failure(gw, "up__echo", None, "up")
    for i in range(5):
        assert text_of(gw.call_tool("up__echo", text=str(i))) == str(i)


def test_damaged_answers_hurt_nobody(gateway, processes):
    """Bytes of an answer changed at random: an error or a result each time, and the next call is served."""
    server = http_server(processes)
    gw = gateway({**config(up={"url": server.url, "timeout": "3s"}), "workers": 1})
    gw.wait_ready("up")
    random = Random(5)
    samples = [f"{JSON_HEAD}content-length: LENGTH\r\n\r\n{EVENT}", f"{JSON_HEAD}transfer-encoding: chunked\r\n\r\n{CHUNKED}",
               f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {EVENT}\n\n"]
    for _ in range(150):
        text = list(random.choice(samples))
        for _ in range(random.choice((1, 1, 3))):
            text[random.randrange(len(text))] = random.choice("\r\n\0:;{}[]\",09azA \x7fä\ud800").encode("utf-8", "replace").decode()
        server.behave(faults={"tools/call": {"kind": "wire", "text": "".join(text), "times": 1}})
        message = gw.modern("tools/call", {"name": "up__echo", "arguments": {}}).message
        assert "result" in message or message["error"]["code"], message
        server.behave(faults={})
        assert text_of(gw.call_tool("up__echo", text="next")) == "next"


def test_connections_that_the_upstream_closes_when_idle_cost_no_call(gateway, processes):
    """A pooled connection that was closed meanwhile is noticed before it is used."""
    server = http_server(processes)
    gw = gateway({**config(up={"url": server.url}), "workers": 1})
    gw.wait_ready("up")
    gw.call_tool("up__echo")  # opens the session
    server.behave(hang_up=True)
    for i in range(20):
        assert text_of(gw.call_tool("up__echo", text=str(i))) == str(i)


def test_an_upstream_that_restarts_between_calls_costs_no_call(gateway, processes):
    """Connections of the pool are dead, the session is forgotten; neither is the client's trouble."""
    port = free_port()
    server = http_server(processes, port)
    gw = gateway(config(up={"url": server.url, "restart_backoff": "50ms", "restart_backoff_max": "100ms"}))
    gw.wait_ready("up")
    assert text_of(gw.call_tool("up__echo", text="before")) == "before"
    server.process.kill()
    server.process.wait()
    server = http_server(processes, port)
    wait_for(lambda: gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "after"}}).message.get("result"),
             what="served again")
    for _ in range(10):
        assert text_of(gw.call_tool("up__echo", text="after")) == "after"


@pytest.mark.parametrize("token", ["a-token", 7, 2**53, "ä\"\\"])
@pytest.mark.parametrize("mode", ["legacy", "modern"])
def test_progress_carries_the_clients_token(gateway, mode, token):
    """P-240, P-611: its own, of its own type; the message, in order; nothing of a token that is nobody's."""
    gw = gateway(config(child=stdio(mode)))
    gw.wait_ready("child")
    answer = gw.modern("tools/call", {"name": "child__progress", "arguments": {}}, meta={"progressToken": token})
    events = answer.events()
    assert [e["params"]["progressToken"] for e in events[:-1]] == [token] * 3
    assert [e["params"]["progress"] for e in events[:-1]] == [0, 1, 2]
    assert events[-1]["result"]["content"][0]["text"] == "done"
    session = gw.session()
    answer = session.call("tools/call", {"name": "child__progress", "arguments": {}, "_meta": {"progressToken": token}})
    assert [e["params"]["progressToken"] for e in answer.events()[:-1]] == [token] * 3


def test_no_token_no_progress(gateway, processes):
    """P-241: and an answer without anything before it is plain JSON."""
    gw = gateway(config(up={"url": http_server(processes, sse=True).url}))
    gw.wait_ready("up")
    answer = gw.modern("tools/call", {"name": "up__echo", "arguments": {"text": "x"}})
    assert answer.headers["content-type"] == "application/json"


def test_concurrency_is_capped(gateway, processes):
    """More calls wait in line; all are answered."""
    server = http_server(processes)
    gw = gateway({**config(narrow={"url": server.url, "concurrency": 2}), "workers": 1})
    gw.wait_ready("narrow")
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda i: gw.call_tool("narrow__slow", seconds=0.2, text=str(i)), range(8)):
            assert not result.get("isError")
    assert server.most_at_once() == 2


def test_a_call_that_waits_in_line_too_long_is_told(gateway, processes):
    server = http_server(processes)
    gw = gateway({**config(narrow={"url": server.url, "concurrency": 1, "timeout": "1s"}), "workers": 1})
    gw.wait_ready("narrow")
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(lambda _: failure(gw, "narrow__slow", {"seconds": 5}, "narrow"), range(3)))
    assert {e["data"]["gatespan"]["kind"] for e in errors} <= {"timeout", "overload", "unavailable"}


@pytest.mark.parametrize("share,same_key_same_child,other_key_same_child",
                         [("tenant", True, True), ("principal", True, False), ("session", False, False)])
def test_share_says_who_gets_the_same_child(gateway, share, same_key_same_child, other_key_same_child):
    """DESIGN decision 3."""
    gw = gateway({**config(child=stdio(share=share)), "keys": {"other": {"secret": "other-secret-0123456789"}}})
    gw.wait_ready("child")

    def child_of(session):
        return text_of(session.result("tools/call", {"name": "child__pid", "arguments": {}}))

    one, two, other = gw.session(), gw.session(), gw.session(key="other-secret-0123456789")
    assert child_of(one) == child_of(one)
    assert (child_of(one) == child_of(two)) is same_key_same_child
    assert (child_of(one) == child_of(other)) is other_key_same_child


# ---- list_changed -----------------------------------------------------------------------------------------------

class Listening:
    """An open event stream; its messages as they come."""

    def __init__(self, gateway, method, path="/mcp", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Authorization": f"Bearer {gateway.key}", **(headers or {})})
        self.socket = connection.sock
        self.answer = connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.messages, self.ended = [], threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: ") and line[6:].strip():  # else a priming event
                    self.messages.append(json.loads(line[6:]))
        except (OSError, ValueError, AttributeError):
            pass
        self.ended.set()

    def methods(self):
        return [m.get("method") for m in self.messages]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)


def listen(gateway, request_id="sub", **filter):
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen",
            "params": {"notifications": filter, "_meta": meta}}
    return Listening(gateway, "POST", body=body, headers={
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"})


def get_stream(gateway, session):
    return Listening(gateway, "GET", headers={**session.headers, "Accept": "text/event-stream"})


SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@pytest.mark.parametrize("mode", ["stdio-legacy", "stdio-modern", "http-legacy", "http-modern"])
def test_list_changed_reaches_both_eras(gateway, processes, mode):
    """P-408, P-442, P-621, P-111, P-112: the upstream's change is on every GET stream and listen that wants it."""
    kind, era = mode.split("-")
    server = http_server(processes, era=era) if kind == "http" else None
    gw = gateway({**config(up={"url": server.url} if server else stdio(era)), "workers": 2})
    gw.wait_ready("up")
    session, uninterested = gw.session(), listen(gw, 7, promptsListChanged=True)
    streams = [get_stream(gw, session), listen(gw, toolsListChanged=True), listen(gw, 17, toolsListChanged=True)]
    wait_for(lambda: all(s.messages for s in [*streams[1:], uninterested]), what="acknowledgements")
    assert streams[1].messages[0]["method"] == "notifications/subscriptions/acknowledged"
    assert streams[1].messages[0]["params"]["notifications"] == {"toolsListChanged": True}
    assert streams[2].messages[0]["params"]["_meta"][SUBSCRIPTION] == 17  # P-111: the same JSON type
    wait_for(lambda: gw.metric("gatespan_streams_open") == 4, what="four streams")
    if server:
        wait_for(lambda: server.push("notifications/unheard") > 0, what="the gateway's own stream upstream")
        server.behave(tools=["echo", "added"])
        server.push("notifications/tools/list_changed")
    else:
        gw.call_tool("up__change")
    for s in streams:
        wait_for(lambda s=s: "notifications/tools/list_changed" in s.methods(), what="list_changed")
    assert "up__added" in gw.tools()
    assert [m["params"]["_meta"][SUBSCRIPTION] for m in streams[1].messages] == ["sub", "sub"]
    assert "notifications/tools/list_changed" not in uninterested.methods()
    for s in [*streams, uninterested]:
        s.close()
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="no stream left")


def test_an_upstream_that_goes_and_comes_is_no_change_of_the_list(gateway):
    """The last known tools stay listed, so clients need not list again (P-621 is about the set)."""
    gw = gateway(config(child=stdio(restart_backoff="300ms")))
    gw.wait_ready("child")
    tools = gw.tools()
    os.kill(int(text_of(gw.call_tool("child__pid"))), signal.SIGKILL)
    wait_for(lambda: gw.upstream("child")["failures"] == 1, what="the loss noticed")
    assert gw.tools() == tools
    wait_for(lambda: gw.upstream("child")["restarts"] == 1, what="restarted")
    assert gw.tools() == tools


@pytest.mark.parametrize("code", [-32600, -32700, -32601, -32602])
def test_an_error_of_an_upstream_is_no_error_of_http(gateway, processes, code):
    """The client's own request was in order: the SDK of 2025-03-26 ends its session when it meets a 400."""
    body = json.dumps({"jsonrpc": "2.0", "id": "ID", "error": {"code": code, "message": "no"}}).replace('"ID"', "ID")
    server = http_server(processes, faults={"tools/call": {"kind": "raw", "body": body}})
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "up__echo", "arguments": {}}}
    answer = gw.request("POST", "/mcp", message, gw.session().headers)
    assert answer.status == 200 and answer.message["error"] == {"code": code, "message": "no"}, answer.body


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_what_changes_before_the_stream_of_changes_opens_is_not_missed(gateway, processes, era):
    """P-115: nobody could tell of it; the lists are read again once somebody could."""
    server = http_server(processes, era=era, late="late")
    gw = gateway(config(up={"url": server.url}))
    gw.wait_ready("up")
    wait_for(lambda: "up__late" in gw.tools(), what="the late tool")
    server.behave(tools=["echo"])
    server.behave(push="notifications/tools/list_changed", params={})
    wait_for(lambda: "up__late" not in gw.tools(), what="the stream is open still")


def test_the_newest_get_stream_of_a_session_wins(gateway):
    gw = gateway(config(child=stdio()))
    gw.wait_ready("child")
    session = gw.session()
    first = get_stream(gw, session)
    second = get_stream(gw, session)
    assert first.ended.wait(60)
    gw.call_tool("child__change")
    wait_for(lambda: "notifications/tools/list_changed" in second.methods(), what="list_changed")
    second.close()


def test_a_deleted_session_ends_its_stream(gateway):
    gw = gateway()
    session = gw.session()
    stream = get_stream(gw, session)
    assert gw.request("DELETE", "/mcp", None, session.headers).status == 200
    assert stream.ended.wait(60)


def test_listen_ends_with_a_result_when_the_gateway_stops(gateway):
    """P-114: so the client knows that nothing was lost."""
    gw = gateway()
    stream = listen(gw, "last", toolsListChanged=True)
    wait_for(lambda: stream.messages, what="the acknowledgement")
    gw.process.send_signal(signal.SIGTERM)
    assert stream.ended.wait(25)
    assert stream.messages[-1]["id"] == "last"
    assert stream.messages[-1]["result"] == {"resultType": "complete", "_meta": {SUBSCRIPTION: "last"}}


def test_listen_needs_its_filter_and_a_stream(gateway):
    """P-110."""
    gw = gateway()
    assert gw.modern("subscriptions/listen", {}).message["error"]["code"] == -32602
    answer = gw.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}},
                       headers={"Accept": "application/json"})
    assert answer.status == 406


# ---- last known, required ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["stdio", "http"])
def test_the_last_known_catalogue_is_served_while_an_upstream_is_down(gateway, processes, tmp_path, kind):
    """After a restart of the gateway too: listed at once, named as missing, called in vain with the reason."""
    data = tmp_path / "data"
    server = http_server(processes) if kind == "http" else None
    upstream = {"url": server.url} if server else stdio("once", tmp_path / "starts", restart_backoff="30s")
    gw = gateway(config(up=upstream), data=data)
    gw.wait_ready("up")
    tools = gw.tools()
    assert "up__echo" in tools
    gw.stop()
    if server:
        server.process.kill()
        server.process.wait()
    gw = gateway(config(up=upstream), data=data)
    assert gw.tools() == tools
    failed_state(gw, "up")
    assert gw.tools() == tools and missing(gw) == ["up"]
    assert gw.upstream("up")["lastKnown"] is True
    session = gw.session()
    assert session.result("tools/list")["_meta"]["gatespan/missingUpstreams"] == ["up"]
    error = failure(gw, "up__echo", None, "up")
    assert ("Cannot find module" if kind == "stdio" else "refused") in error["message"]
    others_are_fine(gw)


def test_a_broken_catalogue_file_is_no_reason_not_to_start(gateway, tmp_path):
    data = tmp_path / "data"
    gw = gateway(config(up=stdio()), data=data)
    gw.wait_ready("up")
    gw.stop()
    files = list((data / "catalogue").iterdir())
    assert files
    for f in files:
        f.write_bytes(b'{"half":')
    gw = gateway(config(up=stdio()), data=data)
    gw.wait_ready("up")
    assert "up__echo" in gw.tools()


def test_ready_waits_for_required_upstreams(gateway, processes):
    """DESIGN decision 16: /ready is 503 until every required upstream is up; /health says the process lives."""
    port = free_port()
    gw = gateway(config(needed={"url": f"http://127.0.0.1:{port}/mcp", "required": True, "restart_backoff": "50ms",
                                "restart_backoff_max": "100ms"}, optional={"command": "no-such-program"}))
    failed_state(gw, "needed")
    assert gw.request("GET", "/ready", key=None).status == 503
    assert gw.request("GET", "/health", key=None).status == 200
    server = http_server(processes, port)
    wait_for(lambda: gw.request("GET", "/ready", key=None).status == 200, what="ready")
    server.process.kill()
    server.process.wait()
    # loss of a connection that nobody uses is found out by the next call
    wait_for(lambda: gw.modern("tools/call", {"name": "needed__echo", "arguments": {}}).message.get("error")
             and gw.request("GET", "/ready", key=None).status == 503, what="not ready")


def test_all_at_once_start_stop(gateway):
    """Forty children of a shell script: all ready, all with their own process, all gone at the end."""
    shell = {f"sh-{i}": {"command": "/bin/sh", "args": [str(FIXTURES / "stdio_server.sh")]} for i in range(40)}
    gw = gateway({"builtins": [], "upstreams": shell})
    gw.wait_ready(*shell)
    with ThreadPoolExecutor(8) as pool:
        pids = list(pool.map(lambda n: int(text_of(gw.call_tool(f"{n}__pid"))), shell))
    assert len(set(pids)) == 40
    gw.stop()
    wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), what="no child left")


def test_a_tool_of_an_upstream_that_was_never_reached_is_not_called_unknown(gateway):
    """It may well be there: the failure names the upstream and may be retried; only who may use it is told (rule 4)."""
    gw = gateway({**config(lost={"command": "no-such-program"}, gone={"command": "./no-such-file"}),
                  "profiles": {"clock": {"upstreams": ["time"]}},
                  "keys": {"timer": {"secret": "a-secret-of-many-letters", "allow": ["time__*"]}}})
    failed_state(gw, "lost")
    assert "command \"./no-such-file\" not found in cwd /" in failed_state(gw, "gone")["reason"]
    error = failure(gw, "lost__anything", upstream="lost")
    assert "upstream lost has not answered yet" in error["message"]
    told = error["data"]["gatespan"]
    assert (told["kind"], told["upstream"], told["retryable"]) == ("unavailable", "lost", True)
    for answer in (gw.modern("tools/call", {"name": "losty__x", "arguments": {}}),
                   gw.modern("tools/call", {"name": "time__no_such", "arguments": {}}),
                   gw.modern("tools/call", {"name": "lost__anything", "arguments": {}}, path="/mcp/clock"),
                   gw.modern("tools/call", {"name": "lost__anything", "arguments": {}}, key="a-secret-of-many-letters")):
        assert answer.message["error"]["code"] == -32602 and "Unknown tool" in answer.message["error"]["message"]

"""Streams of legacy sessions that are cut: the client comes back with Last-Event-ID (P-144, P-150..P-153)."""
import http.client
import json
import re
import socket
import struct
import threading

import pytest
from conftest import Stream, http_server, run_client, wait_for
from test_http2 import Client

STEPS = 4
RESUMABLE = ["2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.fixture
def upstream(processes):
    return http_server(processes, era="modern", tools=["steps", "echo", "slow"])


def start(gateway, upstream, **config):
    gw = gateway({"builtins": [], "workers": 2, "upstreams": {"up": {"url": upstream.url, "timeout": "60s"}}, **config})
    return gw.wait_ready("up")


def call(session, steps=STEPS, **how):
    return session.stream("tools/call", {"name": "up__steps", "arguments": {"steps": steps, **how},
                                         "_meta": {"progressToken": "p"}})


def get(session, last=None, key="", **headers):
    head = {**session.headers, "Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {}), **headers}
    return Stream(session.gateway, "GET", "/mcp", head, key)


def texts(events):
    """What the events of a call said: its progress, then its answer."""
    return [e["params"]["progress"] if "method" in e else e["result"]["content"][0]["text"] for e in events]


def take(stream, n):
    """The next n messages, without what only primes."""
    return [stream.next() for _ in range(n)]


WHOLE = [1, 2, 3, 4, "done"]


GAUGES = ["exchanges_in_flight", "streams_open", "resumed_streams_open", "replay_streams", "replay_events",
          "replay_bytes", "questions_open", "upstream_in_flight", "watched_resources"]


def nothing_is_left(gw):
    wait_for(lambda: not any(gw.metric("gatespan_" + name) for name in GAUGES), what="all gauges of streams at zero")


def refused(stream):
    """A resumption that is answered 400 with a JSON-RPC error (P-152)."""
    with stream:
        message = stream.next()
        return stream.status == 400 and message["error"]["code"] == -32600 and message["error"]["message"]


# ---- every cut point


@pytest.mark.parametrize("version", RESUMABLE)
@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "after its end"])
def test_a_call_cut_at_every_event_loses_nothing(gateway, upstream, version, running):
    gw = start(gateway, upstream)
    s = gw.session(version)
    first = 0 if version == "2025-11-25" else 1  # older clients know no id before the first event
    for cut in range(first, len(WHOLE) + 1):
        gate = f"{version}-{running}-{cut}"
        gates = {str(cut) if cut < STEPS else "answer": gate} if running and cut < len(WHOLE) else {}
        with call(s, gates=gates) as stream:
            if not cut:
                last, _ = stream.event()
            before = take(stream, cut)
            last = stream.ids[-1]
        if gates:
            upstream.open(gate)
        with get(s, last) as rest:
            assert rest.status == 200
            assert texts(before) + texts(rest.rest()) == WHOLE, cut
    wait_for(lambda: gw.metric("gatespan_resumptions_total", how="resumed") == len(WHOLE) + 1 - first, what="resumptions_total")


def test_a_client_that_is_cut_after_every_event(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    stream, got = call(s), []
    while len(got) < len(WHOLE):
        got.append(stream.next())
        stream.close()
        stream = get(s, stream.ids[-1])
    assert texts(got) == WHOLE
    assert stream.rest() == []
    stream.close()


def test_nothing_is_left_of_a_session_that_was_closed(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    with call(s) as stream:
        assert texts(stream.rest()) == WHOLE
    wait_for(lambda: gw.metric("gatespan_replay_streams") == 1 and gw.metric("gatespan_replay_events") == len(WHOLE),
             what="the events kept")
    assert gw.request("DELETE", "/mcp", headers=s.headers).status == 200
    nothing_is_left(gw)


# ---- whose events


def test_a_stream_is_resumed_with_its_own_events_alone(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    calls = [call(s, text=f"call {i}", gates={"1": "own"}) for i in range(6)]
    first = [(c.next(), c.ids[-1], c.close()) for c in calls]
    upstream.open("own")
    for i, (_, last, _) in reversed(list(enumerate(first))):
        with get(s, last) as rest:
            assert texts(rest.rest()) == [2, 3, 4, f"call {i}"]


def test_ids_that_were_changed_or_are_of_others_are_refused(gateway, upstream):
    gw = start(gateway, upstream, keys={"other": {"secret": "another-key-that-is-long-enough"}})
    mine, sibling = gw.session(), gw.session()
    theirs = gw.session(key="another-key-that-is-long-enough")
    with call(mine) as stream:
        assert texts(stream.rest()) == WHOLE
    last = stream.ids[1]
    for i, c in enumerate(last):
        assert refused(get(mine, last[:i] + ("1" if c != "1" else "2") + last[i + 1:])) \
            == "Last-Event-ID names no event of this session"
    for wrong in [last[:-1], last + "0", "0" + last, last.upper() + "-", "x", "0-0-0-0", "9" * 300, "ffff-" + last[2:]]:
        assert refused(get(mine, wrong))
    assert refused(get(sibling, last)) and refused(get(theirs, last, key="another-key-that-is-long-enough"))
    with get(mine, last, key="another-key-that-is-long-enough") as stolen:
        assert stolen.status == 404  # P-148
    wait_for(lambda: gw.metric("gatespan_resumptions_total", how="foreign") >= len(last) + 10, what="resumptions_total")
    with get(mine, last) as rest:  # the session is as it was (P-152)
        assert texts(rest.rest()) == WHOLE[1:]


def test_ids_of_before_a_restart_are_refused(gateway, upstream, tmp_path):
    gw = start(gateway, upstream)
    with call(gw.session()) as stream:
        stream.rest()
    again = start(gateway, upstream)
    assert refused(get(again.session(), stream.ids[1]))


# ---- from several workers


def test_streams_are_resumed_from_any_worker(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    homes = set()
    for i in range(24):
        with call(s, gates={"2": f"workers-{i}"}) as stream:
            got = take(stream, 2)
        homes.add(stream.ids[0].split("-")[0])
        with get(s, stream.ids[-1]) as middle:
            upstream.open(f"workers-{i}")
            got += take(middle, 1)
        with get(s, middle.ids[-1]) as rest:
            assert texts(got + rest.rest()) == WHOLE
    assert homes == {"0", "1"}


def test_a_deleted_session_ends_its_streams_and_calls_wherever_they_are(gateway, upstream):
    gw = start(gateway, upstream)
    for i in range(6):
        s = gw.session()
        general = get(s)
        posts = [call(s, text=f"deleted {i} {k}", gates={"1": "never"}) for k in range(4)]
        for p in posts:
            p.next()
        posts[0].close()
        resumed = get(s, posts[0].ids[-1])
        posts[1].close()
        assert gw.request("DELETE", "/mcp", headers=s.headers).status == 200
        assert general.rest() == [] and resumed.rest() == []
        for p in posts[2:]:
            end = p.rest()
            assert not end or "the session was closed" in end[-1]["error"]["message"], end
        with get(s, posts[1].ids[-1]) as gone:
            assert gone.status == 404
        for stream in [general, resumed, *posts]:
            stream.close()
    nothing_is_left(gw)
    wait_for(lambda: [how for text, how in upstream.ended() if text.startswith("deleted")] == ["left"] * 24,
             what="all calls cancelled upstream")


# ---- limits


def test_what_was_evicted_is_refused_and_what_was_kept_is_not(gateway, upstream):
    gw = start(gateway, upstream, limits={"resume_session_events": 3})
    s = gw.session()
    with call(s, 8) as stream:
        assert texts(stream.rest()) == [1, 2, 3, 4, 5, 6, 7, 8, "done"]
    ids = stream.ids  # of 0 (priming) to 9
    for n in range(6):
        assert refused(get(s, ids[n])) == "What followed this Last-Event-ID is not kept any more"
    with get(s, ids[6]) as rest:
        assert texts(rest.rest()) == [7, 8, "done"]
    wait_for(lambda: gw.metric("gatespan_replay_evicted_total") == 6, what="replay_evicted_total")
    wait_for(lambda: gw.metric("gatespan_replay_events") == 3, what="replay_events")


def test_bytes_are_bound_for_a_session_and_for_all(gateway, upstream):
    gw = start(gateway, upstream, workers=1, limits={"resume_session_bytes": "20KiB", "resume_bytes": "64KiB"})
    for _ in range(6):
        with call(gw.session(), 40, size=1000) as stream:
            assert len(stream.rest()) == 41
        assert gw.metric("gatespan_replay_bytes") <= 64 * 1024
    assert gw.metric("gatespan_replay_bytes") > 40 * 1024


def test_a_stream_that_nobody_reads_lapses(gateway, upstream):
    gw = start(gateway, upstream, limits={"resume_time": "300ms"})
    s = gw.session()
    with call(s) as stream:
        stream.rest()
    with get(s) as general:
        general.event()
    nothing_is_left(gw)
    assert "not kept any more" in refused(get(s, stream.ids[1]))
    assert "not kept any more" in refused(get(s, general.ids[0]))
    wait_for(lambda: gw.metric("gatespan_resumptions_total", how="expired") == 2, what="resumptions_total")


def test_a_call_that_runs_does_not_lapse(gateway, upstream):
    gw = start(gateway, upstream, limits={"resume_time": "100ms"})
    s, other = gw.session(), gw.session()
    with call(s, gates={"2": "late"}) as stream:
        got = take(stream, 2)
    with call(other) as lapses:
        lapses.rest()
    wait_for(lambda: gw.metric("gatespan_replay_streams") == 1, what="the other stream lapsed")
    rest = get(s, stream.ids[-1])
    upstream.open("late")
    assert texts(got + rest.rest()) == WHOLE


def test_without_time_to_come_back_there_are_no_ids(gateway, upstream):
    gw = start(gateway, upstream, limits={"resume_time": "0s"})
    s = gw.session()
    with call(s) as stream:
        assert texts(stream.rest()) == WHOLE and stream.ids == [] and stream.retry is None
    with get(s) as general:
        assert general.status == 200
    assert refused(get(s, "0-1-1-0000000000000000"))
    wait_for(lambda: gw.metric("gatespan_replay_streams") == 0, what="replay_streams")


def test_resumed_streams_count_among_those_of_a_key(gateway, upstream):
    gw = start(gateway, upstream, workers=1, limits={"streams_per_key": 2})
    s = gw.session()
    posts = [call(s, gates={"1": "counted"}) for _ in range(3)]
    for p in posts:
        p.next()
        p.close()
    readers = [get(s, p.ids[-1]) for p in posts]
    assert [r.status for r in readers] == [200, 200, 429]
    upstream.open("counted")
    assert [texts(r.rest()) for r in readers[:2]] == [[2, 3, 4, "done"]] * 2


# ---- clients that do not read


def test_a_slow_reader_is_waited_for_and_gets_everything(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    with call(s, 60, size=50_000, gates={"1": "slow"}) as stream:
        stream.next()
    slow = get(s, stream.ids[-1])
    upstream.open("slow")
    wait_for(lambda: upstream.ended() or gw.metric("gatespan_replay_bytes") > 1_000_000, what="much more than is read")
    assert texts(slow.rest()) == [*range(2, 61), "done"]


def test_an_answer_larger_than_the_buffer_reaches_who_reads(gateway, upstream):
    gw = start(gateway, upstream, limits={"resume_session_bytes": "10KiB"})
    s = gw.session()
    with call(s, 1, text="x" * 500_000, gates={"answer": "large"}) as stream:
        stream.next()
    with get(s, stream.ids[-1]) as rest:
        upstream.open("large")
        assert texts(rest.rest()) == ["x" * 500_000]
    assert refused(get(s, stream.ids[-1]))


def test_a_client_that_reads_nothing_is_cut_and_comes_back_for_it(gateway, upstream):
    gw = start(gateway, upstream, limits={"send_timeout": "300ms", "resume_bytes": "128MiB", "resume_session_bytes": "64MiB"})
    s = gw.session()
    with call(s, 120, size=200_000) as stream:  # more than the sockets between hold
        wait_for(lambda: upstream.ended() == [["done", "answered"]], what="the call at its end")
        got = []
        try:
            while event := stream.next():
                got.append(event)
        except (OSError, ValueError, http.client.HTTPException):
            pass  # in the middle of one
    assert 0 < len(got) < 121
    with get(s, stream.ids[len(got)]) as rest:  # the first id is of priming
        assert texts(got + rest.rest()) == [*range(1, 121), "done"]


# ---- over HTTP/2


def post_over_http2(client, s, arguments):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "up__steps", "arguments": arguments, "_meta": {"progressToken": "p"}}}
    headers = [("content-type", "application/json"), *((k.lower(), v) for k, v in s.headers.items())]
    return client.send("POST", "/mcp", json.dumps(body).encode(), headers=headers)


def get_over_http2(client, s, last):
    headers = [*((k.lower(), v) for k, v in s.headers.items()), ("last-event-id", last)]
    return client.send("GET", "/mcp", headers=headers)


def events_of(client, stream):
    """[(id, message or None)] so far."""
    whole = client.body.get(stream, b"").decode().split("\n\n")[:-1]
    found = [dict(line.split(": ", 1) for line in e.split("\n") if not line.startswith(":")) for e in whole]
    return [(e["id"], json.loads(e["data"]) if e["data"] else None) for e in found if e]


def test_a_stream_of_http2_cut_at_every_event_loses_nothing(gateway, upstream):
    gw = start(gateway, upstream)
    s, client = gw.session(), Client(gw)
    for cut in range(1, len(WHOLE) + 2):
        gates = {str(cut - 1) if cut <= STEPS else "answer": f"h2-{cut}"} if cut <= len(WHOLE) else {}
        stream = post_over_http2(client, s, {"steps": STEPS, "gates": gates})
        assert client.until(lambda: len(events_of(client, stream)) >= cut)
        before = events_of(client, stream)[:cut]
        if stream not in client.ended:
            client.h2.reset_stream(stream, 8)
            client.flush()
        upstream.open(f"h2-{cut}")
        rest = get_over_http2(client, s, before[-1][0])
        assert client.answer(rest)[0] == 200
        assert texts([m for _, m in before + events_of(client, rest) if m]) == WHOLE, cut
    client.close()


def test_a_call_is_polled_for_over_http2(gateway, upstream):
    gw = start(gateway, upstream, limits={"stream_after": "100ms", "poll_after": "200ms"})
    s, client = gw.session(), Client(gw)
    stream = post_over_http2(client, s, {"steps": 1, "gates": {"answer": "h2 polled"}})
    assert client.answer(stream)[0] == 200
    (_, primed), (last, step) = events_of(client, stream)
    assert primed is None and texts([step]) == [1]
    upstream.open("h2 polled")
    rest = get_over_http2(client, s, last)
    assert client.answer(rest)[0] == 200
    assert texts([m for _, m in events_of(client, rest) if m]) == ["done"]
    client.close()


# ---- calls whose clients are away


def test_a_call_goes_on_while_its_client_is_away(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    with call(s, text="away", gates={"1": "away"}) as stream:
        stream.next()
    upstream.open("away")
    wait_for(lambda: upstream.ended() == [["away", "answered"]], what="the call at its end")
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="the answer kept")
    with get(s, stream.ids[-1]) as rest:
        assert texts(rest.rest()) == [2, 3, 4, "away"]


def test_a_call_is_cancelled_by_word_alone(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    with call(s, text="told", gates={"1": "cancelled"}) as stream:
        stream.next()
    assert s.notify("notifications/cancelled", {"requestId": s.next_id}).status == 202
    wait_for(lambda: upstream.ended() == [["told", "left"]], what="the call cancelled upstream")
    wait_for(lambda: gw.metric("gatespan_replay_streams") == 0, what="its stream gone")
    assert refused(get(s, stream.ids[-1])) == "The stream of this Last-Event-ID is not kept any more"


def test_a_question_waits_for_its_client_to_come_back(gateway, processes):
    server = http_server(processes, era="legacy", tools=["ask"])
    gw = start(gateway, server)
    s = gw.session(capabilities={"roots": {}, "sampling": {}})
    asked = {"questions": [{"method": "roots/list"}], "rounds": 3}
    stream = s.stream("tools/call", {"name": "up__ask", "arguments": asked})
    for i in range(3):
        question = stream.next()
        assert question["method"] == "roots/list"
        stream.close()
        if i == 1:  # answered while it is away
            assert s.answer(question, {"roots": []}).status == 202
            stream = get(s, stream.ids[-1])
        else:
            stream = get(s, stream.ids[-1])
            assert s.answer(question, {"roots": []}).status == 202
    answer, = stream.rest()
    assert answer["result"]["content"][0]["text"].count('"roots": []') == 3


def test_the_newest_reader_gets_the_rest(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session()
    stream = call(s, gates={"1": "newest"})
    stream.next()
    readers = []
    for _ in range(4):
        readers.append(get(s, stream.ids[-1]))
    assert all(r.rest() == [] for r in readers[:-1])
    upstream.open("newest")
    assert texts(readers[-1].rest()) == [2, 3, 4, "done"]
    assert stream.rest() == []  # it was given up for those who came back


# ---- GET streams


def watching(gateway, processes, **config):
    server = http_server(processes, era="modern", resources=["x://a"], tools=["echo"], subscribe=True)
    gw = gateway({"builtins": [], "workers": 2, "upstreams": {"up": {"url": server.url, "rewrite_uris": False}}, **config})
    return gw.wait_ready("up"), server


def update(server):
    wait_for(lambda: server.push("notifications/resources/updated", uri="x://a"), what="a listen upstream")


@pytest.mark.parametrize("version", RESUMABLE)
def test_a_get_stream_cut_at_every_event_loses_nothing(gateway, processes, version):
    gw, server = watching(gateway, processes)
    s = gw.session(version)
    assert s.result("resources/subscribe", {"uri": "x://a"}) == {}
    wait_for(lambda: server.push("notifications/message", data=1), what="a listen upstream")
    stream = get(s)
    assert stream.status == 200
    for i in range(6):
        update(server)
        assert stream.next()["method"] == "notifications/resources/updated"
        stream.close()
        for _ in range(i):
            update(server)  # while nobody reads
        stream = get(s, stream.ids[-1])
        assert [m["method"] for m in take(stream, i)] == ["notifications/resources/updated"] * i
    stream.close()
    assert gw.request("DELETE", "/mcp", headers=s.headers).status == 200
    nothing_is_left(gw)


def test_a_get_stream_is_primed_and_resumed_before_its_first_event(gateway, processes):
    gw, server = watching(gateway, processes)
    s = gw.session()
    assert s.result("resources/subscribe", {"uri": "x://a"}) == {}
    with get(s) as stream:
        assert stream.event()[1] == "" and stream.retry == 1000
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="the loss noticed")
    update(server)
    with get(s, stream.ids[0]) as rest:
        assert rest.next()["params"]["uri"] == "x://a"


def test_a_new_get_stream_takes_the_place_of_one_that_was_lost(gateway, processes):
    gw, server = watching(gateway, processes)
    s = gw.session()
    with get(s) as lost:
        lost.event()
    with get(s) as fresh:
        fresh.event()
        wait_for(lambda: refused(get(s, lost.ids[0])), what="the lost one gone")


def test_a_session_idles_although_a_lost_stream_is_kept(gateway, processes):
    gw, server = watching(gateway, processes, limits={"session_idle": "3s", "resume_time": "1h"})
    s = gw.session()
    with get(s) as stream:
        stream.event()
    wait_for(lambda: gw.metric("gatespan_streams_open") == 0, what="the loss noticed")

    def ended():
        with get(s, stream.ids[0]) as gone:
            return gone.status == 404
    threading.Event().wait(3.5)  # idling is what is tested: looking would be use
    assert ended()


# ---- polling (SEP-1699)


def test_a_long_call_is_answered_on_a_stream_that_is_primed(gateway, upstream):
    gw = start(gateway, upstream, limits={"stream_after": "100ms", "resume_retry": "70ms"})
    for version, primed in [("2025-11-25", True), ("2025-06-18", False)]:
        s = gw.session(version)
        with s.stream("tools/call", {"name": "up__slow", "arguments": {"seconds": 1, "text": version}}) as stream:
            events = list(iter(stream.event, None))
        assert [data == "" for _, data in events] == ([True, False] if primed else [False])
        assert stream.retry == (70 if primed else None)
        assert stream.response.headers["content-type"] == ("text/event-stream" if primed else "application/json")
    assert s.call("tools/call", {"name": "up__echo", "arguments": {"text": "x"}}).headers["content-type"] == "application/json"


def test_a_long_call_is_polled_for(gateway, upstream):
    gw = start(gateway, upstream, limits={"stream_after": "100ms", "poll_after": "200ms", "resume_retry": "10ms"})
    s = gw.session()
    stream = call(s, 1, gates={"answer": "polled"})
    got, polls = [], 0
    while not (got and "result" in got[-1]):
        got += stream.rest()
        stream.close()
        polls += 1
        if polls == 4:
            upstream.open("polled")
        if not (got and "result" in got[-1]):
            last = stream.ids[-1] if stream.ids else last
            stream = get(s, last)
            assert stream.status == 200
    assert texts(got) == [1, "done"]
    wait_for(lambda: gw.metric("gatespan_stream_polls_total") >= 4, what="stream_polls_total")


def test_who_is_polled_keeps_its_connection_for_other_requests(gateway, upstream):
    """The POST's answer ends properly; the next request on the same connection does not wait for the call."""
    gw = start(gateway, upstream, limits={"stream_after": "100ms", "poll_after": "200ms"})
    s = gw.session()
    with call(s, 1, gates={"answer": "kept"}) as stream:
        assert texts(stream.rest()) in ([1], [])  # the progress, where it came before the end of the stream
        body = b'{"jsonrpc":"2.0","id":"next","method":"ping"}'
        head = {**s.headers, "Content-Type": "application/json", "Authorization": f"Bearer {gw.key}"}
        stream.connection.request("POST", "/mcp", body, head)
        answer = stream.connection.getresponse()
        assert answer.status == 200 and b'"next"' in answer.read()
        upstream.open("kept")
        stream.connection.request("GET", "/mcp", headers={**head, "Accept": "text/event-stream", "Last-Event-ID": stream.ids[-1]})
        assert b'"done"' in stream.connection.getresponse().read()


@pytest.mark.slow
def test_the_stream_of_a_long_call_is_kept_alive(gateway, upstream):
    gw = start(gateway, upstream)
    s = gw.session("2025-06-18")
    with call(s, 1, gates={"answer": "alive"}) as stream:
        stream.next()
        assert stream.response.readline().startswith(b": keep-alive")  # nothing comes for 15 s
        upstream.open("alive")
        assert texts(stream.rest()) == ["done"]
    with call(s, 1, gates={"answer": "alive again"}) as stream:
        stream.next()
    with get(s, stream.ids[-1]) as rest:
        assert rest.response.readline().startswith(b": keep-alive")
        upstream.open("alive again")
        assert texts(rest.rest()) == ["done"]


# ---- real clients, behind a network that cuts


EVENT = re.compile(rb"(?<![^\n])(?:retry: \d+\n)?id: (\w+)-(\w+)-(\w+)-\w+\n(?:[^\n]+\n)+\n")
BEGUN = re.compile(rb"(?<![^\n])(?:(?:retry: \d+\n)?id: (?:(?!\n\n).)*|r|re|ret|retr|retry[^\n]*|i|id|id:)$", re.S)


class Cutter:
    """A proxy that cuts connections behind (or, `half`, inside of) events of these numbers, one after
    the other, each stream once."""

    def __init__(self, port, numbers, half=False):
        self.port, self.left, self.half = port, list(numbers), half
        self.streams, self.lock = set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.to_server, args=(client, server), daemon=True).start()
            threading.Thread(target=self.to_client, args=(server, client), daemon=True).start()

    def to_server(self, client, server):
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        self.end(client, server)

    def end(self, *sockets):
        for s in sockets:
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset: nothing follows
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def is_cut(self, event):
        worker, stream, n = event.groups()
        with self.lock:
            if (worker, stream) in self.streams or self.left[:1] != [int(n, 16)]:
                return False
            self.streams.add((worker, stream))
            del self.left[0]
            return True

    def to_client(self, server, client):
        kept = b""  # the beginning of an event
        try:
            while data := server.recv(65536):
                kept += data
                while event := EVENT.search(kept):
                    if self.is_cut(event):
                        client.sendall(kept[:(event.start() + event.end()) // 2 if self.half else event.end()])
                        self.end(client, server)
                        return
                    client.sendall(kept[:event.end()])
                    kept = kept[event.end():]
                if not BEGUN.search(kept):
                    client.sendall(kept)
                    kept = b""
        except OSError:
            pass
        self.end(client, server)

    def close(self):
        self.listener.close()


class Behind:
    """A gateway as run_client wants it, reached through a Cutter."""

    def __init__(self, gw, cutter):
        self.url, self.key = cutter.url, gw.key


@pytest.mark.parametrize("half", [False, True], ids=["behind", "inside"])
@pytest.mark.parametrize("kind", ["legacy", "python"])
def test_official_clients_lose_nothing_behind_a_network_that_cuts(gateway, upstream, node, kind, half):
    gw = start(gateway, upstream, limits={"resume_retry": "20ms", "stream_after": "100ms"})
    first = 1 if half else 0  # who was told no id at all has nothing to come back to
    cutter = Cutter(gw.port, 2 * list(range(first, len(WHOLE) + 1)), half)
    step = {"op": "call", "name": "up__steps", "progress": True}
    steps = [{**step, "arguments": {"steps": STEPS, "text": f"call {i}"}} for i in range(2 * len(WHOLE) + 6)]
    out = run_client(kind, Behind(gw, cutter), steps, node=node, **({"mode": "legacy"} if kind == "python" else {}))
    for i, result in enumerate(out["results"]):
        assert result["ok"]["content"][0]["text"] == f"call {i}", result
        assert [p["progress"] for p in result["progress"]] == WHOLE[:-1]
    assert cutter.left == []
    cutter.close()
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="no call in flight")


@pytest.mark.parametrize("kind", ["legacy", "python"])
def test_official_clients_poll(gateway, upstream, node, kind):
    gw = start(gateway, upstream, limits={"stream_after": "100ms", "poll_after": "100ms", "resume_retry": "20ms"})
    steps = [{"op": "call", "name": "up__slow", "arguments": {"seconds": 2, "text": f"slow {i}"}} for i in range(2)]
    out = run_client(kind, gw, steps, node=node, **({"mode": "legacy"} if kind == "python" else {}))
    assert [r["ok"]["content"][0]["text"] for r in out["results"]] == ["slow 0", "slow 1"]
    wait_for(lambda: gw.metric("gatespan_stream_polls_total") >= 2, what="stream_polls_total")
    wait_for(lambda: gw.metric("gatespan_resumptions_total", how="resumed") >= 2, what="resumptions_total")

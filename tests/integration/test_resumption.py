"""Streams of legacy sessions that are cut: the client comes back with Last-Event-ID (P-144, P-150..P-152)."""
import http.client
import json
import socket
import threading

import pytest
from conftest import Stream, free_port, http_server, run_client, wait_for

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


def settled(gw):
    """Nothing is in flight, open or kept any more."""
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="no call in flight")
    wait_for(lambda: gw.metric("gatespan_streams_open") + gw.metric("gatespan_resumed_streams_open") == 0,
             what="no stream open")
    return gw.metric("gatespan_replay_streams"), gw.metric("gatespan_replay_bytes"), gw.metric("gatespan_replay_events")


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
    assert gw.metric("gatespan_resumptions_total", how="resumed") == len(WHOLE) + 1 - first


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

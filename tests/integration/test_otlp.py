"""Traces and metrics as a collector gets them: decoded with the official protobuf messages."""
import base64
import json
import re
import signal
import sys
import time
import urllib.request

import pytest
from conftest import FIXTURES, fixture_server, free_port, http_server, start_gateway, wait_for

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SERVER, CLIENT = "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT"


class Receiver:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def seen(self, path=None):
        with urllib.request.urlopen(self.url + "/control/seen", timeout=60) as r:
            return [s for s in json.load(r) if path in (None, s["path"])]

    def behave(self, **how):
        urllib.request.urlopen(self.url + "/control/behave", data=json.dumps(how).encode(), timeout=60).close()

    def spans(self, **wanted):
        """All spans taken, flat, with attributes as a dict, ids in hex."""
        found = []
        for request in self.seen("/v1/traces"):
            if request["status"] == 200:
                for resource in request["message"]["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        found += [flat(s) for s in scope.get("spans", [])]
        return [s for s in found if all(s.get(k) == v for k, v in wanted.items())]

    def metrics(self):
        """The newest export: {name: metric}."""
        last = self.seen("/v1/metrics")[-1]["message"]["resourceMetrics"][0]
        return {m["name"]: m for m in last["scopeMetrics"][0]["metrics"]}


def value_of(any_value):
    (kind, value), = any_value.items()
    return int(value) if kind == "intValue" else value


def attributes(list_of):
    return {a["key"]: value_of(a["value"]) for a in list_of}


def flat(span):
    out = {"name": span["name"], "kind": span["kind"], "start": int(span["startTimeUnixNano"]),
           "end": int(span["endTimeUnixNano"]), "status": span.get("status", {}).get("code"),
           "attributes": attributes(span.get("attributes", []))}
    for name, key in (("trace", "traceId"), ("span", "spanId"), ("parent", "parentSpanId")):
        out[name] = base64.b64decode(span.get(key, "")).hex()
    return out


@pytest.fixture
def receiver(processes):
    port = free_port()
    p = processes(sys.executable, FIXTURES / "otlp_receiver.py", port)
    wait_for(lambda: "ready\n" in p.lines, what="the receiver")
    return Receiver(port)


def traced(receiver, **more):
    otlp = {"endpoint": receiver.url, "interval": "200ms", **more.pop("otlp", {})}
    return {"builtins": ["time"], "otlp": otlp, **more}


def wait_spans(receiver, n, **wanted):
    wait_for(lambda: len(receiver.spans(**wanted)) >= n, what=f"{n} spans {wanted}")
    return receiver.spans(**wanted)


def test_a_call_is_a_server_span_and_a_client_span(gateway, receiver, processes):
    upstream = http_server(processes)
    gw = gateway({**traced(receiver), "upstreams": {"far": {"url": upstream.url}}})
    gw.wait_ready("far")
    before = time.time_ns()
    answer = gw.modern("tools/call", {"name": "far__echo", "arguments": {"text": "hidden words"}},
                       meta={"traceparent": PARENT}, request_id=4711)

    server, = wait_spans(receiver, 1, kind=SERVER, name="tools/call far__echo")
    client, = wait_spans(receiver, 1, kind=CLIENT, name="tools/call echo")
    after = time.time_ns()  # its end is stamped behind the answer
    assert server["trace"] == client["trace"] == PARENT[3:35]
    assert server["parent"] == PARENT[36:52]
    assert client["parent"] == server["span"] != PARENT[36:52]
    assert before - 5e6 <= server["start"] <= client["start"] <= client["end"] <= server["end"] <= after + 5e6

    a = server["attributes"]
    assert a["mcp.method.name"] == "tools/call" and a["gen_ai.tool.name"] == "far__echo"
    assert a["gen_ai.operation.name"] == "execute_tool" and a["mcp.protocol.version"] == "2026-07-28"
    assert a["jsonrpc.request.id"] == "4711" and a["network.transport"] == "tcp"
    assert a["gatespan.request.id"] == answer.headers["x-request-id"] and a["gatespan.upstream"] == "far"
    assert "error.type" not in a and server["status"] is None and "mcp.session.id" not in a
    c = client["attributes"]
    assert c["server.address"] == "127.0.0.1" and c["server.port"] == upstream.port
    assert c["gen_ai.tool.name"] == "echo" and c["mcp.method.name"] == "tools/call"

    # P-281: what goes upstream, in _meta and as a header, is the client span's context
    seen = upstream.seen("tools/call")[-1]
    wanted = f"00-{client['trace']}-{client['span']}-01"
    assert seen["message"]["params"]["_meta"]["traceparent"] == wanted
    assert {k.lower(): v for k, v in seen["headers"].items()}["traceparent"] == wanted
    assert "hidden words" not in json.dumps(receiver.seen())


def test_sessions_and_headers_as_parents(gateway, receiver):
    gw = gateway(traced(receiver))
    s = gw.session()
    s.call("tools/call", {"name": "time__get_current_time", "arguments": {}}, headers={"traceparent": PARENT},
           request_id="text-id")
    server, = wait_spans(receiver, 1, kind=SERVER, name="tools/call time__get_current_time")
    assert server["parent"] == PARENT[36:52]
    a = server["attributes"]
    assert a["mcp.session.id"] == s.id and a["mcp.protocol.version"] == "2025-11-25"
    assert a["jsonrpc.request.id"] == "text-id"
    assert wait_spans(receiver, 1, kind=SERVER, name="initialize")


def test_a_call_without_a_parent_begins_a_trace(gateway, receiver):
    gw = gateway(traced(receiver))
    for _ in range(3):
        gw.call_tool("time__get_current_time")
    spans = wait_spans(receiver, 3, kind=SERVER, name="tools/call time__get_current_time")
    assert len({s["trace"] for s in spans}) == 3
    assert all(s["parent"] == "" and int(s["trace"], 16) for s in spans)


@pytest.mark.parametrize("parent", ["00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff" + PARENT[2:], PARENT.upper(), "x"])
def test_what_is_no_parent_is_none(gateway, receiver, parent):
    gw = gateway(traced(receiver))
    gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}, meta={"traceparent": parent})
    span, = wait_spans(receiver, 1, kind=SERVER, name="tools/call time__get_current_time")
    assert span["parent"] == ""


def test_failures_are_seen(gateway, receiver):
    gw = gateway({**traced(receiver), "upstreams": {"bad": fixture_server("legacy")}})
    gw.wait_ready("bad")
    gw.modern("tools/call", {"name": "nobody__nothing", "arguments": {}})
    gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {"zone": "Nowhere/Atall"}})
    gw.modern("tools/call", {"name": "bad__crash", "arguments": {}})

    unknown, = wait_spans(receiver, 1, kind=SERVER, name="tools/call")
    assert unknown["attributes"]["error.type"] == "invalid_params" and unknown["status"] == "STATUS_CODE_ERROR"
    assert unknown["attributes"]["rpc.response.status_code"] == "-32602"
    failed, = wait_spans(receiver, 1, kind=SERVER, name="tools/call time__get_current_time")
    assert failed["attributes"]["error.type"] == "tool_error" and failed["status"] == "STATUS_CODE_ERROR"
    died, = wait_spans(receiver, 1, kind=CLIENT, name="tools/call crash")
    assert died["attributes"]["error.type"] in ("closed", "upstream", "unavailable"), died
    assert died["attributes"]["network.transport"] == "pipe" and died["status"] == "STATUS_CODE_ERROR"


def test_the_parent_decides_about_sampling_else_the_ratio(gateway, receiver):
    gw = gateway(traced(receiver, otlp={"sample": 0}))
    gw.call_tool("time__get_current_time")
    not_wanted = PARENT[:-2] + "00"
    for parent in (not_wanted, PARENT):
        gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {}}, meta={"traceparent": parent})
    assert gw.stop() == 0
    assert [s["parent"] for s in receiver.spans(kind=SERVER)] == [PARENT[36:52]]


def test_a_ratio_without_parents(gateway, receiver):
    gw = gateway(traced(receiver, otlp={"sample": 0.5, "follow_parent": False}))
    for _ in range(200):
        gw.call_tool("time__get_current_time")
    gw.stop()
    assert 60 < len(receiver.spans(kind=SERVER)) < 140


def test_unsampled_context_still_goes_on(gateway, receiver, processes):
    upstream = http_server(processes)
    gw = gateway({**traced(receiver, otlp={"sample": 0}), "upstreams": {"far": {"url": upstream.url}}})
    gw.wait_ready("far")
    gw.call_tool("far__echo", text="x")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00",
                        upstream.seen("tools/call")[-1]["message"]["params"]["_meta"]["traceparent"])


def test_resource_headers_and_the_end(gateway, receiver):
    """What was recorded last leaves before the process does; headers and resource as configured."""
    gw = gateway(traced(receiver, otlp={"headers": {"authorization": "Bearer collector-key"}, "service_name": "edge",
                                        "interval": "1h", "resource": {"deployment.environment.name": "test"}}))
    gw.call_tool("time__get_current_time")
    assert gw.stop() == 0
    traces, = receiver.seen("/v1/traces")
    metrics, = receiver.seen("/v1/metrics")
    for request in (traces, metrics):
        assert request["headers"]["authorization"] == "Bearer collector-key"
        assert request["headers"]["content-type"] == "application/x-protobuf"
    resource = attributes(traces["message"]["resourceSpans"][0]["resource"]["attributes"])
    assert resource["service.name"] == "edge" and resource["deployment.environment.name"] == "test"
    assert resource["service.version"] and resource["telemetry.sdk.language"] == "c"
    assert traces["message"]["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] == "gatespan"
    assert "collector-key" not in gw.logs()


def test_the_standard_environment_is_understood(gateway, receiver):
    gw = gateway({"builtins": ["time"]}, env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url + "/", "OTEL_SERVICE_NAME": "by-environment",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,x-other=c", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=not-this,team=core", "OTEL_METRICS_EXPORTER": "none",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"})
    gw.call_tool("time__get_current_time")
    request = wait_for(lambda: receiver.seen("/v1/traces"), what="a request")[0]
    assert request["headers"]["x-key"] == "a b" and request["headers"]["x-other"] == "c"
    assert request["headers"]["content-encoding"] == "gzip"
    resource = attributes(request["message"]["resourceSpans"][0]["resource"]["attributes"])
    assert resource["service.name"] == "by-environment" and resource["team"] == "core"
    gw.stop()
    assert not receiver.seen("/v1/metrics")


@pytest.mark.parametrize("name, value", [("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                                         ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"),
                                         ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
                                         ("OTEL_EXPORTER_OTLP_HEADERS", "secretwithoutname")])
def test_a_wrong_environment_is_refused_by_name(tmp_path, name, value):
    gw = start_gateway(tmp_path, {"builtins": ["time"]}, env={name: value}, wait=False)
    assert gw.process.wait(60) == 3
    word = "otlp.endpoint" if "ENDPOINT" in name else name
    assert word in gw.logs() and value not in gw.logs()


def test_metrics_are_those_of_the_page(gateway, receiver):
    gw = gateway(traced(receiver))
    for _ in range(5):
        gw.call_tool("time__get_current_time")
    wait_for(lambda: gw.metric("mcp_server_operation_duration_seconds_count", outcome="ok", mcp_method_name="tools/call") == 5,
             what="five calls on the page")
    sent = len(receiver.seen("/v1/metrics"))
    wait_for(lambda: len(receiver.seen("/v1/metrics")) >= sent + 2, what="two exports")
    page = gw.request("GET", "/metrics").body.decode()
    metrics = receiver.metrics()

    duration = metrics["mcp.server.operation.duration"]
    assert duration["unit"] == "s"
    assert duration["histogram"]["aggregationTemporality"] == "AGGREGATION_TEMPORALITY_CUMULATIVE"
    point, = [p for p in duration["histogram"]["dataPoints"]
              if attributes(p["attributes"]).get("gen_ai.tool.name") == "time__get_current_time"]
    assert int(point["count"]) == 5 == sum(int(n) for n in point["bucketCounts"])
    bounds = [float(x) for x in re.findall(
        r'^mcp_server_operation_duration_seconds_bucket\{[^}]*gen_ai_tool_name="time__get_current_time"[^}]*le="([\d.]+)"', page,
        re.M)]
    assert point["explicitBounds"] == bounds
    sum_on_page = gw.metric("mcp_server_operation_duration_seconds_sum", gen_ai_tool_name="time__get_current_time")
    assert point["sum"] == pytest.approx(sum_on_page)

    assert metrics["process_cpu"]["unit"] == "s" and metrics["process_cpu"]["sum"]["isMonotonic"] is True
    assert metrics["process_resident_memory"]["unit"] == "By" and "gauge" in metrics["process_resident_memory"]
    assert set(metrics) == {otlp_name(n) for n in re.findall(r"^# TYPE (\S+)", page, re.M) if has_samples(page, n)}


def has_samples(page, name):
    return re.search(rf"^{name}(_count)?[ {{]", page, re.M)


def otlp_name(name):
    """What the guide says about names."""
    dotted = {"mcp_server_operation_duration": "mcp.server.operation.duration",
              "mcp_client_operation_duration": "mcp.client.operation.duration",
              "http_server_request_duration": "http.server.request.duration"}
    name = re.sub(r"_(seconds|bytes)$", "", re.sub("_total$", "", name))
    return dotted.get(name, name)


def test_a_collector_that_is_busy_is_asked_again(gateway, receiver):
    receiver.behave(statuses=[503, 429], retry_after="1")
    gw = gateway(traced(receiver, otlp={"metrics": False}))
    gw.call_tool("time__get_current_time")
    wait_spans(receiver, 1, kind=SERVER)
    requests = receiver.seen("/v1/traces")
    assert [r["status"] for r in requests] == [503, 429, 200]
    assert len({json.dumps(r["message"]) for r in requests}) == 1, "the same spans each time"
    assert gw.metric("gatespan_otlp_requests_total", signal="traces", outcome="retry") == 2
    wait_for(lambda: gw.metric("gatespan_otlp_spans_total", outcome="exported") == len(receiver.spans()), what="their count")


def test_what_a_collector_refuses_is_dropped_and_said(gateway, receiver):
    receiver.behave(statuses=[400])
    gw = gateway(traced(receiver, otlp={"metrics": False}))
    gw.call_tool("time__get_current_time")
    wait_for(lambda: gw.metric("gatespan_otlp_spans_total", outcome="failed") > 0, what="dropped")
    gw.wait_log("the collector does not take what is exported")
    receiver.behave(reject=1)
    gw.call_tool("time__get_current_time")
    wait_for(lambda: gw.metric("gatespan_otlp_spans_total", outcome="rejected") == 1, what="rejected")
    gw.wait_log("no room for these")


def test_a_collector_that_is_away_costs_spans_only(gateway):
    gw = gateway({"builtins": ["time"], "otlp": {"endpoint": f"http://127.0.0.1:{free_port()}", "queue": 64}})
    for _ in range(300):
        gw.call_tool("time__get_current_time")
    wait_for(lambda: gw.metric("gatespan_otlp_spans_total", outcome="full") > 100, what="spans left out")
    assert gw.metric("gatespan_otlp_spans_waiting") <= 64 + 2
    assert gw.stop(signal.SIGTERM, seconds=25) == 0, "nobody waits for it for long"


def test_nothing_is_sent_unless_asked_for(gateway, receiver, processes):
    upstream = http_server(processes)
    gw = gateway({"builtins": [], "upstreams": {"far": {"url": upstream.url}}})
    gw.wait_ready("far")
    gw.call_tool("far__echo", text="x")
    assert not receiver.seen()
    assert "traceparent" not in json.dumps(upstream.seen("tools/call")[-1])


# ---- the real ones: TEST_JAEGER_URL, TEST_OTELCOL_URL and their further addresses say where they run


def component(name):
    import os
    value = os.environ.get(name)
    if not value:
        if name.split("_")[1].lower() in os.environ.get("TEST_REQUIRE", "").split(","):
            pytest.fail(f"{name} is not set, and TEST_REQUIRE asks for it")
        pytest.skip(f"{name} does not say where one runs")
    return value


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as r:
            return r.read().decode()
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_jaeger_shows_the_trace(gateway, processes, compression):
    query, otlp = component("TEST_JAEGER_URL"), component("TEST_JAEGER_OTLP_HTTP_URL")
    upstream = http_server(processes)
    service = f"gatespan-{compression}-{time.time_ns()}"
    gw = gateway({"builtins": [], "upstreams": {"far": {"url": upstream.url}},
                  "otlp": {"endpoint": otlp, "metrics": False, "service_name": service, "compression": compression}})
    gw.wait_ready("far")
    trace = f"{time.time_ns():032x}"
    gw.modern("tools/call", {"name": "far__echo", "arguments": {"text": "x"}},
              meta={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    shown = wait_for(lambda: json.loads(fetch(f"{query}/api/traces/{trace}") or "{}").get("data"), what="the trace")[0]

    spans = {s["operationName"]: s for s in shown["spans"]}
    assert set(spans) == {"tools/call far__echo", "tools/call echo"}
    tags = {t["key"]: t["value"] for t in spans["tools/call far__echo"]["tags"]}
    assert tags["span.kind"] == "server" and tags["gen_ai.tool.name"] == "far__echo"
    parents = {r["spanID"] for r in spans["tools/call echo"]["references"]}
    assert parents == {spans["tools/call far__echo"]["spanID"]}
    assert {p["serviceName"] for p in shown["processes"].values()} == {service}
    assert not spans["tools/call echo"].get("warnings"), "its parent is there; the other's is ours alone"


@pytest.mark.slow
def test_the_collector_shows_the_names_of_our_page(gateway):
    """Its Prometheus exporter turns OTLP names back; what comes out is named as on /metrics, and is worth the same."""
    otlp, scraped = component("TEST_OTELCOL_URL"), component("TEST_OTELCOL_METRICS_URL")
    gw = gateway({"builtins": ["time"], "otlp": {"endpoint": otlp, "interval": "300ms"}})
    for _ in range(7):
        gw.call_tool("time__get_current_time")

    def count():
        return re.findall(r'^mcp_server_operation_duration_seconds_count\{[^}]*gen_ai_tool_name="time__get_current_time"[^}]*\} 7$',
                          fetch(scraped), re.M)

    wait_for(count, what="seven calls at the collector")
    page = gw.request("GET", "/metrics").body.decode()
    ours = {n for n in re.findall(r"^# TYPE (\S+)", page, re.M) if has_samples(page, n)}
    wait_for(lambda: ours <= set(re.findall(r"^# TYPE (\S+)", fetch(scraped), re.M)), what=f"all of {ours}")

"""What is counted, and as what: the page is read with Prometheus' own parser."""
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from conftest import fixture_server, replace, wait_for
from prometheus_client.parser import text_string_to_metric_families

# Every row that must be there before anything was called: what, not how much, is running.
ALWAYS = {
    "process_cpu_seconds": "counter", "process_resident_memory_bytes": "gauge", "process_virtual_memory_bytes": "gauge",
    "process_open_fds": "gauge", "process_max_fds": "gauge", "process_start_time_seconds": "gauge",
    "gatespan_build_info": "gauge", "gatespan_client_connections": "gauge", "gatespan_client_connections_limit": "gauge",
    "gatespan_buffer_bytes": "gauge", "gatespan_buffer_limit_bytes": "gauge", "gatespan_mail_bytes": "gauge",
    "gatespan_work_waiting": "gauge", "gatespan_tasks": "gauge", "gatespan_tasks_limit": "gauge",
    "gatespan_loop_lag_seconds": "histogram", "gatespan_upstream_state": "gauge", "gatespan_upstream_restarts": "counter",
    "gatespan_upstream_in_flight": "gauge", "gatespan_upstream_waiting": "gauge", "gatespan_sessions": "gauge",
    "gatespan_streams_open": "gauge", "gatespan_snapshot_generation": "gauge", "gatespan_snapshot_age_seconds": "gauge",
    "gatespan_reloads": "counter", "gatespan_refusals": "counter", "gatespan_log_lines_dropped": "counter",
    "http_server_request_duration_seconds": "histogram", "mcp_server_operation_duration_seconds": "histogram",
    "mcp_client_operation_duration_seconds": "histogram",
}


def page(gw):
    return gw.request("GET", "/metrics").body.decode()


def families(gw):
    return {f.name: f for f in text_string_to_metric_families(page(gw))}


def test_a_tool_that_fails_is_no_success(gateway):
    gw = gateway()
    name = "mcp_server_operation_duration_seconds_count"
    labels = {"gen_ai_tool_name": "time__get_current_time", "upstream": "time"}

    assert "isError" not in gw.call_tool("time__get_current_time")
    assert gw.call_tool("time__get_current_time", zone="Nowhere/Atall")["isError"] is True

    # counted after the answer: the next request may come on another worker before that
    wait_for(lambda: gw.metric(name, outcome="tool_error", **labels) == 1, what="the failure")
    wait_for(lambda: gw.metric(name, outcome="ok", **labels) == 1, what="the success")
    assert gw.metric(name, **labels) == 2


def test_connections_and_pools_are_counted(gateway):
    gw = gateway()
    assert gw.metric("gatespan_client_connections") >= 1
    wait_for(lambda: gw.metric("gatespan_exchanges_in_flight") == 0, what="nothing in flight")


def test_the_page_is_what_prometheus_reads(gateway):
    gw = gateway()
    gw.call_tool("time__get_current_time")
    found = families(gw)

    assert {n: found[n].type for n in ALWAYS if n in found} == ALWAYS
    for family in found.values():
        assert family.documentation, family.name
        for sample in family.samples:
            assert sample.value == sample.value, sample  # no NaN
        if family.type == "histogram":
            check_histogram(family)


def check_histogram(family):
    """Buckets of a series rise up to +Inf, which is its count."""
    series = {}
    for s in family.samples:
        labels = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
        series.setdefault(labels, []).append(s)
    for samples in series.values():
        buckets = [s.value for s in samples if s.name.endswith("_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == next(s.value for s in samples if s.name.endswith("_count"))


def test_requests_are_counted_by_route_and_status(gateway):
    gw = gateway()
    name = "http_server_request_duration_seconds_count"
    before = gw.metric(name, http_route="/mcp", http_response_status_code="200", http_request_method="POST")
    for _ in range(3):
        gw.call_tool("time__get_current_time")
    gw.request("GET", "/health")
    assert gw.request("GET", "/nowhere").status == 404
    assert gw.request("POST", "/mcp", b"{}", key="gs_wrong_key_key_key_key").status == 401
    gw.request("BREW", "/mcp")

    def counted(number, **labels):  # after its answer, whose reader may be faster
        wait_for(lambda: gw.metric(name, **labels) == number, what=f"{number} of {labels}")

    counted(before + 3, http_route="/mcp", http_response_status_code="200", http_request_method="POST")
    wait_for(lambda: gw.metric(name, http_route="/health", http_response_status_code="200") >= 1, what="/health")
    counted(1, http_route="", http_response_status_code="404")
    counted(1, http_route="/mcp", http_response_status_code="401")
    counted(1, http_request_method="_OTHER")
    wait_for(lambda: gw.metric("gatespan_refusals_total", reason="unauthenticated") == 1, what="the refusal")


def test_what_is_no_request_is_counted(gateway):
    import socket
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.port)) as s:
        s.sendall(b"this is no HTTP\r\n\r\n")
        assert b" 400 " in s.recv(4096)
    wait_for(lambda: gw.metric("gatespan_broken_requests_total", http_response_status_code="400") == 1, what="its count")


def test_the_process_is_described(gateway):
    import time
    gw = gateway()
    found = families(gw)

    def value(name):
        return found[name].samples[0].value

    assert abs(value("process_start_time_seconds") - time.time()) < 60
    assert value("process_open_fds") == pytest.approx(len(os.listdir(f"/proc/{gw.process.pid}/fd")), abs=8)
    assert 0 < value("process_resident_memory_bytes") < value("process_virtual_memory_bytes")
    assert value("gatespan_tasks_limit") > 1000
    assert value("gatespan_client_connections_limit") == 16000
    build = found["gatespan_build_info"].samples[0]
    assert build.value == 1 and build.labels["version"] in subprocess.check_output(
        [os.readlink(f"/proc/{gw.process.pid}/exe"), "version"], text=True)


def test_an_upstream_is_seen_in_its_state_and_with_its_line(gateway):
    gw = gateway({"builtins": [], "workers": 1,
                  "upstreams": {"slow": fixture_server("legacy", concurrency=1), "gone": {"command": "/nonexistent"}}})
    gw.wait_ready("slow")
    wait_for(lambda: gw.metric("gatespan_upstream_state", upstream="gone", state="failed") == 1, what="gone failed")

    assert gw.metric("gatespan_upstream_state", upstream="slow", state="ready") == 1
    assert gw.metric("gatespan_upstream_state", upstream="slow") == 1
    assert gw.metric("gatespan_upstream_failures_total", upstream="gone") >= 1
    wait_for(lambda: gw.metric("gatespan_upstream_in_flight", upstream="slow") == 0, what="nothing in flight")
    assert gw.metric("gatespan_catalogue_items", kind="tool") > 0


def test_reloads_are_counted(gateway, tmp_path):
    import signal
    gw = gateway({"builtins": ["time"]})
    generation = gw.metric("gatespan_snapshot_generation")
    gw.process.send_signal(signal.SIGHUP)
    wait_for(lambda: gw.metric("gatespan_reloads_total", outcome="applied") == 1, what="reload applied")
    wait_for(lambda: gw.metric("gatespan_snapshot_generation") > generation, what="a new catalogue")
    replace(tmp_path / "gatespan.json", {"nonsense": 1})
    wait_for(lambda: gw.metric("gatespan_reloads_total", outcome="refused") >= 1, what="reload refused")
    wait_for(lambda: gw.metric("gatespan_last_reload_successful") == 0, what="the mark of it")


def test_names_follow_the_conventions(gateway):
    """Base units, _total on counters alone: what promtool's linter asks for, without promtool."""
    gw = gateway()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page(gw), re.M):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|kb|mb|minutes|percent)(_|$)", name), name


def test_promtool_finds_nothing(gateway):
    """Linted by the real thing, when it is installed (Debian's prometheus package)."""
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    gw = gateway()
    gw.call_tool("time__get_current_time")
    done = subprocess.run([promtool, "check", "metrics"], input=page(gw), capture_output=True, text=True, timeout=60)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr + done.stdout


def _prometheus():
    path = shutil.which("prometheus")
    return path or pytest.skip("prometheus is not installed: apt-get install prometheus")


def test_prometheus_scrapes_it(gateway, processes, tmp_path):
    """The real server with a key in a file: the target is up and a rate can be asked for."""
    from conftest import free_port
    import json
    program = _prometheus()
    gw = gateway()
    (tmp_path / "key").write_text(gw.key)
    (tmp_path / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: gatespan
    authorization: {{credentials_file: {tmp_path}/key}}
    static_configs: [{{targets: ["127.0.0.1:{gw.port}"]}}]
""")
    port = free_port()
    processes(program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
              f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")

    def query(expression):
        url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=60) as r:
                return json.load(r)["data"]["result"]
        except OSError:
            return []

    import urllib.parse
    wait_for(lambda: [r for r in query('up{job="gatespan"}') if r["value"][1] == "1"], what="the target is up")
    gw.call_tool("time__get_current_time")
    found = wait_for(lambda: query('mcp_server_operation_duration_seconds_count{outcome="ok"} > 0'), what="the call")
    assert found[0]["metric"]["gen_ai_tool_name"] == "time__get_current_time"
    build = wait_for(lambda: query("gatespan_build_info"), what="the build")  # nothing while a scrape came too late
    assert build[0]["value"][1] == "1"

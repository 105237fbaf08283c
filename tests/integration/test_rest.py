"""The REST API: what each route answers, good and bad, and what must never happen."""
import concurrent.futures
import os
import re
import signal

import pytest
from conftest import files_text, fixture_server, http_server, wait_for

SERVERS, PROFILES, KEYS, TOOLS = "/api/v1/proxy/servers", "/api/v1/profiles", "/api/v1/keys", "/api/v1/tools"
CLIENT_KEY = "gs_clientfilekey_0123456789abcdef0123456789abcdef"
CANARY = "canary-7f3a-never-shown"


@pytest.fixture(scope="module")
def gw(module_gateway):
    return module_gateway({"upstreams": {"filed": {"builtin": "time", "tags": ["clock"]}},
                           "profiles": {"some": {"upstreams": ["time"], "rename": {"time__convert_time": "convert"}}},
                           "keys": {"one": {"secret": CLIENT_KEY, "allow": ["time__*"]}}})


def item(gw, path, **headers):
    answer = gw.request("GET", path, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json


def refused(answer, status, code):
    assert (answer.status, answer.json.get("error")) == (status, code), answer.body
    assert answer.json["message"] and answer.json["details"]["requestId"] == answer.headers["x-request-id"]
    return answer.json


def described(gw):
    document = gw.request("GET", "/openapi.json", key=None).json
    return [(method.upper(), path, operation) for path, methods in document["paths"].items()
            for method, operation in methods.items()]


def real(path):
    return path.replace("{name}", "nix").replace("{id}", "nix")


# ---- the frame

def test_every_route_is_in_the_reference(gw):
    with open("docs/reference/routes.md") as f:
        page = f.read()
    for method, path, _ in described(gw):
        assert f"### {method} {path}\n" in page, f"{method} {path}: run gatespan describe --out docs/reference"


def test_every_error_code_is_in_the_reference(gw):
    with open("docs/reference/errors.md") as f:
        page = f.read()
    schema = gw.request("GET", "/openapi.json").json["components"]["schemas"]["Error"]
    for code in schema["properties"]["error"]["examples"]:
        assert f"### {code}\n" in page


def test_every_path_refuses_other_methods_and_lists_its_own(gw):
    own = {}
    for method, path, _ in described(gw):
        own.setdefault(path, set()).add(method)
    for path, methods in own.items():
        streams = path == "/api/v1/logs"  # a stream has no length to tell
        want = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods and not streams else set())
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
            answer = gw.request(method, real(path))
            refused(answer, 405, "method")
            assert set(answer.headers["allow"].split(", ")) == want
        answer = gw.request("OPTIONS", real(path), key=None)
        assert answer.status == 204 and set(answer.headers["allow"].split(", ")) == want


def test_every_route_asks_for_what_it_says(gw):
    for method, path, operation in described(gw):
        body = {} if "requestBody" in operation else None
        anybody = gw.request(method, real(path), body, key=None).status
        assert (anybody == 401) == bool(operation["security"]), path
        if "403" in operation["responses"]:
            refused(gw.request(method, real(path), body, key=CLIENT_KEY), 403, "denied")


def test_head_is_get_without_its_body(gw):
    get, head = gw.request("GET", "/health"), gw.request("HEAD", "/health")
    assert head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(get.body))


def test_bodies_of_the_wrong_form_are_named(gw):
    post = lambda body, **h: gw.request("POST", KEYS, body, h)  # noqa: E731
    refused(post(b"name=x", **{"Content-Type": "text/plain"}), 415, "media_type")
    refused(gw.request("GET", KEYS, headers={"Accept": "text/html"}), 406, "accept")
    for body, says in ((b"", "a body is needed"), (b"{", "no JSON"), (b"[]", "must be an object, not an array"),
                       (b'{"name":"a","name":"b"}', "duplicate")):
        assert says in refused(post(body), 400, "invalid")["message"].replace("twice", "duplicate")
    answer = refused(post({"nam": "x", "burst": -1}), 400, "invalid")
    assert [(p["path"], p["message"]) for p in answer["details"]["problems"]] == [
        ("nam", 'is unknown; did you mean "name"?'), ("burst", "must be an integer from 0 to 1000000, not -1"),
        ("name", "is missing: a text of 1 to 64 characters")]
    refused(gw.request("POST", KEYS, b"x" * (5 << 20)), 413, "too_large")
    refused(gw.request("GET", KEYS + "?limit=0"), 400, "invalid")
    refused(gw.request("GET", KEYS + "/%ff"), 400, "invalid")


def test_problems_of_rfc_9457_on_demand(gw):
    answer = gw.request("GET", TOOLS + "/nix", headers={"Accept": "application/problem+json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type": "/docs#not_found", "status": 404, "instance": TOOLS + "/nix"}.items() <= answer.json.items()
    assert answer.json["error"] == "not_found" and answer.json["detail"] == answer.json["message"]


def test_the_reference_page_is_whole_and_allows_nothing_else(gw):
    answer = gw.request("GET", "/docs", key=None)
    page = answer.body.decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r"<script|src=|url\(|href=\"(?!#|openapi\.json)", page)
    for _, path, _ in described(gw):
        assert f"<code>{path}</code>" in page


def test_refusals_below_any_route_have_the_same_shape(gw):
    answer = gw.request("GET", TOOLS + "?q=" + "x" * 9000)
    assert answer.status == 414 and answer.json["error"] == "uri_too_long" and answer.json["timestamp"]
    answer = gw.request("GET", TOOLS, headers={"X-Long": "x" * 20000})
    assert answer.status == 431 and answer.json["error"] == "head_too_large" and "requestId" in answer.json["details"]


def test_private_answers_are_not_stored(gw):
    for path in (TOOLS, KEYS, SERVERS, "/api/v1/info"):
        assert gw.request("GET", path).headers["cache-control"] == "no-store"


# ---- tools

def test_tools_are_listed_found_and_shown(gw):
    names = [t["name"] for t in item(gw, TOOLS)["items"]]
    assert names == sorted(names) and "time__get_current_time" in names and "filed__convert_time" in names
    assert {t["upstream"] for t in item(gw, TOOLS + "?upstream=filed")["items"]} == {"filed"}
    assert {t["upstream"] for t in item(gw, TOOLS + "?tag=clock")["items"]} == {"filed"}
    found = [t["name"] for t in item(gw, TOOLS + "/search?q=CURRENT%20date")["items"]]
    assert found == ["filed__get_current_time", "time__get_current_time"]
    assert item(gw, TOOLS + "/search?q=zzzz")["items"] == []
    refused(gw.request("GET", TOOLS + "/search"), 400, "invalid")
    shown = item(gw, TOOLS + "/time__convert_time")
    assert shown["input_schema"]["required"] == ["target_zones"] and shown["annotations"]["readOnlyHint"]
    in_profile = [t["name"] for t in item(gw, TOOLS + "?profile=some")["items"]]
    assert "convert" in in_profile and not [n for n in in_profile if n.startswith("filed")]
    refused(gw.request("GET", TOOLS + "?profile=nix"), 404, "not_found")


def test_pages_cover_the_list_once(gw):
    whole, seen, cursor = [t["name"] for t in item(gw, TOOLS)["items"]], [], ""
    while cursor is not None:
        page = item(gw, f"{TOOLS}?limit=3" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page["items"]) <= 3
        seen += [t["name"] for t in page["items"]]
        cursor = page.get("next_cursor")
    assert seen == whole
    cursor = item(gw, f"{TOOLS}?limit=3")["next_cursor"]
    flipped = cursor[:-5] + ("A" if cursor[-5] != "A" else "B") + cursor[-4:]
    refused(gw.request("GET", f"{TOOLS}?cursor={flipped}"), 422, "unprocessable")
    refused(gw.request("GET", f"{SERVERS}?cursor={cursor}"), 422, "unprocessable")
    refused(gw.request("GET", f"{TOOLS}?cursor={cursor}", key=CLIENT_KEY), 422, "unprocessable")


def test_a_tool_is_executed_as_over_mcp(gw):
    answer = gw.request("POST", TOOLS + "/time__convert_time/execute",
                        {"arguments": {"time": "2026-07-28T12:00:00Z", "target_zones": ["Asia/Tokyo"]}})
    assert answer.status == 200 and not answer.json["is_error"] and answer.json["upstream"] == "time"
    assert answer.json["structured"]["targets"][0]["time"].startswith("2026-07-28T21:00")
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    same = gw.call_tool("time__convert_time", time="2026-07-28T12:00:00Z", target_zones=["Asia/Tokyo"])
    assert same["structuredContent"] == answer.json["structured"]
    failed = gw.request("POST", TOOLS + "/time__convert_time/execute", {"arguments": {"target_zones": ["Nix"]}})
    assert failed.status == 200 and failed.json["is_error"] and "Nix" in failed.json["content"][0]["text"]
    refused(gw.request("POST", TOOLS + "/nix/execute", {}), 404, "not_found")
    refused(gw.request("POST", TOOLS + "/time__convert_time/execute", {"arguments": []}), 400, "invalid")
    renamed = gw.request("POST", TOOLS + "/convert/execute?profile=some", {"arguments": {"target_zones": ["UTC"]}})
    assert renamed.status == 200 and not renamed.json["is_error"]


def test_a_key_sees_and_calls_what_it_is_granted(gw):
    names = [t["name"] for t in gw.request("GET", TOOLS, key=CLIENT_KEY).json["items"]]
    assert names and all(n.startswith("time__") for n in names)
    refused(gw.request("GET", TOOLS + "/filed__convert_time", key=CLIENT_KEY), 404, "not_found")
    refused(gw.request("POST", TOOLS + "/filed__get_current_time/execute", {}, key=CLIENT_KEY), 404, "not_found")
    assert gw.request("POST", TOOLS + "/time__get_current_time/execute", {}, key=CLIENT_KEY).status == 200


def test_calls_are_limited_and_bounded_in_time(gateway):
    gw = gateway({"upstreams": {"slow": fixture_server("legacy")},
                  "keys": {"few": {"secret": CLIENT_KEY, "rate": "1/m", "burst": 1}}}).wait_ready("slow")
    call = lambda **h: gw.request("POST", TOOLS + "/time__get_current_time/execute", {}, **h)  # noqa: E731
    assert call(key=CLIENT_KEY).status == 200
    answer = call(key=CLIENT_KEY)
    refused(answer, 429, "limited")
    assert 1 < int(answer.headers["retry-after"]) <= 60
    refused(gw.request("POST", TOOLS + "/slow__silent/execute", {"timeout": "200ms"}), 504, "timeout")
    refused(gw.request("POST", TOOLS + "/slow__crash/execute", {}), 502, "closed")


def test_history_and_figures_follow_calls(gw):
    for _ in range(3):
        gw.request("POST", TOOLS + "/time__list_time_zones/execute", {}, key=CLIENT_KEY)
    gw.request("POST", TOOLS + "/time__convert_time/execute", {"arguments": {"target_zones": ["Nix"]}})
    rows = wait_for(lambda: item(gw, TOOLS + "/time__list_time_zones/history")["items"][2:] and
                    item(gw, TOOLS + "/time__list_time_zones/history")["items"], 10, "three rows of history")
    assert {r["tool"] for r in rows} == {"time__list_time_zones"} and rows[0]["outcome"] == "ok"
    own = gw.request("GET", "/api/v1/history", key=CLIENT_KEY).json["items"]
    assert own and {r["key"] for r in own} == {"one"}
    refused(gw.request("GET", "/api/v1/history?key=admintestkey", key=CLIENT_KEY), 403, "denied")
    stats = wait_for(lambda: [s for s in item(gw, "/api/v1/stats")["items"] if s["name"] == "time__convert_time" and
                              s["errors"]], 10, "figures")
    assert 0 < stats[0]["error_rate"] <= 1 and stats[0]["p50_ms"] <= stats[0]["p99_ms"]
    assert item(gw, TOOLS + "/stats?group=upstream")["total"]["calls"] >= 4
    # a call of another test may be on its way from another worker's journal
    wait_for(lambda: gw.request("GET", "/api/v1/stats?group=key", key=CLIENT_KEY).json["total"]["calls"] ==
             len(gw.request("GET", "/api/v1/history", key=CLIENT_KEY).json["items"]), what="figures of the same calls")


def test_calls_in_flight_are_shown(gateway, processes):
    slow = http_server(processes)
    gw = gateway({"upstreams": {"slow": {"url": slow.url}}}).wait_ready("slow")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(gw.request, "POST", TOOLS + "/slow__slow/execute", {"arguments": {"until": "released"}})
        seen = wait_for(lambda: item(gw, "/api/v1/calls")["items"] or call.done(), what="a call")
        slow.release()
        assert seen[0]["tool"] == "slow__slow" and seen[0]["upstream"] == "slow" and seen[0]["key"] == "admin"
        assert seen[0]["request_id"] == call.result().headers["x-request-id"]


# ---- servers

def test_a_server_lives_and_goes(gw):
    new = gw.request("POST", SERVERS + "?wait=ready", {"name": "added", "config": {"builtin": "time"}})
    assert new.status == 201 and new.headers["location"] == SERVERS + "/added" and new.headers["etag"] == '"1"'
    assert new.json["live"]["state"] == "ready" and new.json["source"] == "registry"
    wait_for(lambda: "added__convert_time" in gw.tools(), what="its tools")
    refused(gw.request("POST", SERVERS, {"name": "added", "config": {"builtin": "time"}}), 409, "conflict")
    put = gw.request("PUT", SERVERS + "/added", {"builtin": "time", "timeout": "5s"}, {"If-Match": '"1"'})
    assert put.status == 200 and put.json["config"]["timeout"] == "5s" and put.headers["etag"] == '"2"'
    patch = gw.request("PATCH", SERVERS + "/added", {"timeout": None, "prefix": False}, {"If-Match": '"2"'})
    assert patch.json["config"]["timeout"] == "30s" and patch.json["config"]["prefix"] is False
    assert gw.request("POST", SERVERS + "/added/restart?wait=ready").json["live"]["restarts"] == 1
    assert gw.request("DELETE", SERVERS + "/added", headers={"If-Match": '"3"'}).status == 204
    refused(gw.request("GET", SERVERS + "/added"), 404, "not_found")
    wait_for(lambda: "convert_time" not in gw.tools(), what="its tools are gone")


def test_changes_name_the_version_they_change(gw):
    gw.request("POST", SERVERS, {"name": "versions", "config": {"builtin": "time"}})
    for method in ("PUT", "PATCH"):
        refused(gw.request(method, SERVERS + "/versions", {"builtin": "time"}), 428, "precondition_required")
        refused(gw.request(method, SERVERS + "/versions", {"builtin": "time"}, {"If-Match": '"7"'}), 412,
                "precondition_failed")
        refused(gw.request(method, SERVERS + "/versions", {"builtin": "time"}, {"If-Match": "x"}), 400, "invalid")
    refused(gw.request("DELETE", SERVERS + "/versions", headers={"If-Match": '"7"'}), 412, "precondition_failed")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        put = lambda n: gw.request("PUT", SERVERS + "/versions", {"builtin": "time", "timeout": n + 1},  # noqa: E731
                                   {"If-Match": '"1"'}).status
        statuses = sorted(pool.map(put, range(8)))
    assert statuses == [200] + [412] * 7
    assert gw.request("DELETE", SERVERS + "/versions").status == 204


def test_what_the_file_defines_is_read_only(gw):
    for method, path, body in (("POST", SERVERS, {"name": "filed", "config": {"builtin": "time"}}),
                               ("PUT", SERVERS + "/filed", {"builtin": "time"}), ("DELETE", SERVERS + "/filed", None),
                               ("PATCH", PROFILES + "/some", {"deny": ["x"]}), ("DELETE", PROFILES + "/some", None)):
        answer = refused(gw.request(method, path, body, {"If-Match": "*"}), 409, "read_only")
        assert "gatespan.json" in answer["message"]
    refused(gw.request("DELETE", SERVERS + "/time"), 409, "read_only")
    assert gw.request("POST", SERVERS + "/filed/restart?wait=ready").json["live"]["state"] == "ready"


@pytest.mark.parametrize("config,code", [({}, 422), ({"command": "x", "url": "http://h/"}, 422), ({"url": "ftp://h"}, 422),
                                         ({"builtin": "nix"}, 422), ({"timeout": "9y"}, 400), ({"timeout": "90d"}, 422),
                                         ({"url": "http://h/mcp", "headers": {"host": "x"}}, 422), ({"nix": 1}, 400)])
def test_a_bad_server_is_refused_whole(gw, config, code):
    refused(gw.request("POST", SERVERS, {"name": "bad", "config": config}), code,
            "invalid" if code == 400 else "unprocessable")
    refused(gw.request("GET", SERVERS + "/bad"), 404, "not_found")


def test_secrets_stay_inside(gw, processes):
    server = http_server(processes)
    config = {"url": server.url, "headers": {"X-Token": CANARY}, "env": {"A": CANARY}}
    answers = [gw.request("POST", SERVERS + "?wait=ready", {"name": "private", "config": config})]
    assert answers[0].status == 201, answers[0].body
    shown = answers[0].json["config"]
    assert shown["headers"] == {"X-Token": "***"} and shown["env"] == {"A": "***"}
    answers.append(gw.request("PUT", SERVERS + "/private?wait=ready", {**shown, "timeout": "7s"}, {"If-Match": '"1"'}))
    answers.append(gw.request("PATCH", SERVERS + "/private", {"headers": {"X-Other": "***"}}, {"If-Match": "*"}))
    answers += [gw.request("GET", path) for path in (SERVERS, SERVERS + "/private", "/api/v1/health/detailed")]
    assert [a.status for a in answers[1:]] == [200, 422, 200, 200, 200]
    assert server.seen()[-1]["headers"].get("x-token", server.seen()[-1]["headers"].get("X-Token")) == CANARY
    assert not [a for a in answers if CANARY.encode() in a.body] and CANARY not in gw.logs()
    assert CANARY.encode() not in files_text(gw.data)
    gw.request("DELETE", SERVERS + "/private")


def test_profiles_are_served_when_answered(gw):
    new = gw.request("POST", PROFILES, {"name": "fresh", "config": {"upstreams": ["time"], "allow": ["*convert*"]}})
    assert new.status == 201 and new.json["endpoint"] == "/mcp/fresh"
    assert wait_for(lambda: gw.tools("/mcp/fresh"), what="its endpoint") == ["time__convert_time"]
    refused(gw.request("POST", PROFILES, {"name": "bad", "config": {"upstreams": ["nix"]}}), 422, "unprocessable")
    refused(gw.request("POST", PROFILES, {"name": "v1", "config": {}}), 422, "unprocessable")
    gw.request("POST", SERVERS, {"name": "needed", "config": {"builtin": "time"}})
    gw.request("PATCH", PROFILES + "/fresh", {"upstreams": ["needed"]}, {"If-Match": "*"})
    assert "fresh" in refused(gw.request("DELETE", SERVERS + "/needed"), 409, "conflict")["message"]
    assert gw.request("DELETE", PROFILES + "/fresh").status == 204
    assert gw.request("DELETE", SERVERS + "/needed").status == 204


# ---- keys

def test_a_key_lives_and_goes(gw):
    made = gw.request("POST", KEYS, {"name": "ci", "allow": ["time__convert*"], "expires": "2999-01-01T00:00:00Z"})
    refused(made, 422, "unprocessable")  # nanoseconds end in 2262
    made = gw.request("POST", KEYS, {"name": "ci", "allow": ["time__convert*"], "expires": "2199-01-01T00:00:00+01:00"})
    assert made.status == 201 and made.json["expires"] == "2198-12-31T23:00:00.000Z"
    key, path = made.json["key"], made.headers["location"]
    assert [t["name"] for t in gw.request("GET", TOOLS, key=key).json["items"]] == ["time__convert_time"]
    assert "key" not in item(gw, path) and key.encode() not in gw.request("GET", KEYS).body
    patched = gw.request("PATCH", path, {"allow": None, "rate": "5/s"}, {"If-Match": gw.request("GET", path).headers["etag"]})
    assert patched.status == 200 and patched.json["rate"] == "5/s" and patched.json["allow"] == []
    assert len(gw.request("GET", TOOLS, key=key).json["items"]) > 1
    rotated = gw.request("POST", path + "/rotate", {"overlap": "1h"})
    assert rotated.status == 201 and rotated.json["name"] == "ci"
    both = [gw.request("GET", TOOLS, key=k).status for k in (key, rotated.json["key"])]
    assert both == [200, 200]
    assert gw.request("POST", rotated.headers["location"] + "/rotate", {"overlap": "0s"}).status == 201
    refused(gw.request("GET", TOOLS, key=rotated.json["key"]), 401, "unauthenticated")
    assert gw.request("DELETE", path).status == 204
    refused(gw.request("GET", TOOLS, key=key), 401, "unauthenticated")
    assert item(gw, path)["state"] == "revoked"
    assert gw.request("DELETE", path + "?forget=true").status == 204
    refused(gw.request("GET", path), 404, "not_found")


def test_changed_grants_hold_on_every_worker(gw):
    made = gw.request("POST", KEYS, {"name": "changing"})
    ask = lambda _: len(gw.request("GET", TOOLS, key=made.json["key"]).json["items"])  # noqa: E731
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for allow, tools in (["time__convert*"], {1}), (["time__*"], {5}), (["nix"], {0}):
            list(pool.map(ask, range(16)))  # every worker has compiled what the key may see
            gw.request("PATCH", made.headers["location"], {"allow": allow}, {"If-Match": "*"})
            assert set(pool.map(ask, range(32))) == tools


def test_a_revoked_key_is_known_to_no_worker(gw):
    key = gw.request("POST", KEYS, {"name": "gone"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ask = lambda _: gw.request("GET", TOOLS + "?limit=1", key=key.json["key"]).status  # noqa: E731
        assert set(pool.map(ask, range(40))) == {200}
        assert gw.request("DELETE", key.headers["location"]).status == 204
        assert set(pool.map(ask, range(40))) == {401}


def test_the_last_admin_and_the_files_keys_stay(gw):
    refused(gw.request("DELETE", KEYS + "/admintestkey"), 409, "conflict")
    listed = item(gw, KEYS)["items"]
    filed = next(k for k in listed if k["name"] == "one")
    assert filed["source"] == "file" and CLIENT_KEY.encode() not in gw.request("GET", KEYS).body
    refused(gw.request("DELETE", f"{KEYS}/{filed['id']}"), 409, "read_only")
    refused(gw.request("POST", KEYS, {"name": "x", "profiles": ["nix"]}), 422, "unprocessable")
    refused(gw.request("POST", KEYS, {"name": "x", "expires": "2000-01-01T00:00:00Z"}), 422, "unprocessable")


# ---- repeating

def test_a_repeated_request_has_the_first_answer(gw):
    head = {"Idempotency-Key": "11111111-once"}
    first, again = (gw.request("POST", KEYS, {"name": "once"}, head) for _ in range(2))
    assert first.status == again.status == 201 and first.json == again.json
    assert again.headers["idempotency-replayed"] == "true" and again.headers["location"] == first.headers["location"]
    assert len([k for k in item(gw, KEYS)["items"] if k["name"] == "once"]) == 1
    refused(gw.request("POST", KEYS, {"name": "other"}, head), 422, "idempotency_mismatch")
    refused(gw.request("POST", PROFILES, {"name": "once", "config": {}}, head), 422, "idempotency_mismatch")
    refused(gw.request("POST", KEYS, {"name": "once"}, {"Idempotency-Key": "short"}), 400, "invalid")


def test_one_of_many_equal_requests_is_done(gw):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        post = lambda _: gw.request("POST", KEYS, {"name": "racers"}, {"Idempotency-Key": "22222222-race"})  # noqa: E731
        answers = list(pool.map(post, range(16)))
    assert {a.status for a in answers} <= {201, 409} and 201 in {a.status for a in answers}
    assert len({a.json["id"] for a in answers if a.status == 201}) == 1
    assert len([k for k in item(gw, KEYS)["items"] if k["name"] == "racers"]) == 1


def test_what_was_refused_may_be_tried_again(gw):
    head = {"Idempotency-Key": "33333333-again"}
    config = {"name": "again", "config": {"upstreams": ["later"]}}
    refused(gw.request("POST", PROFILES, config, head), 422, "unprocessable")
    gw.request("POST", SERVERS, {"name": "later", "config": {"builtin": "time"}})
    assert gw.request("POST", PROFILES, config, head).status == 201


# ---- for good

def test_everything_survives_a_kill(gateway):
    gw = gateway()
    gw.request("POST", SERVERS, {"name": "kept", "config": {"builtin": "time"}})
    gw.request("POST", PROFILES, {"name": "kept", "config": {"upstreams": ["kept"]}})
    key = gw.request("POST", KEYS, {"name": "kept"}, {"Idempotency-Key": "44444444-kept"}).json
    os.kill(gw.process.pid, signal.SIGKILL)
    gw.process.wait(60)
    gw.process.returncode = 0
    again = gateway(data=gw.data)
    wait_for(lambda: item(again, SERVERS + "/kept")["live"]["state"] == "ready", what="the server")
    assert gw.data == again.data and len(again.tools("/mcp/kept", key=key["key"])) == 5
    repeated = again.request("POST", KEYS, {"name": "kept"}, {"Idempotency-Key": "44444444-kept"})
    assert repeated.json == key and repeated.headers["idempotency-replayed"] == "true"

"""What must be there after any end of the process: keys, registry, history of calls."""
import re
import sqlite3
import threading

from conftest import start_gateway, wait_for


def rows(data, sql, *binds):
    """Looks into the store while the gateway runs."""
    db = sqlite3.connect(f"file:{data}/gatespan.db?mode=ro", uri=True, timeout=60)
    try:
        return db.execute(sql, binds).fetchall()
    finally:
        db.close()


def history(data):
    return rows(data, "SELECT tool, key_name, upstream, outcome, method, error_code, duration, request_bytes,"
                      " response_bytes, request_id, trace_id, payload_sealed FROM history ORDER BY at")


def test_each_call_is_a_row(gateway):
    gw = gateway()
    gw.call_tool("time__get_current_time", timezone="UTC")
    gw.modern("tools/call", {"name": "time__get_current_time", "arguments": {"timezone": "Nowhere/None"}},
              meta={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    gw.modern("tools/call", {"name": "nobody_has_this", "arguments": {}})
    gw.tools()
    got = wait_for(lambda: len(history(gw.data)) >= 3 and history(gw.data), what="three rows")
    assert [r[0] for r in got] == ["time__get_current_time", "time__get_current_time", "nobody_has_this"]
    assert [r[3] for r in got] == ["ok", "tool_error", "invalid_params"]
    assert {r[4] for r in got} == {"tools/call"}
    assert [r[2] for r in got] == ["time", "time", ""]
    assert got[2][5] == -32602
    assert all(r[6] > 0 and r[7] > 0 and r[8] > 0 and len(r[9]) == 16 for r in got)
    assert got[1][10] == "0af7651916cd43dd8448eb211c80319c"
    assert all(r[11] is None for r in got), "payloads are off by default"


def test_payloads_are_kept_sealed_when_asked_for(gateway):
    gw = gateway({"history": {"payloads": "on", "payload_bytes": "1KiB"}})
    gw.call_tool("time__get_current_time", timezone="Europe/Paris")
    wait_for(lambda: len(history(gw.data)) == 1, what="a row")
    sealed = history(gw.data)[0][11]
    assert sealed and b"Paris" not in sealed
    answer = gw.request("GET", "/api/v1/history")
    assert answer.status == 200
    assert "Europe/Paris" in answer.body.decode(), "unsealed for an admin"


def test_history_can_be_switched_off(gateway):
    gw = gateway({"history": {"enabled": False}})
    gw.call_tool("time__get_current_time", timezone="UTC")
    assert gw.stop() == 0
    assert history(gw.data) == []
    assert not list((gw.data / "journal").glob("*.ring"))


def test_old_rows_are_forgotten(gateway):
    gw = gateway()
    gw.call_tool("time__get_current_time", timezone="UTC")
    assert gw.stop() == 0
    db = sqlite3.connect(gw.data / "gatespan.db")
    db.execute("INSERT INTO history SELECT NULL, tenant_id, at - 31 * 86400000000000, 'old', key_id, upstream, outcome,"
               " key_name, method, error_code, duration, request_bytes, response_bytes, request_id, trace_id, NULL"
               " FROM history")
    db.execute("UPDATE history SET id = id + 10 WHERE tool <> 'old'")  # as time would have it
    db.commit()
    db.close()
    assert {r[0] for r in history(gw.data)} == {"old", "time__get_current_time"}
    again = gateway(None, data=gw.data)
    wait_for(lambda: {r[0] for r in history(gw.data)} == {"time__get_current_time"}, what="the old row is gone")
    assert again.request("GET", "/metrics").status == 200


def test_what_the_journal_cannot_hold_is_dropped_and_counted(gateway):
    """One row a second, while each call leaves 64 KiB in a journal of 1 MiB."""
    gw = gateway({"history": {"rate": "1/s", "journal": "1MiB", "payloads": "on", "payload_bytes": "64KiB"}})
    arguments = {"timezone": "UTC", "more": "x" * 60_000}
    for _ in range(100):
        gw.modern("tools/call", {"name": "time__get_current_time", "arguments": arguments})
    assert wait_for(lambda: gw.metric("gatespan_history_dropped_total"), what="some are dropped")
    assert gw.stop() == 0  # the rest goes into the store, whatever the rate
    gw.wait_log("calls are missing in the history")
    told = sum(int(n) for n in re.findall(r'"dropped":(\d+)', gw.logs()))
    assert told > 0 and len(history(gw.data)) == 100 - told


# ---- kill -9 -------------------------------------------------------------------------------------


class Client(threading.Thread):
    """Adds profiles and calls a tool until the gateway is gone; remembers what was acknowledged."""

    def __init__(self, gw, number):
        super().__init__(daemon=True)
        self.gw, self.number = gw, number
        self.profiles, self.removed, self.calls = [], [], 0

    def run(self):
        for i in range(10_000):
            name = f"p{self.number}-{i}"
            try:
                answer = self.gw.request("POST", "/api/v1/profiles", {"name": name, "config": {"allow": ["time__*"]}})
                assert answer.status == 201, answer.body
                self.profiles.append(name)
                self.gw.call_tool("time__get_current_time", timezone="UTC")
                self.calls += 1
            except OSError:
                return
            except Exception:
                if self.gw.process.poll() is None and not self.gw.killed:
                    raise
                return


def test_kill_9_loses_nothing_acknowledged(gateway, tmp_path):
    profiles, calls, data = set(), 0, None
    for n in range(8):
        gw = gateway(None, "--workers", "2", data=data) if data else gateway(None, "--workers", "2")
        gw.killed, data = False, gw.data
        kept = {r[0] for r in rows(data, "SELECT name FROM registry WHERE kind = 'profile'")}
        assert profiles <= kept, f"round {n}: {sorted(profiles - kept)[:5]} were acknowledged and are gone"
        assert len(history(data)) >= calls, f"round {n}"
        clients = [Client(gw, f"{n}{k}") for k in range(3)]
        for c in clients:
            c.start()
        wait_for(lambda: sum(c.calls for c in clients) >= 5 + 7 * n, what="some calls")
        gw.killed = True
        gw.process.kill()
        assert gw.process.wait(60) == -9
        for c in clients:
            c.join(60)
            profiles.update(c.profiles)
            calls += c.calls
    gw = gateway(None, data=data)
    kept = {r[0] for r in rows(data, "SELECT name FROM registry WHERE kind = 'profile'")}
    assert profiles <= kept
    got = history(data)
    assert len(got) >= calls
    ids = [r[9] for r in got if r[4] == "tools/call"]
    assert len(ids) == len(set(ids)), "a replayed journal doubled calls"
    assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    served = gw.request("GET", "/api/v1/profiles?limit=1000").json["items"]
    assert profiles <= {p["name"] for p in served}


# ---- starts --------------------------------------------------------------------------------------


def test_keys_of_an_older_version_move_into_the_store_once(gateway):
    """keys.json as version 0.1 wrote it: its keys work, and the file is kept under another name."""
    import hashlib
    import hmac
    import json
    gw = gateway()
    assert gw.stop() == 0
    master = (gw.data / "master.key").read_bytes()

    def derive(purpose):  # HKDF-SHA-256 without salt (RFC 5869)
        prk = hmac.new(b"\0" * 32, master, hashlib.sha256).digest()
        return hmac.new(prk, purpose + b"\1", hashlib.sha256).digest()

    text = "gs_oldkeyoldkey_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    mac = hmac.new(derive(b"key-hmac"), text.encode(), hashlib.sha256).hexdigest()
    (gw.data / "gatespan.db").unlink()
    (gw.data / "keys.json").write_text(json.dumps({"keys": [
        {"id": "oldkeyoldkey", "name": "old", "tenant": "default", "hmac": mac, "created": 1700000000, "admin": True}]}))
    again = gateway(None, data=gw.data, key=None, wait=False)
    again.wait_log("listening")
    again.key = text
    assert again.request("GET", "/api/v1/health/detailed").status == 200
    assert "starts for the first time" not in again.logs()
    assert not (gw.data / "keys.json").exists() and (gw.data / "keys.json.migrated").exists()
    assert again.stop() == 0
    third = gateway(None, data=gw.data, key=None, wait=False)
    third.wait_log("listening")
    third.key = text
    assert third.request("GET", "/api/v1/health/detailed").status == 200


def test_a_newer_database_is_refused(gateway, tmp_path):
    gw = gateway()
    assert gw.stop() == 0
    db = sqlite3.connect(gw.data / "gatespan.db")
    db.execute("PRAGMA user_version = 99")
    db.commit()
    db.close()
    before = (gw.data / "gatespan.db").read_bytes()
    again = start_gateway(tmp_path, data=gw.data, wait=False)
    assert again.process.wait(60) == 3
    wait_for(lambda: "newer Gatespan" in again.logs(), what="the reason")
    assert (gw.data / "gatespan.db").read_bytes() == before


def test_no_room_for_the_journal_is_said(gateway, tmp_path):
    gw = gateway()
    assert gw.stop() == 0
    for ring in (gw.data / "journal").iterdir():
        ring.unlink()
    (gw.data / "journal").rmdir()
    (gw.data / "journal").write_text("in the way")
    again = start_gateway(tmp_path, data=gw.data, wait=False)
    assert again.process.wait(60) == 3
    wait_for(lambda: "journal" in again.logs(), what="the reason")


def test_a_damaged_journal_is_put_aside(gateway):
    gw = gateway()
    assert gw.stop() == 0
    (gw.data / "journal" / "1-0.ring").write_bytes(b"this is no journal" * 1000)
    again = gateway(None, data=gw.data)
    assert (gw.data / "journal" / "1-0.ring.damaged").exists()
    assert "put aside" in again.logs()


def test_a_server_survives_restarts_and_cannot_go_while_a_profile_names_it(gateway):
    gw = gateway()
    answer = gw.request("POST", "/api/v1/proxy/servers", {"name": "clock", "config": {"builtin": "time"}})
    assert answer.status == 201, answer.body
    gw.wait_ready("clock")
    answer = gw.request("POST", "/api/v1/profiles", {"name": "small", "config": {"upstreams": ["clock"]}})
    assert answer.status == 201, answer.body
    answer = gw.request("DELETE", "/api/v1/proxy/servers/clock", headers={"If-Match": "*"})
    assert answer.status in (400, 409, 422) and "small" in answer.body.decode(), answer.body
    gw.process.kill()
    gw.process.wait()
    again = gateway(None, data=gw.data)
    again.wait_ready("clock")
    assert all(t.startswith("clock__") for t in again.tools(path="/mcp/small"))
    assert again.request("DELETE", "/api/v1/profiles/small", headers={"If-Match": "*"}).status in (200, 204)
    assert again.request("DELETE", "/api/v1/proxy/servers/clock", headers={"If-Match": "*"}).status in (200, 204)
    wait_for(lambda: not [t for t in again.tools() if t.startswith("clock__")], what="its tools are gone")


def test_a_revoked_key_is_gone_at_once_and_an_expired_one_in_time(gateway):
    gw = gateway(None, "--workers", "3")
    made = [gw.request("POST", "/api/v1/keys", {"name": f"k{i}"}).json for i in range(6)]
    for k in made:
        text, kid = k["key"], k["id"]
        assert gw.request("GET", "/api/v1/tools", key=text).status == 200
        assert gw.request("DELETE", f"/api/v1/keys/{kid}", headers={"If-Match": "*"}).status in (200, 204)
        assert {gw.request("GET", "/api/v1/tools", key=text).status for _ in range(12)} == {401}


def test_a_second_start_on_the_same_data_is_refused(gateway, tmp_path):
    gw = gateway()
    again = start_gateway(tmp_path, data=gw.data, wait=False)
    assert again.process.wait(60) == 1
    wait_for(lambda: "another gateway uses the data directory" in again.logs(), what="the reason")
    gw.call_tool("time__get_current_time", timezone="UTC")


def test_a_store_item_that_no_longer_works_is_left_out_and_named(gateway):
    """A server that the file has got too: the file's stands; the rest of the registry goes on."""
    gw = gateway()
    for name in ("mine", "other"):
        answer = gw.request("POST", "/api/v1/proxy/servers", {"name": name, "config": {"url": "http://127.0.0.1:9/mcp"}})
        assert answer.status == 201, answer.body
    assert gw.stop() == 0
    again = gateway({"upstreams": {"mine": {"builtin": "time"}}}, data=gw.data)
    assert again.upstream("mine")["kind"] == "builtin" and again.upstream("other")["kind"] == "http"
    assert "stands before the registry's" in again.logs()
    answer = again.request("POST", "/api/v1/proxy/servers", {"name": "mine", "config": {"url": "http://127.0.0.1:9/mcp"}})
    assert answer.status == 409 and "gatespan.json" in answer.body.decode()


# ---- a full disk ---------------------------------------------------------------------------------


def test_a_full_disk_is_said_and_corrupts_nothing(gateway, tmp_path):
    import resource
    gw = gateway({"history": {"enabled": False}})
    assert gw.request("POST", "/api/v1/profiles", {"name": "before", "config": {"allow": ["time__*"]}}).status == 201
    size = (gw.data / "gatespan.db-wal").stat().st_size
    resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, (size + 50_000, resource.RLIM_INFINITY))
    statuses = []
    for i in range(60):
        answer = gw.request("POST", "/api/v1/profiles", {"name": f"p{i}", "config": {"deny": ["x" * 900]}})
        statuses.append((answer.status, f"p{i}", answer.body.decode()))
        if answer.status != 201:
            break
    status, name, body = statuses[-1]
    assert status == 503 and "disk is full" in body, body
    gw.call_tool("time__get_current_time", timezone="UTC")  # calls go on
    listed = {p["name"] for p in gw.request("GET", "/api/v1/profiles?limit=1000").json["items"]}
    assert name not in listed and {n for s, n, _ in statuses if s == 201} <= listed
    resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert gw.request("POST", "/api/v1/profiles", {"name": name, "config": {"allow": ["y"]}}).status == 201, "freed: it goes on"
    assert rows(gw.data, "PRAGMA integrity_check") == [("ok",)]

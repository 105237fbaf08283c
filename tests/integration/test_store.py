"""What must be there after any end of the process: keys, registry, history of calls."""
import sqlite3
import threading

from conftest import wait_for


def rows(data, sql, *binds):
    """Looks into the store while the gateway runs."""
    db = sqlite3.connect(f"file:{data}/gatespan.db?mode=ro", uri=True)
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
    got = wait_for(lambda: len(history(gw.data)) >= 3 and history(gw.data), 10, "three rows")
    assert [r[0] for r in got] == ["time__get_current_time", "time__get_current_time", "nobody_has_this"]
    assert [r[3] for r in got] == ["ok", "tool_error", "invalid_params"]
    assert {r[4] for r in got} == {"tools/call"}
    assert [r[2] for r in got] == ["time", "time", ""]
    assert got[2][5] == -32602
    assert all(r[6] > 0 and r[7] > 0 and r[8] > 0 and len(r[9]) == 16 for r in got)
    assert got[1][10] == "0af7651916cd43dd8448eb211c80319c"
    assert all(r[11] is None for r in got), "payloads are off by default"

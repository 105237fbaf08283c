"""What is counted, and as what."""


def test_a_tool_that_fails_is_no_success(gateway):
    gw = gateway()
    name = "mcp_server_operation_duration_seconds_count"
    labels = {"gen_ai_tool_name": "time__get_current_time", "upstream": "time"}

    assert "isError" not in gw.call_tool("time__get_current_time")
    assert gw.call_tool("time__get_current_time", zone="Nowhere/Atall")["isError"] is True

    assert gw.metric(name, outcome="ok", **labels) == 1
    assert gw.metric(name, outcome="tool_error", **labels) == 1


def test_connections_and_pools_are_counted(gateway):
    gw = gateway()
    assert gw.metric("gatespan_client_connections") >= 1
    assert gw.metric("gatespan_exchanges_in_flight") == 0

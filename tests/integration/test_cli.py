"""The commands that ask a running gateway, and what they say and return when things go wrong."""
import json
import os
import subprocess

import pytest
from conftest import ADMIN_KEY, ROOT, binary

OK, FAILED, USAGE, CONFIG, CREDENTIALS, UPSTREAM = 0, 1, 2, 3, 4, 5
CONFIGURATION = {"keys": {"few": {"secret": "key-of-a-client-0123456789", "allow": ["time__get_*"]}},
                 "profiles": {"short": {"rename": {"time__get_current_time": "now"}}}}


@pytest.fixture
def run():
    def run(*arguments, url=None, key=ADMIN_KEY, **options):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
        env |= {"GATESPAN_URL": url} if url else {}
        env |= {"GATESPAN_KEY": key} if key else {}
        return subprocess.run([str(binary()), *arguments], env=env, text=True, capture_output=True, timeout=60, **options)
    return run


@pytest.fixture
def ask(gateway, run):
    """A gateway with the time server, and commands that go to it."""
    gw = gateway(CONFIGURATION).wait_ready("time")

    def ask(*arguments, **options):
        return run(*arguments, url=gw.mcp, **options)
    ask.gateway = gw
    return ask


# ---- tools

def test_tools_lists_names_and_first_lines(ask):
    done = ask("tools")
    lines = done.stdout.splitlines()
    assert done.returncode == OK, done.stderr
    assert [line.split()[0] for line in lines] == ask.gateway.tools()
    column = {len(line) - len(line[line.index(" "):].lstrip()) for line in lines}
    assert len(column) == 1, "descriptions begin in one column"


def test_tools_as_json_are_the_definitions(ask):
    tools = json.loads(ask("tools", "--output", "json").stdout)
    assert {"name", "description", "inputSchema"} <= set(tools[0])


def test_tools_of_a_profile_and_of_a_key(ask):
    assert "now " in ask("tools", "--profile", "short").stdout
    assert ask("tools", key="key-of-a-client-0123456789").stdout.split()[0] == "time__get_current_time"
    assert len(ask("tools", key="key-of-a-client-0123456789").stdout.splitlines()) == 1


# ---- call

def test_call_types_its_arguments_by_the_schema(ask):
    done = ask("call", "time__convert_time", "time=2026-07-28T12:00:00Z", 'target_zones=["Asia/Tokyo"]')
    assert done.returncode == OK, done.stderr
    assert json.loads(done.stdout)["targets"][0]["time"].startswith("2026-07-28T21:00:00")


def test_call_takes_a_json_object(ask):
    arguments = {"time": "2026-07-28T12:00:00Z", "target_zones": ["Europe/Paris"]}
    done = ask("call", "time__convert_time", json.dumps(arguments), "--output", "json")
    result = json.loads(done.stdout)
    assert result["structuredContent"]["targets"][0]["offset"] == "+02:00"
    assert result["content"][0]["type"] == "text"


def test_call_through_a_profile(ask):
    assert json.loads(ask("call", "now", "zone=Asia/Tokyo", "--profile", "short").stdout)["offset"] == "+09:00"


def test_a_failing_tool_is_told_on_stderr(ask):
    done = ask("call", "time__get_current_time", "zone=Nowhere/Land")
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "Nowhere/Land" in done.stderr
    as_json = ask("call", "time__get_current_time", "zone=Nowhere/Land", "--output", "json")
    assert as_json.returncode == FAILED and json.loads(as_json.stdout)["isError"] is True


@pytest.mark.parametrize("arguments, said", [
    (["time__get_curent_time"], "did you mean time__get_current_time?"),
    (["get_current_time"], "did you mean time__get_current_time?"),
    (["time__get_current_time", "zon=UTC"], "did you mean zone?"),
    (["time__get_current_time", "UTC"], "write key=value"),
    (["time__convert_time", "target_zones=UTC"], "a JSON array"),
    (["time__convert_time", '{"target_zones": ['], "line 1 column"),
    (["time__get_current_time", "--output", "xml"], "one of text, structured, json, yaml"),
    ([], "usage: gatespan call TOOL"),
])
def test_wrong_use_of_call(ask, arguments, said):
    done = ask("call", *arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert said in done.stderr


def test_call_shows_progress(gateway, run, processes, tmp_path):
    server = tmp_path / "slow.py"
    server.write_text(SLOW_SERVER)
    gw = gateway({"upstreams": {"slow": {"command": "python3", "args": [str(server)]}}}).wait_ready("slow")
    done = run("call", "slow__count", "to=3", url=gw.mcp)
    assert done.returncode == OK, done.stderr
    assert done.stdout == "counted 3\n"
    assert done.stderr.splitlines() == ["progress 1/3: at 1", "progress 2/3: at 2", "progress 3/3: at 3"]


SLOW_SERVER = '''
import json, sys
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
tool = {"name": "count", "inputSchema": {"type": "object", "properties": {"to": {"type": "integer"}}}}
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        say(id=m["id"], result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                                "serverInfo": {"name": "slow", "version": "1"}})
    elif m.get("method") == "tools/list":
        say(id=m["id"], result={"tools": [tool]})
    elif m.get("method") == "tools/call":
        to, token = m["params"]["arguments"]["to"], m["params"]["_meta"]["progressToken"]
        for i in range(1, to + 1):
            say(method="notifications/progress", params={"progressToken": token, "progress": i, "total": to,
                                                         "message": f"at {i}"})
        say(id=m["id"], result={"content": [{"type": "text", "text": f"counted {to}"}]})
    elif "id" in m:
        say(id=m["id"], error={"code": -32601, "message": "no"})
'''


# ---- what goes wrong on the way

def test_credentials(ask):
    wrong, none = ask("tools", key="gs_wrong_key_0123456789"), ask("tools", key=None)
    assert (wrong.returncode, none.returncode) == (CREDENTIALS, CREDENTIALS)
    assert "does not accept this key" in wrong.stderr
    assert "GATESPAN_KEY" in none.stderr


def test_unknown_profile(ask):
    done = ask("tools", "--profile", "nothing")
    assert done.returncode == USAGE and '"nothing"' in done.stderr


def test_no_gateway_there(run):
    done = run("tools", url="http://127.0.0.1:1/mcp")
    assert done.returncode == UPSTREAM
    assert "127.0.0.1:1" in done.stderr and "gatespan serve" in done.stderr


@pytest.mark.parametrize("url", ["localhost:8000/mcp", "ftp://localhost/mcp", "http://local host/mcp"])
def test_an_address_that_is_none(run, url):
    assert run("tools", url=url).returncode == USAGE


def test_the_key_is_no_part_of_what_is_said(ask):
    done = ask("tools", key="gs_wrong_key_0123456789")
    assert "gs_wrong" not in done.stderr + done.stdout


def test_the_port_of_port_0_is_in_the_log(gateway, run):
    import re
    gw = gateway(None, "--listen", "127.0.0.1:0", listen=False, wait=False)
    gw.wait_log('"event":"listening"')
    port = int(re.search(r'"address":"127\.0\.0\.1:(\d+)"', gw.logs())[1])
    assert port != 0
    gw.wait_log("upstream connected")
    assert run("tools", url=f"http://127.0.0.1:{port}/mcp").returncode == OK


# ---- describe

def test_the_reference_in_the_repository_is_current(run):
    done = run("describe", "--check", str(ROOT / "docs" / "reference"))
    assert done.returncode == OK, done.stdout


def test_describe_names_what_differs(run, tmp_path):
    assert run("describe", "--out", str(tmp_path)).returncode == OK
    assert run("describe", "--check", str(tmp_path)).returncode == OK
    (tmp_path / "options.md").write_text("old")
    (tmp_path / "stray.md").write_text("what is this")
    (tmp_path / "routes.md").unlink()
    done = run("describe", "--check", str(tmp_path))
    assert done.returncode == FAILED
    assert [line.split()[0].rsplit("/")[-1] for line in done.stdout.splitlines()] == \
        ["stray.md", "options.md", "routes.md"]


def test_the_schema_accepts_what_the_program_accepts(run, tmp_path):
    import jsonschema
    run("describe", "--out", str(tmp_path))
    schema = json.loads((tmp_path / "gatespan.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(CONFIGURATION, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"limits": {"page": 0}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"listem": []}, schema)


def test_upstreams_that_do_not_answer_are_named_in_one_line(gateway, run):
    """However many there are, and on standard error: what programs read stays as it is."""
    gw = gateway({"upstreams": {f"lost{i}": {"command": "no-such-program"} for i in range(3)}}).wait_ready("time")
    done = run("tools", url=gw.mcp)
    assert done.returncode == OK
    assert done.stderr == "gatespan: not answering now: lost0, lost1, lost2 (gatespan doctor, or the gateway's log, says why)\n"
    assert all(line.startswith("time__") for line in done.stdout.splitlines())

"""Configuration: layers and where values come from, names of other systems, schema, reload."""
import itertools
import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from conftest import ADMIN_KEY, ROOT, binary, fixture_server, free_port, upstream_config, wait_for

OK, FAILED, USAGE, CONFIG = 0, 1, 2, 3

# As it stands in the issue that asks for it.
OTHER_SCHEMA = '''mcp:
  servers:
    filesystem: {enabled: true, port: 8501, root_path: /opt/sutazaiapp, allowed_operations: [read, write, list]}
    database:
      enabled: true
      port: 8502
      connections:
        postgresql: {host: localhost, port: 10000, database: sutazai}
        redis: {host: localhost, port: 10001}
    vectorstore:
      enabled: true
      port: 8503
      backends: {chromadb: {url: "http://localhost:10100"}, qdrant: {url: "http://localhost:10101"}}
  mesh: {consul: {host: localhost, port: 10006}, kong: {admin_url: "http://localhost:10015"}}
  security:
    authentication: {type: jwt, secret_key: "${JWT_SECRET_KEY}"}
    encryption: {enabled: true, algorithm: AES-256-GCM}
'''
LATER = ["database", "vectorstore", "mesh.consul", "mesh.kong", "security.authentication"]
GOOD_SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def program(*arguments, env=None, cwd=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GATESPAN_", "MCP_", "META_MCP_"))}
    return subprocess.run([str(binary()), *map(str, arguments)], env=clean | (env or {}), text=True,
                          capture_output=True, timeout=60, cwd=cwd)


def explain(option, *arguments, env=None):
    done = program("config", "explain", option, "-o", "json", *arguments, env=env)
    assert done.returncode == OK, done.stderr
    found = json.loads(done.stdout)
    return found[0] if isinstance(found, list) else found


def check(content, env=None, *arguments, tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return program("check", path, *arguments, env=env)


@pytest.fixture(scope="module")
def options():
    done = program("config", "explain", "--all", "-o", "json")
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def schema():
    done = program("config", "schema")
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)


# ---- every option is whole

def test_every_option_has_a_variable_a_meaning_a_reload_behaviour_and_a_line_in_the_reference(options, schema):
    reference = (ROOT / "docs" / "reference" / "options.md").read_text()
    assert len(options) > 60
    for option in options:
        path = re.sub(r"^(upstreams|profiles|keys|mcp\.servers)\.[^.]+\.", r"\1.NAME.", option["option"])
        assert option["variable"].startswith("GATESPAN_"), path
        assert option["meaning"].endswith("."), path
        assert option["allowed"] and option["change"] in ("reload", "restart"), path
        line = next((text for text in reference.splitlines() if text.startswith(f"| `{path}` |")), None)
        assert line, f"no line for {path}"
        if ".NAME." not in path:
            assert f"`{option['variable']}`" in line
        assert f"| {option['change']} |" in line
        place = schema
        for name in path.split("."):
            place = place["additionalProperties"] if name == "NAME" else place["properties"][name]
        assert option["meaning"].rstrip(".") in place["description"], path


def test_variables_are_unique(options):
    whole = [o for o in options if not re.match(r"(upstreams|profiles|keys|mcp\.servers)\.[^.]+\.", o["option"])]
    assert len({o["variable"] for o in whole}) == len(whole)


# ---- layers

MATRIX = [  # option, and values of file, environment and command line: as written, as shown
    ("metrics.enabled", (False, False), ("true", True), ("no", False)),
    ("limits.page", (11, 11), ("12", 12), ("13", 13)),
    ("limits.drain", ("11s", "11s"), ("12s", "12s"), ("2m", "2m")),
    ("limits.body", ("1MiB", "1MiB"), ("2MiB", "2MiB"), ("3000000", "3MB")),
    ("log.level", ("debug", "debug"), ("warn", "warn"), ("error", "error")),
    ("instructions", ("from file", "from file"), ("from environment", "from environment"), ("a=b, c", "a=b, c")),
    ("hosts", (["a.example"], ["a.example"]), ("b.example,c.example", ["b.example", "c.example"]),
     ('["d.example"]', ["d.example"])),
    ("security.secret_key", (GOOD_SECRET, "***"), (GOOD_SECRET + "2", "***"), (GOOD_SECRET + "3", "***")),
    ("listen", (["127.0.0.1:1"], ["127.0.0.1:1"]), ("127.0.0.1:2", ["127.0.0.1:2"]), ("3", ["3"])),
]
DEFAULTS = {"metrics.enabled": True, "limits.page": 1000, "limits.drain": "30s", "limits.body": "4MiB",
            "log.level": "info", "instructions": "", "hosts": [], "security.secret_key": "",
            "listen": ["127.0.0.1:8000"]}


@pytest.mark.parametrize("option, file, environment, command", MATRIX, ids=[m[0] for m in MATRIX])
def test_each_layer_wins_over_those_before_it(tmp_path, option, file, environment, command):
    document = value = None
    for name in reversed(option.split(".")):
        value = file[0] if document is None else document
        document = {name: value}
    path = tmp_path / "gatespan.json"
    path.write_text(json.dumps(document))
    variable = "GATESPAN_" + option.upper().replace(".", "_")
    for has in itertools.product((False, True), repeat=3):
        arguments = (["--config", path] if has[0] else []) + (["--set", f"{option}={command[0]}"] if has[2] else [])
        said = explain(option, *arguments, env={variable: environment[0]} if has[1] else None)
        want, source = DEFAULTS[option], "default"
        if has[0]:
            want, source = file[1], f"{path}:1:"
        if has[1]:
            want, source = environment[1], variable
        if has[2]:
            want, source = command[1], f"--set {option}"
        assert said["value"] == want, has
        assert said["source"].startswith(source), has
        assert said["variable"] == variable


def test_maps_are_merged_member_by_member(tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text("upstreams:\n  one:\n    url: http://a.example/mcp\n    timeout: 5s\n    env: {}\n")
    env = {"GATESPAN_UPSTREAMS": '{"one": {"timeout": "6s"}, "two": {"command": "x", "env": {"A": "b"}}}'}
    where = ["--config", path, "--set", "upstreams.one.allow=a*,b*", "--set", "upstreams.two.env.TOKEN=1"]
    assert explain("upstreams.one.url", *where, env=env) | {"meaning": ""} == {
        "option": "upstreams.one.url", "value": "http://a.example/mcp", "source": f"{path}:3:10",
        "allowed": "a text of 1 to 4096 characters", "variable": "GATESPAN_UPSTREAMS", "change": "reload", "meaning": ""}
    assert explain("upstreams.one.timeout", *where, env=env)["source"] == "GATESPAN_UPSTREAMS"
    assert explain("upstreams.one.allow", *where, env=env)["value"] == ["a*", "b*"]
    assert explain("upstreams.two.env", *where, env=env)["value"] == {"A": "***", "TOKEN": "***"}


def test_objects_whole_and_their_members(tmp_path):
    env = {"GATESPAN_LIMITS": '{"page": 5, "body": "1MiB"}', "GATESPAN_LIMITS_PAGE": "6"}
    assert explain("limits.page", env=env)["value"] == 6
    assert explain("limits.body", env=env)["source"] == "GATESPAN_LIMITS"


def test_null_brings_the_default_back(tmp_path):
    path = tmp_path / "gatespan.json"
    path.write_text('{"limits": {"page": 7}}')
    said = explain("limits.page", "--config", path, env={"GATESPAN_LIMITS": '{"page": null}'})
    assert (said["value"], said["source"]) == (1000, "default")


def test_an_empty_variable_says_nothing():
    assert explain("limits.page", env={"GATESPAN_LIMITS_PAGE": ""})["source"] == "default"


@pytest.mark.parametrize("env, arguments, said", [
    ({"GATESPAN_LIMITS_BODY": "3 bananas"}, [], "GATESPAN_LIMITS_BODY: limits.body: must be a size from 1KiB to 1GiB"),
    ({"GATESPAN_UPSTREAMS": '{"a": {"url": "http://x/", "timout": 1}}'}, [],
     'GATESPAN_UPSTREAMS: upstreams.a.timout: is unknown; did you mean "timeout"?'),
    ({"GATESPAN_UPSTREAMS": "nonsense"}, [], "GATESPAN_UPSTREAMS: upstreams: is no JSON"),
    ({"GATESPAN_UPSTREAMS": '{"a":{}}'}, [], "GATESPAN_UPSTREAMS: upstreams.a: needs one of command"),
    ({}, ["--set", "limits.bdy=1"], '--set limits.bdy: limits.bdy: is unknown; did you mean "body"?'),
    ({}, ["--set", "limits.body"], "--set limits.body: has no value"),
    ({}, ["--set", "..=1"], "--set ..: is no option"),
    ({}, ["--set", "workers=300"], "--set workers: workers: must be an integer from 0 to 256"),
    ({}, ["--listen", "nowhere:x"], "--listen: listen: "),
    ({"META_MCP_PORT": "99999"}, [], "META_MCP_PORT: listen: "),
])
def test_a_problem_names_its_layer(env, arguments, said):
    done = program("check", *arguments, env=env)
    assert done.returncode == CONFIG
    assert [line for line in done.stderr.splitlines() if line.startswith(said)], done.stderr


def test_problems_of_all_layers_are_told_together(tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text("limits:\n  page: 0\nworkers: many\n")
    done = program("check", path, "--set", "limits.head=1", env={"GATESPAN_LIMITS_BODY": "1"})
    assert done.returncode == CONFIG
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == \
        [f"{path}:2:9", f"{path}:3:10", "GATESPAN_LIMITS_BODY", "--set limits.head"]


def test_an_unknown_variable_is_a_warning_with_a_hint():
    done = program("check", env={"GATESPAN_LIMIT_BODY": "1MiB", "GATESPAN_URL": "http://x/mcp",
                                 "GATESPAN_INPUT_TOKEN": "x"})
    assert done.returncode == OK
    assert done.stderr.splitlines() == \
        ["GATESPAN_LIMIT_BODY: warning: no option has this name; did you mean GATESPAN_LIMITS_BODY?"]


def test_serve_takes_settings_from_everywhere(gateway, tmp_path):
    gw = gateway({"limits": {"page": 1, "body": "2MiB"}}, "--set", "limits.body=1KiB",
                 env={"GATESPAN_INSTRUCTIONS": "Be brief."})
    info = gw.session().info
    assert info["instructions"].startswith("Be brief.")
    assert gw.request("POST", "/mcp", b"x" * 1500).status == 413
    assert gw.request("GET", "/api/v1/info").json["limits"]["page"] == 1


def test_serve_refuses_what_check_refuses(tmp_path):
    done = program("serve", "--data", tmp_path / "d", "--set", "limits.page=0")
    assert done.returncode == CONFIG
    assert "--set limits.page: limits.page: must be" in done.stderr


# ---- explain

def test_explain_one_option_for_people():
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in
                 program("config", "explain", "limits.body", "--set", "limits.body=8MiB").stdout.splitlines())
    assert lines == {"option": "limits.body", "value": "8MiB", "source": "--set limits.body",
                     "allowed": "a size from 1KiB to 1GiB", "default": "4MiB", "variable": "GATESPAN_LIMITS_BODY",
                     "change": "reload", "meaning": "Largest request body; larger gets 413."}


def test_explain_lists_what_is_set_and_all_on_request(tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text("log: {level: warn}\n")
    done = program("config", "explain", "--config", path, "--set", "limits.page=5")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["OPTION", "VALUE", "SOURCE"], ["limits.page", "5", "--set", "limits.page"],
        ["log.level", "warn", f"{path}:1:14"]]
    assert len(program("config", "explain", "--all").stdout.splitlines()) > 60
    nothing = program("config", "explain")
    assert (nothing.stdout, nothing.returncode) == ("", OK) and "nothing is set" in nothing.stderr


def test_explain_a_part():
    found = json.loads(program("config", "explain", "log", "-o", "json").stdout)
    assert [o["option"] for o in found][:2] == ["log.level", "log.format"]


def test_explain_says_where_servers_of_desktop_files_come_from(tmp_path):
    path = tmp_path / "claude.json"
    path.write_text('{"theme": "dark",\n "mcpServers": {"My server": {\n  "command": "npx",\n  "args": ["-y"]}}}')
    assert explain("upstreams.My-server.command", "--config", path)["source"] == f"{path}:3:14"


@pytest.mark.parametrize("option, said", [
    ("limits.bdy", "did you mean limits.body?"),
    ("limts", "did you mean limits?"),
    ("upstreams.nothing.url", "is not set, or no option"),
    ("zzzzzzzzz", "--all lists them"),
    ("limits..body", "no option"),
])
def test_explain_of_nothing(option, said):
    done = program("config", "explain", option)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert said in done.stderr


def test_no_secret_is_shown_anywhere(tmp_path):
    canary = "canary-0123456789abcdef"
    path = tmp_path / "gatespan.json"
    path.write_text(json.dumps({
        "keys": {"a": {"secret": canary + "1"}}, "security": {"secret_key": canary + "2"},
        "upstreams": {"h": {"url": f"http://127.0.0.1/mcp?key={canary}3", "headers": {"Authorization": canary + "4"}},
                      "c": {"command": "x", "args": ["--token", canary + "5"], "env": {"T": canary + "6"}}},
        "mcpServers": {"d": {"command": "x", "env": {"T": canary + "7"}}},
        "mcp": {"servers": {"database": {"connections": {"p": {"password": canary + "8"}}}}}}))
    env = {"GATESPAN_STORE_URL": f"postgres://u:{canary}9@h/d", "BACKEND_API_KEY": canary + "a"}
    for form in ("table", "yaml"):
        done = program("config", "explain", "--all", "--config", path, "-o", form, env=env)
        assert done.returncode == OK, done.stderr
        assert canary not in done.stdout + done.stderr
    refused = program("check", path, "--set", f"limits.body={canary}", "--set", f"zzz={canary}", env=env)
    assert refused.returncode == CONFIG and canary not in refused.stdout + refused.stderr


# ---- names of other systems

ALIASES = [
    ("META_MCP_HOST", "0.0.0.0", "listen", ["0.0.0.0:8000"]),
    ("META_MCP_HOST", "::1", "listen", ["[::1]:8000"]),
    ("META_MCP_PORT", "9000", "listen", ["127.0.0.1:9000"]),
    ("META_MCP_DEBUG", "true", "log.level", "debug"),
    ("META_MCP_DEBUG", "false", "log.level", "info"),
    ("META_MCP_LOGGING_LEVEL", "WARNING", "log.level", "warn"),
    ("META_MCP_LOGGING_LEVEL", "CRITICAL", "log.level", "error"),
    ("META_MCP_METRICS_ENABLED", "false", "metrics.enabled", False),
    ("META_MCP_SECRET_KEY", GOOD_SECRET, "security.secret_key", "***"),
    ("MCP_SECRET_KEY", GOOD_SECRET, "security.secret_key", "***"),
    ("JWT_SECRET_KEY", GOOD_SECRET, "security.secret_key", "***"),
    ("META_MCP_ALGORITHM", "HS512", "security.algorithm", "HS512"),
    ("META_MCP_ACCESS_TOKEN_EXPIRE_MINUTES", "45", "security.access_token_lifetime", "45m"),
    ("META_MCP_DATABASE_URL", "postgresql://h/d", "store.url", "***"),
    ("META_MCP_REDIS_URL", "redis://h", "shared.url", "***"),
    ("META_MCP_CACHE_TTL", "300", "cache.ttl", "5m"),
    ("MCP_SERVER_HOST", "0.0.0.0", "models.listen", "0.0.0.0:8001"),
    ("MCP_SERVER_PORT", "9001", "models.listen", "127.0.0.1:9001"),
    ("MCP_PROTOCOL_VERSION", "1.0.0", "protocol.newest", "2026-07-28"),
    ("MCP_PROTOCOL_VERSION", "2025-06-18", "protocol.newest", "2025-06-18"),
    ("MCP_ENABLE_TENANT_ISOLATION", "false", "security.tenant_isolation", False),
    ("BACKEND_API_URL", "http://backend", "security.introspection.url", "http://backend"),
    ("BACKEND_API_KEY", "some-key", "security.introspection.key", "***"),
    ("MAX_CONCURRENT_REQUESTS", "77", "limits.in_flight", 77),
    ("MAX_CONTEXT_LENGTH", "4096", "models.max_context", 4096),
    ("MAX_RESPONSE_TOKENS", "512", "models.max_answer", 512),
    ("ENABLE_REQUEST_LOGGING", "true", "log.requests", True),
    ("ANONYMIZE_LOGS", "true", "log.anonymize", True),
    ("DATA_RETENTION_DAYS", "90", "history.retention", "90d"),
]
NOT_BUILT = ("security.", "store.", "shared.", "cache.", "models.", "log.anonymize")


@pytest.mark.parametrize("variable, text, option, value", ALIASES, ids=[f"{a[0]}={a[1]}" for a in ALIASES])
def test_names_of_other_systems(variable, text, option, value):
    said = explain(option, env={variable: text})
    assert said["value"] == value
    if value != DEFAULTS.get(option) and text not in ("1.0.0", "false") or option.endswith("isolation"):
        assert said["source"] == variable
    warned = program("check", env={variable: text}).stderr
    assert (f"{variable}: warning: {option}" in warned) == option.startswith(NOT_BUILT), warned


def test_every_name_of_other_systems_is_in_the_reference_and_tested_here():
    reference = (ROOT / "docs" / "reference" / "options.md").read_text().split("## Names of other systems")[1]
    assert set(re.findall(r"^\| `([A-Z_]+)`", reference, re.M)) == {a[0] for a in ALIASES}


def test_host_and_port_are_one_address():
    env = {"META_MCP_HOST": "127.0.0.2", "META_MCP_PORT": "9100"}
    assert explain("listen", env=env)["value"] == ["127.0.0.2:9100"]


def test_our_own_names_win_over_those_of_others_and_those_over_the_file(tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text("limits: {in_flight: 5}\n")
    both = {"MAX_CONCURRENT_REQUESTS": "6", "GATESPAN_LIMITS_IN_FLIGHT": "7"}
    assert explain("limits.in_flight", "--config", path, env=both)["value"] == 7
    del both["GATESPAN_LIMITS_IN_FLIGHT"]
    assert explain("limits.in_flight", "--config", path, env=both)["value"] == 6


def test_one_secret_under_several_names():
    same = {"MCP_SECRET_KEY": GOOD_SECRET, "JWT_SECRET_KEY": GOOD_SECRET, "META_MCP_SECRET_KEY": GOOD_SECRET}
    assert program("check", env=same).returncode == OK
    done = program("check", env=same | {"JWT_SECRET_KEY": GOOD_SECRET + "x"})
    assert done.returncode == CONFIG
    assert "differs from" in done.stderr and "JWT_SECRET_KEY" in done.stderr and GOOD_SECRET not in done.stderr


def test_the_secret_of_the_other_schema_is_the_same_option(tmp_path):
    secret = {"mcp": {"security": {"authentication": {"secret_key": GOOD_SECRET}}}}
    assert check(secret, {"JWT_SECRET_KEY": GOOD_SECRET}, tmp_path=tmp_path).returncode == OK
    done = check(secret, {"JWT_SECRET_KEY": GOOD_SECRET + "x"}, tmp_path=tmp_path)
    assert done.returncode == CONFIG and "differs from security.secret_key" in done.stderr


@pytest.mark.parametrize("secret", ["change-me", "CHANGE_ME", "your-secret-key", "secret", "your-secret-key-here",
                                    "changeme", "change-me-in-production", "supersecret", "<your secret key>"])
@pytest.mark.parametrize("variable", ["MCP_SECRET_KEY", "JWT_SECRET_KEY", "META_MCP_SECRET_KEY",
                                      "GATESPAN_SECURITY_SECRET_KEY"])
def test_well_known_placeholders_are_no_secrets(variable, secret):
    done = program("check", env={variable: secret})
    assert done.returncode == CONFIG
    assert f"{variable}: security.secret_key: is a well-known placeholder" in done.stderr
    assert "openssl rand" in done.stderr


def test_a_short_secret_is_refused():
    done = program("check", env={"JWT_SECRET_KEY": "k3J9x"})
    assert done.returncode == CONFIG and "too short" in done.stderr


def test_aliases_do_what_they_say(gateway):
    port = free_port()
    gw = gateway(None, listen=False, wait=False,
                 env={"META_MCP_PORT": str(port), "META_MCP_LOGGING_LEVEL": "DEBUG", "MCP_PROTOCOL_VERSION": "2025-06-18",
                      "META_MCP_METRICS_ENABLED": "false", "JWT_SECRET_KEY": GOOD_SECRET})
    gw.port, gw.url = port, f"http://127.0.0.1:{port}"

    def answers():
        try:
            return gw.request("GET", "/ready").status == 200
        except OSError:
            return False
    wait_for(answers, what="ready on the port of META_MCP_PORT")
    assert gw.request("GET", "/metrics").status == 404
    assert '"level":"debug"' in gw.logs()
    assert gw.session("2025-11-25").info["protocolVersion"] == "2025-06-18"
    assert gw.session("2025-03-26").info["protocolVersion"] == "2025-03-26"
    assert gw.request("GET", "/api/v1/info").json["revisions"][-1] == "2025-06-18"
    refused = gw.modern("server/discover")
    assert refused.status == 400 and refused.message["error"]["code"] == -32600, "as a server of that time"
    assert GOOD_SECRET not in gw.logs()


# ---- the schema of other gateways

@pytest.mark.parametrize("env", [{"JWT_SECRET_KEY": GOOD_SECRET}, {}], ids=["secret set", "secret not set"])
def test_the_file_of_the_issue_starts_as_it_is(gateway, env):
    gw = gateway(OTHER_SCHEMA, env=env)
    warnings = [line for line in gw.logs().splitlines() if "gatespan.yaml:" in line and ": warning: " in line]
    for part in LATER:
        told = [line for line in warnings
                if re.search(rf": mcp\.(servers\.)?{re.escape(part)}: ", line)]
        assert len(told) == 1, (part, warnings)
    built = gw.request("GET", "/api/v1/info").json["builtins"]
    about = [line for line in warnings if "mcp.servers.filesystem" in line]
    assert len(about) == (0 if "filesystem" in built else 1), warnings
    assert not [line for line in warnings if "encryption" in line], "what is stored is sealed already"
    assert gw.request("GET", "/health").status == 200
    gw.wait_ready("time")


def test_entries_of_the_other_schema_are_built_in_servers(gateway):
    gw = gateway({"builtins": [], "mcp": {"servers": {"time": {"enabled": True, "port": 9999}}}}).wait_ready("time")
    assert "time__get_current_time" in gw.tools()


def test_the_file_server_of_the_other_schema_works(gateway, tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello from the root")
    entry = {"enabled": True, "port": 8501, "root_path": str(folder), "allowed_operations": ["read", "list"]}
    gw = gateway({"mcp": {"servers": {"filesystem": entry}}}).wait_ready("filesystem")
    assert "filesystem__write_text" not in gw.tools() and not [t for t in gw.tools() if "delete" in t]
    result = gw.call_tool("filesystem__read_text", path="hello.txt")
    assert "hello from the root" in json.dumps(result)


def test_an_entry_of_the_other_schema_can_be_off(gateway):
    gw = gateway({"mcp": {"servers": {"time": {"enabled": False}}}})
    assert gw.upstream("time") is None


@pytest.mark.parametrize("servers, said", [
    ({"tiem": {}}, "there is no such built-in server; there are: filesystem, database"),
    ({"time": {"port": 70000}}, "must be an integer from 0 to 65535"),
    ({"time": {"prot": 1}}, 'did you mean "port"?'),
])
def test_mistakes_in_the_other_schema(tmp_path, servers, said):
    done = check({"mcp": {"servers": servers}}, tmp_path=tmp_path)
    assert done.returncode == CONFIG and said in done.stderr


def test_an_entry_and_an_upstream_of_one_name(tmp_path):
    done = check({"mcp": {"servers": {"time": {}}}, "upstreams": {"time": {"builtin": "time"}}}, tmp_path=tmp_path)
    assert done.returncode == CONFIG and "mcp.servers.time: is an upstream too" in done.stderr


def test_the_port_of_an_entry_is_that_of_its_role(gateway, tmp_path):
    port = free_port()
    path = tmp_path / "shared.json"
    path.write_text(json.dumps({"listen": ["127.0.0.1:1"], "mcp": {"servers": {"time": {"port": port}}}}))
    gw = gateway(path, "--role", "server:time", listen=False, wait=False)
    gw.port, gw.url = port, f"http://127.0.0.1:{port}"
    gw.wait_log(f'"address":"127.0.0.1:{port}"')
    gw.mcp = f"{gw.url}/mcp"
    wait_for(lambda: "get_current_time" in gw.tools(), what="the role answers")


# ---- expansion

@pytest.mark.parametrize("text, said", [
    ("${NOT_SET}", "variable NOT_SET is not set; set it, or write ${NOT_SET:-…} with a default"),
    ("${file:nothing-here}", "cannot read"),
    ("${file:.}", "directory"),
    ("${${A}}", "${…} cannot stand inside ${…}"),
    ("${A", "is never closed"),
    ("${vault:secret/data/x#y}", "${vault:…} is not built yet; use ${file:…} or a variable"),
    ("${a b}", "is no name of a variable"),
    ("${file:big}", "larger than 1024 KiB"),
    ("${file:binary}", "no UTF-8 text"),
    ("${input:nothing}", "GATESPAN_INPUT_NOTHING"),
])
def test_what_does_not_expand(tmp_path, text, said):
    (tmp_path / "big").write_bytes(b"x" * (1 << 20) + b"x")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    done = check(f"log:\n  level: info\ninstructions: '{text}'\n", {"A": "B"}, tmp_path=tmp_path)
    assert done.returncode == CONFIG
    assert done.stderr.startswith(f"{tmp_path}/gatespan.yaml:3:15: instructions: "), done.stderr
    assert said in done.stderr


def test_what_expands(tmp_path):
    (tmp_path / "secret").write_text("from-a-file\n")
    (tmp_path / "gatespan.yaml").write_text(
        "instructions: ${A}-${B:-b}-${EMPTY:-e}-${file:secret}-$$-$x-${env:A}\nlimits: {page: '${PAGE}'}\n")
    env = {"A": "${NOT_AGAIN}", "EMPTY": "", "PAGE": "12"}
    config = ["--config", tmp_path / "gatespan.yaml"]
    assert explain("instructions", *config, env=env)["value"] == "${NOT_AGAIN}-b-e-from-a-file-$-$x-${NOT_AGAIN}"
    assert explain("limits.page", *config, env=env)["value"] == 12


def test_variables_and_command_line_do_not_expand():
    env = {"A": "expanded", "GATESPAN_INSTRUCTIONS": "${A} ${file:/etc/passwd}"}
    assert explain("instructions", env=env)["value"] == "${A} ${file:/etc/passwd}"


# ---- schema

GOOD = [
    {}, {"listen": ["8000"], "workers": 2}, {"workers": "${N}"}, {"workers": "2"}, {"limits": {"drain": 5, "body": 4096}},
    {"limits": None}, {"metrics": {"enabled": "yes"}}, {"keys": {"a": {"secret": "${file:/run/secrets/a}"}}},
    {"upstreams": {"a": {"command": "x", "args": ["-p", 80, True], "env": {"PORT": 80}}}},
    {"$schema": "gatespan.schema.json"}, {"mcpServers": {"a": {"command": "x"}}}, {"log": {"level": "${LEVEL}"}},
    {"keys": {"a": {"secret": "0123456789abcdef", "rate": "10/s"}}},
]


@pytest.mark.parametrize("document", GOOD, ids=json.dumps)
def test_the_schema_takes_what_is_good(schema, document, tmp_path):
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    if "${" not in json.dumps(document):
        done = check(document, tmp_path=tmp_path)
        assert done.returncode == OK, done.stderr


def test_the_schema_takes_the_file_of_the_issue(schema):
    import yaml
    jsonschema.validate(yaml.safe_load(OTHER_SCHEMA), schema)


def _wrong(rule):
    """Values around what a rule of the schema allows."""
    yield from ("nonsense", "", -1, 10**15, 1.5, True, None, [], {}, [[]], [{}], {"nonsense": 1}, {"a": []})
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in rule:
            yield from (rule[bound], rule[bound] + step)
    for word in rule.get("anyOf", [{}])[0].get("enum", []):
        yield from (word, (word or "x") + "x")


def _places(rule, path=()):
    for name, below in rule.get("properties", {}).items():
        yield (*path, name), below
        yield from _places(below, (*path, name))
        if isinstance(below.get("additionalProperties"), dict):
            yield from _places(below["additionalProperties"], (*path, name, "a"))


@pytest.mark.timeout(1800)
def test_what_the_schema_refuses_check_refuses(schema, tmp_path):
    """Every option with every kind of wrong value: what an editor marks, the program refuses."""
    validator = jsonschema.Draft202012Validator(schema)
    refused, files = [], tmp_path / "cases"
    files.mkdir()
    for path, rule in _places(schema):
        for value in _wrong(rule):
            document = value
            for name in reversed(path):
                document = {name: document}
            if path[0] == "keys" and len(path) > 2 and path[2] != "secret":
                document["keys"]["a"]["secret"] = "0123456789abcdef"
            if not validator.is_valid(document):
                refused.append((path, value, document))
    assert len(refused) > 500

    def is_accepted(i):
        file = files / f"{i}.json"
        file.write_text(json.dumps(refused[i][2]))
        return program("check", file).returncode != CONFIG

    with ThreadPoolExecutor(4) as pool:  # thousands of short processes
        accepted = [refused[i][:2] for i, is_so in enumerate(pool.map(is_accepted, range(len(refused)))) if is_so]
    assert not accepted


def test_the_schema_of_the_reference_is_the_one_that_is_printed():
    assert program("config", "schema").stdout == (ROOT / "docs" / "reference" / "gatespan.schema.json").read_text()


# ---- the guide

GUIDE = (ROOT / "docs" / "guide" / "configuration.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", GUIDE, re.S))
def test_configurations_in_the_guide_are_valid(schema, block, tmp_path):
    import yaml
    jsonschema.validate(yaml.safe_load(block), schema)
    done = check(block, tmp_path=tmp_path)
    assert done.returncode == OK, done.stderr


@pytest.mark.parametrize("block", re.findall(r"```sh\n(.*?)```", GUIDE, re.S))
def test_commands_in_the_guide_run(block, tmp_path):
    (tmp_path / "gatespan").symlink_to(binary())
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    done = subprocess.run(["sh", "-euc", block], env=clean | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, cwd=tmp_path,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == OK and "warning" not in done.stderr, done.stderr


# ---- reload

def write(path, document):
    path.with_suffix(".new").write_text(json.dumps(document, indent=1))
    path.with_suffix(".new").replace(path)


def changes(gw):
    lines = [json.loads(line) for line in gw.logs().splitlines() if line.startswith("{")]
    return [{k: v for k, v in line.items() if k in ("option", "old", "new", "change")}
            for line in lines if line.get("event") == "configuration changed"]


def test_a_reload_tells_each_change(gateway, tmp_path):
    canary = "canary-0123456789abcdef"
    config = {"builtins": [], "limits": {"page": 10}, "log": {"level": "info"},
              "keys": {"a": {"secret": canary}, "gone": {"secret": canary + "g"}},
              "upstreams": {"one": fixture_server("legacy", env={"T": canary})}}
    gw = gateway(config).wait_ready("one")
    config["limits"]["page"] = 20
    config["hosts"] = ["a.example"]
    config["keys"]["a"]["secret"] = canary + "new"
    del config["keys"]["gone"]
    config["upstreams"]["one"]["env"] = {"T": canary + "other"}
    config["upstreams"]["one"]["timeout"] = "5s"
    config["upstreams"]["two"] = fixture_server("legacy")
    write(tmp_path / "gatespan.json", config)
    gw.wait_log("configuration reloaded")
    assert changes(gw) == [
        {"option": "hosts", "old": "[]", "new": '["a.example"]'},
        {"option": "limits.page", "old": "10", "new": "20"},
        {"option": "upstreams.one.env", "old": '{"T":"***"}', "new": '{"T":"***"}'},
        {"option": "upstreams.one.timeout", "old": "30s", "new": "5s"},
        {"option": "upstreams.two", "change": "added"},
        {"option": "keys.a.secret", "old": "***", "new": "***"},
        {"option": "keys.gone", "change": "removed"},
    ]
    assert canary not in gw.logs()


def test_a_reload_without_a_change_tells_none(gateway, tmp_path):
    gw = gateway({"limits": {"page": 10}})
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("configuration reloaded")
    assert changes(gw) == []


@pytest.mark.parametrize("change, said", [
    ({"workers": 2}, ["workers cannot change while running: restart the gateway"]),
    ({"history": {"journal": "8MiB"}, "limits": {"page": 5}}, ["history.journal cannot change while running"]),
    ({"workers": 2, "history": {"journal": "8MiB"}}, ["workers, history.journal cannot change"]),
    ({"limits": {"page": 0}}, ["gatespan.json:3:", "limits.page: must be an integer from 1 to 100000"]),
    ({"instructions": "${NOT_SET_AT_ALL}"}, ["gatespan.json:2:", "variable NOT_SET_AT_ALL is not set"]),
    ({"upstreams": {"a": {}}}, ["gatespan.json:", "needs one of command"]),
])
def test_a_reload_is_refused_whole(gateway, tmp_path, change, said):
    gw = gateway({"instructions": "before"}, "--set", "limits.page=10") if "page" not in json.dumps(change) \
        else gateway({"instructions": "before"})
    write(tmp_path / "gatespan.json", change)
    gw.process.send_signal(signal.SIGHUP)
    gw.wait_log("reload refused; the running configuration stays")
    for text in said:
        assert text in gw.logs()
    assert changes(gw) == []
    assert gw.session().info["instructions"].startswith("before")


def test_layers_above_the_file_stay_in_force_at_a_reload(gateway, tmp_path):
    gw = gateway({"limits": {"page": 10}}, env={"GATESPAN_LIMITS_PAGE": "3"})
    write(tmp_path / "gatespan.json", {"limits": {"page": 20}, "instructions": "after"})
    gw.wait_log("configuration reloaded")
    wait_for(lambda: gw.session().info.get("instructions", "").startswith("after"), what="the new text")
    assert gw.request("GET", "/api/v1/info").json["limits"]["page"] == 3
    assert [c["option"] for c in changes(gw)] == ["instructions"]


def test_check_tells_programs(tmp_path):
    """-o json: one object, valid or not, with the place of each problem; nothing else anywhere."""
    path = tmp_path / "gatespan.yaml"
    path.write_text("limits:\n  page: 0\nmesh: {}\n")
    done = program("check", path, "-o", "json", "--set", "limits.head=1", env={"GATESPAN_LIMITS_BODY": "1"})
    assert (done.returncode, done.stderr) == (CONFIG, "")
    said = json.loads(done.stdout)
    assert (said["valid"], said["file"]) == (False, str(path)) and "upstreams" not in said
    first = said["problems"][0]
    assert first.pop("message")
    assert first == {"severity": "error", "source": str(path), "line": 2, "column": 9, "path": "limits.page"}
    assert [(p["source"], p["path"]) for p in said["problems"] if "line" not in p] == \
        [("GATESPAN_LIMITS_BODY", "limits.body"), ("--set limits.head", "limits.head")]

    path.write_text("limits: [\n")
    said = json.loads(program("check", path, "-o", "json").stdout)
    assert said["valid"] is False and len(said["problems"]) == 1
    assert f"{path}:2:1" in said["problems"][0]["message"]

    done = program("check", "-o", "json", env={"GATESPAN_LIMIT_BODY": "1MiB"})
    said = json.loads(done.stdout)
    assert (done.returncode, said["valid"], said["profiles"]) == (OK, True, 0)
    assert [p["severity"] for p in said["problems"]] == ["warning"]

    many = "".join(f"unknown{i}: 1\n" for i in range(50))
    path.write_text(many)
    said = json.loads(program("check", path, "-o", "json").stdout)
    assert len(said["problems"]) + said["more_errors"] == 50
    assert program("check", path, "-o", "table").stderr == program("check", path).stderr  # table is text
    assert program("check", path, "-o", "xml").returncode == 2

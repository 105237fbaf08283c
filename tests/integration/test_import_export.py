"""`gatespan import` and `export`: files of desktop clients as people have them, there and back."""
import json
import os
import re
import shlex
import stat
import subprocess

import pytest
import yaml
from conftest import FIXTURES, binary, run_client_job

FILES = FIXTURES / "desktop"
OK, FAILED, USAGE, CONFIG = 0, 1, 2, 3
DIALECTS = {"claude-desktop": "claude_desktop_config.json", "cursor": "cursor_mcp.json",
            "vscode": "vscode_mcp.json", "windsurf": "windsurf_mcp_config.json"}


@pytest.fixture
def run(tmp_path):
    def run(*arguments, env=None, **options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")} | (env or {})
        return subprocess.run([str(binary()), *map(str, arguments)], env=environment, text=True, capture_output=True,
                              timeout=60, cwd=tmp_path, **options)
    return run


def read(path):
    """A file as its editor reads it: comments and trailing commas are fine."""
    text = re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.M)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


def from_option(dialect):
    """The fixture's path does not tell Cursor's file from others; theirs would."""
    return ["--from", dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_there_and_back_nothing_is_lost(run, tmp_path, dialect):
    done = run("import", FILES / DIALECTS[dialect], "--to", "g.yaml", *from_option(dialect))
    assert done.returncode == OK, done.stderr
    back = run("export", dialect, "--config", "g.yaml")
    assert back.returncode == OK, back.stderr
    assert json.loads(back.stdout) == read(FILES / DIALECTS[dialect])


@pytest.mark.parametrize("dialect", sorted({*DIALECTS} - {"vscode"}))
def test_a_file_that_does_not_say_whose_it_is_loses_nothing_either(run, tmp_path, dialect):
    """As when it was downloaded, or copied to a name of its own."""
    written = read(FILES / DIALECTS[dialect])
    (tmp_path / "downloaded.json").write_text(json.dumps(written))
    assert run("import", "downloaded.json", "--to", "g.yaml", "--from", "generic").returncode == OK
    back = run("export", dialect, "--config", "g.yaml")
    assert back.returncode == OK and json.loads(back.stdout) == written


def test_tools_that_a_client_had_switched_off_are_reported(run, tmp_path):
    """They are on here: it must be seen."""
    (tmp_path / "w.json").write_text('{"mcpServers": {"a": {"serverUrl": "https://a.example/mcp", "disabledTools": ["x"]}}}')
    done = run("import", "w.json", "--from", "windsurf")
    assert done.returncode == OK and "kept aside: disabledTools" in done.stdout


@pytest.mark.parametrize("name", ["g.yaml", "g.json"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_back_and_there_nothing_is_lost(run, tmp_path, dialect, name):
    """import(export(x)) is x, options that only Gatespan has included."""
    upstreams = {
        "time": {"builtin": "time", "timeout": "5s", "allow": ["get_*"]},
        "files": {"command": "npx", "args": ["-y", "files", "1.0", "true"], "env": {"A": "1", "B": "${SECRET:-x}"},
                  "cwd": "/srv", "memory": "1GiB", "share": "principal"},
        "web": {"url": "https://web.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}, "enabled": False,
                "tls": {"ca_file": "/etc/ca.pem"}},
    }
    (tmp_path / "x.json").write_text(json.dumps({"upstreams": upstreams}))
    exported = run("export", dialect, "--config", "x.json")
    assert exported.returncode == OK and "x-gatespan" in exported.stderr
    (tmp_path / "client.json").write_text(exported.stdout)
    done = run("import", "client.json", "--to", name, *from_option(dialect))
    assert done.returncode == OK, done.stderr
    text = (tmp_path / name).read_text()
    assert (yaml.safe_load(text) if name == "g.yaml" else json.loads(text)) == {"upstreams": upstreams}


@pytest.mark.parametrize("dialect", [*DIALECTS, "generic"])
@pytest.mark.parametrize("stdio", [[], ["--stdio"]])
def test_a_snippet_can_be_imported(run, tmp_path, dialect, stdio):
    snippet = run("export", dialect, "--key", "gs_key_of_the_test", "--profile", "short", *stdio)
    assert snippet.returncode == OK and snippet.stderr == ""
    (tmp_path / "client.json").write_text(snippet.stdout)
    assert run("import", "client.json", *from_option(dialect)).returncode == OK
    upstream = yaml.safe_load((tmp_path / "gatespan.yaml").read_text())["upstreams"]["gatespan"]
    if stdio or dialect == "claude-desktop":
        assert upstream["args"] == ["connect", "http://127.0.0.1:8000/mcp/short"]
        assert upstream["env"] == {"GATESPAN_KEY": "gs_key_of_the_test"}
    else:
        assert upstream["url"] == "http://127.0.0.1:8000/mcp/short"
        assert upstream["headers"] == {"Authorization": "Bearer gs_key_of_the_test"}


@pytest.mark.parametrize("dialect, place", [
    ("cursor", "Bearer ${env:GATESPAN_KEY}"), ("windsurf", "Bearer ${env:GATESPAN_KEY}"),
    ("vscode", "Bearer ${input:gatespan-key}"), ("generic", "Bearer YOUR-KEY"),
])
def test_without_a_key_a_snippet_has_the_clients_placeholder(run, dialect, place):
    done = run("export", dialect)
    snippet = json.loads(done.stdout)
    server = (snippet.get("servers") or snippet["mcpServers"])["gatespan"]
    assert server["headers"]["Authorization"] == place
    assert ("YOUR-KEY" in done.stderr) == (dialect == "generic")
    assert ("inputs" in snippet) == (dialect == "vscode")


def test_a_snippet_works_in_a_real_client(gateway, run):
    gw = gateway().wait_ready("time")
    snippet = json.loads(run("export", "claude-desktop", "--url", gw.mcp, "--key", gw.key).stdout)["mcpServers"]["gatespan"]
    out = run_client_job("python", {"command": [snippet["command"], *snippet["args"]], "env": snippet["env"],
                                    "steps": [{"op": "tools"}]})
    assert "time__get_current_time" in [t["name"] for t in out["results"][0]["ok"]]


def test_an_imported_file_is_usable(run, tmp_path):
    for dialect, name in DIALECTS.items():
        assert run("import", FILES / name, *from_option(dialect)).returncode == OK
    env = {"LINEAR_TOKEN": "t", "PGPASSWORD": "p", "GATESPAN_INPUT_GITHUB_TOKEN": "g"}
    done = run("check", "gatespan.yaml", env=env)
    assert done.returncode == OK and "15 upstreams" in done.stdout, "and the built-in one; " + done.stderr


def test_a_registry_entry_becomes_a_command(run, tmp_path):
    done = run("import", FILES / "server.json", "-o", "json")
    assert json.loads(done.stdout)[0]["name"] == "weather"
    upstream = yaml.safe_load((tmp_path / "gatespan.yaml").read_text())["upstreams"]["weather"]
    assert [upstream["command"], *upstream["args"]] == [
        "npx", "-y", "--node-options", "--max-old-space-size=256", "@example/weather-mcp@1.2.0", "${CITY}", "--units", "metric"]
    assert upstream["env"] == {"WEATHER_API_KEY": "${WEATHER_API_KEY}", "WEATHER_CACHE": "1h"}
    assert upstream["x-import"]["keys"] == read(FILES / "server.json")


def test_a_registry_entry_without_a_package_we_can_start(run, tmp_path):
    entry = read(FILES / "server.json")
    (tmp_path / "remote.json").write_text(json.dumps({"server": {**entry, "packages": []}}))
    assert run("import", "remote.json").returncode == OK
    upstream = yaml.safe_load((tmp_path / "gatespan.yaml").read_text())["upstreams"]["weather"]
    assert upstream["url"] == "https://weather.example/mcp"
    assert upstream["headers"] == {"Authorization": "Bearer ${WEATHER_TOKEN}"}


# ---- merging

EXISTING = """# our gateway
listen: [127.0.0.1:9000]   # behind nginx

upstreams:
    # written by hand
    own:
        command: own-server   # ours

keys:
  ci: {secret: "${CI_KEY}"}
"""


def test_yaml_keeps_its_comments_and_layout(run, tmp_path):
    path = tmp_path / "gatespan.yaml"
    path.write_text(EXISTING)
    assert run("import", FILES / "vscode_mcp.json").returncode == OK
    text = path.read_text()
    assert [line for line in EXISTING.splitlines() if line not in text.splitlines()] == []
    document = yaml.safe_load(text)
    assert set(document) == {"listen", "upstreams", "keys", "inputs"}
    assert set(document["upstreams"]) == {"own", "github", "playwright", "notes", "old"}
    assert [i["id"] for i in document["inputs"]] == ["github_token", "region"]


@pytest.mark.parametrize("text", ["upstreams: {own: {command: x}} # in a line\n", "upstreams: {} # none\n"])
def test_what_cannot_be_added_to_is_not_written_anew_unasked(run, tmp_path, text):
    path = tmp_path / "gatespan.yaml"
    path.write_text(text)
    done = run("import", FILES / "cursor_mcp.json")
    assert done.returncode == FAILED and "--force" in done.stderr and path.read_text() == text
    assert run("import", FILES / "cursor_mcp.json", "--force").returncode == OK
    assert {"linear", "postgres", "figma"} <= set(yaml.safe_load(path.read_text())["upstreams"])


def test_the_same_again_changes_nothing_and_another_one_needs_force(run, tmp_path):
    path = tmp_path / "gatespan.yaml"
    assert run("import", FILES / "cursor_mcp.json").returncode == OK
    before = path.read_text(), path.stat().st_mtime_ns
    again = run("import", FILES / "cursor_mcp.json")
    assert again.returncode == OK and "unchanged" in again.stdout and "already" in again.stderr
    (tmp_path / "other.json").write_text(json.dumps({"mcpServers": {"figma": {"url": "http://other/mcp"}, "new": {"command": "x"}}}))
    done = run("import", "other.json")
    assert done.returncode == FAILED and '"figma"' in done.stderr and "--force" in done.stderr and done.stdout == ""
    assert (path.read_text(), path.stat().st_mtime_ns) == before, "nothing half done"
    assert run("import", "other.json", "--force").returncode == OK
    assert yaml.safe_load(path.read_text())["upstreams"]["figma"] == {"url": "http://other/mcp"}


def test_dry_run_writes_nothing(run, tmp_path):
    done = run("import", FILES / "cursor_mcp.json", "--dry-run", "--secrets-to", "s.env")
    assert done.returncode == OK and "would be added" in done.stderr
    assert set(yaml.safe_load(done.stdout)["upstreams"]) == {"linear", "postgres", "figma"}
    assert list(tmp_path.iterdir()) == []


def test_several_files_at_once_and_standard_input(run, tmp_path):
    done = run("import", FILES / "cursor_mcp.json", FILES / "windsurf_mcp_config.json", "-",
               input='{"mcpServers": {"piped": {"command": "x"}}}')
    assert done.returncode == OK, done.stderr
    assert {"figma", "stripe", "piped"} <= set(yaml.safe_load((tmp_path / "gatespan.yaml").read_text())["upstreams"])


# ---- secrets

def test_secrets_move_into_a_file_of_their_own(run, tmp_path):
    secrets = ["ghp_0123456789abcdefghijklmnopqrstuvwxyz", "BSA0123456789abcdef", "sk-live-0123456789abcdef"]
    done = run("import", FILES / "claude_desktop_config.json", FILES / "windsurf_mcp_config.json", "--secrets-to", "s.env")
    assert done.returncode == OK and "3 secrets" in done.stderr
    text = (tmp_path / "gatespan.yaml").read_text()
    assert not [s for s in secrets if s in text + done.stdout + done.stderr]
    path = tmp_path / "s.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shell = subprocess.run(["sh", "-c", f"set -a; . {shlex.quote(str(path))}; env"], capture_output=True, text=True, env={})
    environment = dict(line.split("=", 1) for line in shell.stdout.splitlines())
    assert environment["GITHUB_PERSONAL_ACCESS_TOKEN"] == secrets[0] and environment["API_KEY"] == secrets[2]
    upstreams = yaml.safe_load(text)["upstreams"]
    assert upstreams["stripe"]["url"] == "https://mcp.stripe.com/?api_key=${API_KEY}&mode=live"
    assert run("check", "gatespan.yaml", env=environment).returncode == OK


def test_secrets_of_the_same_name_stay_apart(run, tmp_path):
    servers = {n: {"command": "x", "args": ["--token", f"it's {n} $HOME"], "env": {"API_KEY": f"value-of-{n}"}} for n in "ab"}
    (tmp_path / "c.json").write_text(json.dumps({"mcpServers": servers}))
    assert run("import", "c.json", "--secrets-to", "s.env").returncode == OK
    shell = subprocess.run(["bash", "-c", "set -a; . ./s.env; env"], capture_output=True, text=True, env={}, cwd=tmp_path)
    environment = dict(line.split("=", 1) for line in shell.stdout.splitlines())
    upstreams = yaml.safe_load((tmp_path / "gatespan.yaml").read_text())["upstreams"]
    for name, upstream in upstreams.items():
        assert environment[upstream["env"]["API_KEY"][2:-1]] == f"value-of-{name}"
        assert environment[upstream["args"][1][2:-1]] == f"it's {name} $HOME"


# ---- bad input

@pytest.mark.parametrize("text, said", [
    ("{", "bad.json:1:2"), ("[]", "no file of a client"), ('{"theme": "dark"}', "no file of a client"),
    ('{"mcpServers": []}', "an object is expected"), ('{"mcpServers": {"a": 1}}', 'server "a"'),
    ('{"mcpServers": {"a": {}}}', "neither a command nor a url"), ('{"mcpServers": {"!!": {"command": "x"}}}', "no valid name"),
    ('{"mcpServers": {"a b": {"command": "x"}, "a-b": {"command": "y"}}}', 'two servers would be called "a-b"'),
    ('{"name": "x/y", "packages": [{"registryType": "mcpb"}]}', "none of its packages"),
    ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "a"),
])
def test_bad_files_are_refused_whole(run, tmp_path, text, said):
    (tmp_path / "bad.json").write_text(text)
    done = run("import", "bad.json")
    assert done.returncode == CONFIG and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1 and "bad.json" in done.stderr
    assert not (tmp_path / "gatespan.yaml").exists()


@pytest.mark.parametrize("arguments, code, said", [
    (["import", "none.json"], CONFIG, "no such file"), (["import"], USAGE, "usage: gatespan import"),
    (["import", "x", "--from", "emacs"], USAGE, "one of claude-desktop"), (["export", "emacs"], USAGE, "one of claude-desktop"),
    (["export", "cursor", "--config", "none.yaml"], CONFIG, "none.yaml"),
])
def test_wrong_use(run, arguments, code, said):
    done = run(*arguments)
    assert done.returncode == code and done.stdout == "" and said in done.stderr


def test_a_target_that_is_broken_is_left_alone(run, tmp_path):
    (tmp_path / "gatespan.yaml").write_text("upstreams: [\n")
    done = run("import", FILES / "cursor_mcp.json")
    assert done.returncode == CONFIG and "gatespan.yaml:" in done.stderr
    assert (tmp_path / "gatespan.yaml").read_text() == "upstreams: [\n"

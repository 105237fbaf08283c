"""Every command with good and bad input: one clear line, the right exit code, nothing half done."""
import json
import os
import re
import select
import shutil
import signal
import subprocess

import pytest
from conftest import ADMIN_KEY, ROOT, binary, catches, wait_for

OK, FAILED, USAGE, CONFIG, CREDENTIALS, UPSTREAM, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def clean_environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_") and k != "NO_COLOR"}
    return env | {k: str(v) for k, v in more.items() if v is not None}


@pytest.fixture
def run(tmp_path):
    def run(*arguments, url=None, key=ADMIN_KEY, env=None, **options):
        options.setdefault("timeout", 30)
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        if options["stdin"] is None:
            del options["stdin"]
        environment = clean_environment(HOME=tmp_path, GATESPAN_URL=url, GATESPAN_KEY=key, **(env or {}))
        return subprocess.run([str(binary()), *map(str, arguments)], env=environment, text=True, capture_output=True,
                              **options)
    return run


@pytest.fixture(scope="module")
def shared(module_gateway):
    return module_gateway({"keys": {"few": {"secret": "key-of-a-client-0123456789", "allow": ["time__get_*"]}}}
                          ).wait_ready("time")


@pytest.fixture
def ask(shared, run):
    def ask(*arguments, **options):
        return run(*arguments, url=shared.mcp, **options)
    ask.gateway = shared
    return ask


def one_line(done):
    """What went wrong is one line that says who speaks."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("gatespan: "), done.stderr
    return lines[0]


# ---- the table

def commands(run):
    """Every command there is, by the help texts."""
    def below(path):
        text = run(*path, "--help").stdout
        section = re.search(r"\ncommands:\n((?:  .*\n)+)", text)
        for name in re.findall(r"^  (\S+) ", section[1], re.M) if section else []:
            yield [*path, name]
            yield from below([*path, name])
    return list(below([]))


def test_every_command_has_help_a_man_page_and_a_reference(run, tmp_path):
    assert run("describe", "--man", tmp_path / "man").returncode == OK
    page = (tmp_path / "man" / "gatespan.1.scd").read_text()
    reference = (ROOT / "docs" / "reference" / "commands.md").read_text()
    all_commands = commands(run)
    assert len(all_commands) > 6
    for path in all_commands:
        words = " ".join(path)
        done = run(*path, "--help")
        assert done.returncode == OK and done.stdout.startswith(f"usage: gatespan {words}") and not done.stderr
        assert run("help", *path).stdout == done.stdout
        assert f"## gatespan {words}\n" in page and f"## gatespan {words}\n" in reference


def test_every_command_refuses_an_unknown_option(run):
    for path in commands(run):
        done = run(*path, "--no-such-option")
        assert done.returncode == USAGE and done.stdout == "", path
        assert "--no-such-option" in one_line(done)


@pytest.mark.parametrize("arguments, said", [
    (["sevre"], 'there is no command "sevre"; did you mean serve?'),
    (["tools", "--outptu", "json"], "did you mean --output?"),
    (["tools", "-o"], "-o needs a value: FORMAT"),
    (["tools", "-o", "xml"], "one of table, json, yaml"),
    (["tools", "-Z"], "no option -Z"),
    (["version", "--color", "blue"], "one of auto, always, never"),
    (["version", "word"], "usage: gatespan version"),
    (["completion", "csh"], "one of bash, zsh, fish"),
    (["check", "a", "b"], "usage: gatespan check"),
    (["call", "x", "--timeout", "soon"], "a duration is needed"),
    (["describe", "--out", "a", "--check", "b"], "exclude each other"),
])
def test_wrong_usage(run, arguments, said):
    done = run(*arguments)
    assert done.returncode == USAGE and done.stdout == ""
    assert said in one_line(done)


def test_without_a_command_help_goes_to_stderr(run):
    done = run()
    assert (done.returncode, done.stdout) == (USAGE, "") and "commands:" in done.stderr


def test_output_that_cannot_be_written_is_a_failure(run):
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(binary()), "version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == FAILED and "writing the output failed" in done.stderr


# ---- forms of output

def test_tools_in_three_forms(ask):
    import yaml
    as_json = json.loads(ask("tools", "-o", "json").stdout)
    assert yaml.safe_load(ask("tools", "--output=yaml").stdout) == as_json
    assert [line.split()[0] for line in ask("tools", "-otable").stdout.splitlines()] == [t["name"] for t in as_json]


def test_version_for_programs(run):
    told = json.loads(run("version", "-o", "json").stdout)
    assert told["revisions"][-1] == "2026-07-28" and f"gatespan {told['version']}\n" in run("--version").stdout


def test_tools_are_filtered(ask):
    names = [t["name"] for t in json.loads(ask("tools", "time__c*", "-o", "json").stdout)]
    assert names and all(n.startswith("time__c") for n in names)
    assert json.loads(ask("tools", "--upstream", "other", "-o", "json").stdout) == []
    nothing = ask("tools", "zzz*")
    assert (nothing.returncode, nothing.stdout) == (OK, "") and "no tool matches" in one_line(nothing)
    assert ask("tools", "zzz*", "-q").stderr == ""
    missing = ask("tools", "time__get_curent_time")
    assert missing.returncode == USAGE and "did you mean time__get_current_time?" in one_line(missing)


def test_a_schema_as_a_table(ask):
    done = ask("tools", "--schema", "time__get_current_time")
    assert done.stdout.splitlines()[0] == "time__get_current_time"
    assert re.search(r"^ARGUMENT +TYPE", done.stdout, re.M) and re.search(r"^zone +string", done.stdout, re.M)


@pytest.mark.parametrize("arguments, env, colored", [
    ([], {}, False), (["--color", "always"], {}, True), (["--color", "always"], {"NO_COLOR": "1"}, True),
    (["--color=never"], {}, False),
])
def test_colour(ask, arguments, env, colored):
    done = ask("tools", "--schema", "time__get_current_time", *arguments, env=env)
    assert ("\x1b[" in done.stdout) == colored


def test_colour_on_a_terminal_obeys_no_color(shared):
    import pty
    for no_color, colored in (("", True), ("1", False)):
        master, slave = pty.openpty()
        env = clean_environment(GATESPAN_URL=shared.mcp, GATESPAN_KEY=ADMIN_KEY, NO_COLOR=no_color, TERM="xterm")
        subprocess.run([str(binary()), "tools", "--schema", "time__get_current_time"], env=env, stdout=slave, timeout=60)
        os.close(slave)
        assert (b"\x1b[1m" in os.read(master, 65536)) == colored
        os.close(master)


# ---- call

def test_arguments_from_a_file_and_from_standard_input(ask, tmp_path):
    text = json.dumps({"zone": "Asia/Tokyo"})
    (tmp_path / "arguments.json").write_text(text)
    for done in (ask("call", "time__get_current_time", f"@{tmp_path}/arguments.json"),
                 ask("call", "time__get_current_time", "-", input=text)):
        assert done.returncode == OK, done.stderr
        assert json.loads(done.stdout)["offset"] == "+09:00"
    missing = ask("call", "time__get_current_time", "@no-such-file")
    assert missing.returncode == USAGE and "no-such-file" in one_line(missing)
    assert ask("call", "time__get_current_time", "-", input="").returncode == USAGE


def test_call_shows_structured_content(ask):
    import yaml
    structured = json.loads(ask("call", "time__get_current_time", "zone=UTC", "-o", "structured").stdout)
    assert structured["offset"] == "+00:00"
    whole = yaml.safe_load(ask("call", "time__get_current_time", "zone=UTC", "-o", "yaml").stdout)
    assert whole["structuredContent"]["offset"] == "+00:00"


def test_the_key_comes_from_a_file(ask, tmp_path):
    (tmp_path / "key").write_text("key-of-a-client-0123456789\n")
    done = ask("tools", "--key-file", tmp_path / "key", "-o", "json", key=None)
    assert [t["name"] for t in json.loads(done.stdout)] == ["time__get_current_time"]
    missing = ask("tools", "--key-file", tmp_path / "none", key=None)
    assert missing.returncode == CREDENTIALS and "no such file" in one_line(missing)


def test_verbose_tells_what_was_asked(ask):
    done = ask("tools", "-v")
    assert re.search(r"POST http://\S+/mcp tools/list: status 200, [\d.]+ ms", done.stderr)


# ---- completion and manual

@pytest.mark.parametrize("words, offered", [
    (["ca"], {"call"}),
    (["tools", "--outp"], {"--output"}),
    (["tools", "--output", ""], {"table", "json", "yaml"}),
    (["tools", "-o", "y"], {"yaml"}),
    (["version", "--color", "al"], {"always"}),
    (["completion", "z"], {"zsh"}),
    (["export", "c"], {"claude-desktop", "cursor"}),
])
def test_bash_completes(run, tmp_path, words, offered):
    script = tmp_path / "gatespan.bash"
    script.write_text(run("completion", "bash").stdout)
    lines = f"""source {script}
COMP_WORDS=(gatespan {' '.join(repr(w) for w in words)}); COMP_CWORD={len(words)}
_gatespan; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_loads_the_completion(run, tmp_path):
    (tmp_path / "_gatespan").write_text(run("completion", "zsh").stdout)
    lines = f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump; print $_comps[gatespan]; " \
            "autoload +X _gatespan && print loaded"
    done = subprocess.run(["zsh", "-f", "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["_gatespan", "loaded"], done.stderr
    assert "'*: :(bash zsh fish)'" in (tmp_path / "_gatespan").read_text()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(run, tmp_path):
    script = tmp_path / "gatespan.fish"
    script.write_text(run("completion", "fish").stdout)
    lines = f"source {script}; complete -C 'gatespan ca'; complete -C 'gatespan tools -o '; " \
            "complete -C 'gatespan export v'"
    done = subprocess.run(["fish", "--no-config", "-c", lines], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["call", "json", "table", "yaml", "vscode"]


@pytest.mark.skipif(not shutil.which("scdoc"), reason="scdoc is not installed")
@pytest.mark.parametrize("page", ["gatespan.1", "gatespan.yaml.5"])
def test_manual_pages_have_no_errors(run, tmp_path, page):
    assert run("describe", "--man", tmp_path).returncode == OK
    with open(tmp_path / f"{page}.scd") as source, open(tmp_path / page, "w") as out:
        subprocess.run(["scdoc"], stdin=source, stdout=out, check=True, timeout=60)
    if shutil.which("mandoc"):
        # scdoc itself leaves empty paragraphs and puts the title in small letters
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", tmp_path / page], capture_output=True, text=True, timeout=60)
        assert [line for line in done.stdout.splitlines() if "skipping paragraph macro" not in line] == []
    if shutil.which("man"):
        env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        done = subprocess.run(["man", "--warnings", "-l", tmp_path / page], capture_output=True, text=True, timeout=60, env=env)
        assert done.stderr == "" and "gatespan" in done.stdout


# ---- keys

@pytest.fixture
def own(gateway, run):
    """Commands that go to a gateway of their own."""
    gw = gateway({"profiles": {"short": {"upstreams": ["time"], "deny": ["time__c*"]}},
                  "keys": {"few": {"secret": "key-of-a-client-0123456789", "allow": ["time__get_*"]}}}).wait_ready("time")

    def ask(*arguments, **options):
        return run(*arguments, url=gw.mcp, **options)
    ask.gateway = gw
    return ask


def tools_of(own, key):
    done = own("tools", "-o", "json", key=key)
    return [t["name"] for t in json.loads(done.stdout)] if done.returncode == OK else done.returncode


def test_a_key_lives(own):
    made = own("keys", "make", "ci", "--allow", "time__get_*", "--rate", "20/s", "--expires", "90d")
    assert made.returncode == OK and "shown this once" in made.stderr
    key = made.stdout.strip()
    assert re.fullmatch(r"gs_[a-z0-9]{12}_[a-z0-9]+", key)
    assert tools_of(own, key) == ["time__get_current_time"]
    item = next(k for k in json.loads(own("keys", "list", "-o", "json").stdout) if k["name"] == "ci")
    assert item["allow"] == ["time__get_*"] and item["state"] == "active" and item["expires"]
    rotated = own("keys", "rotate", "ci", "--overlap", "10m", "-o", "json")
    fresh = json.loads(rotated.stdout)["key"]
    assert tools_of(own, key) == tools_of(own, fresh) == ["time__get_current_time"]
    assert own("keys", "revoke", key.split("_")[1]).returncode == OK
    assert tools_of(own, key) == CREDENTIALS and tools_of(own, fresh) == ["time__get_current_time"]
    revoked = own("keys", "list", "--state", "revoked").stdout
    assert "ci" in revoked and key.split("_")[1] in revoked and "few" not in revoked
    assert key not in own("keys", "list", "-o", "json").stdout


@pytest.mark.parametrize("arguments, code, said", [
    (["keys"], USAGE, "needs a command"), (["keys", "make"], USAGE, "usage: gatespan keys make NAME"),
    (["keys", "make", "x", "--rate", "much"], USAGE, "rate"), (["keys", "make", "x", "--burst", "much"], USAGE, "--burst much"),
    (["keys", "make", "x", "--expires", "soon"], USAGE, "expires"), (["keys", "make", "x", "--profile", "none"], USAGE, "profile"),
    (["keys", "revoke", "nobody"], FAILED, "no active key nobody"), (["keys", "rotate", "few"], FAILED, "change it there"),
    (["keys", "rotate", "x", "--overlap", "soon"], USAGE, "a duration is needed"),
    (["keys", "list", "--state", "tired"], USAGE, "state"), (["keys", "recover", "--data", "/no/such"], USAGE, "no data directory"),
    (["explain"], USAGE, "usage: gatespan explain TOOL"), (["explain", "x", "--for", "nobody"], FAILED, "no key"),
    (["top", "--every", "soon"], USAGE, "a duration is needed"), (["top", "--once", "--window", "soon"], USAGE, "window"),
    (["tail", "--level", "loud"], USAGE, "one of debug"), (["tail", "--lines", "0"], USAGE, "--lines 0"),
])
def test_wrong_use_of_commands_that_administrate(own, arguments, code, said):
    done = own(*arguments)
    assert done.returncode == code and done.stdout == "", done
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["keys", "list"], ["keys", "make", "x"], ["top", "--once"], ["tail", "-n", "1"]])
def test_administration_needs_an_admin_key(own, arguments):
    for key, said in (("key-of-a-client-0123456789", "refused"), ("gs_wrong_key_0123456789", "does not accept"), (None, "wants a key")):
        done = own(*arguments, key=key)
        assert done.returncode == CREDENTIALS and said in one_line(done)


@pytest.mark.parametrize("arguments", [["keys", "list"], ["top", "--once"], ["tail"], ["explain", "x"]])
def test_no_gateway_there(run, arguments):
    done = run(*arguments, url="http://127.0.0.1:1/mcp")
    assert done.returncode == UPSTREAM and "gatespan serve" in one_line(done)


def test_a_lost_admin_key_is_replaced(own, run, gateway):
    data = own.gateway.data
    busy = run("keys", "recover", "--data", data)
    assert busy.returncode == FAILED and "another gateway uses" in one_line(busy)
    own.gateway.stop()
    done = run("keys", "recover", "--data", data)
    assert done.returncode == OK and "1 other admin key revoked" in done.stderr
    key = done.stdout.strip()
    again = gateway(data=data, key=None)
    again.key = key
    again.wait_ready("time")
    assert run("keys", "list", url=again.mcp, key=key).returncode == OK
    assert run("keys", "list", url=again.mcp).returncode == CREDENTIALS, "the lost one is revoked"


# ---- explain

def steps(done):
    answer = json.loads(done.stdout)
    return answer["sees"], answer["may_call"], answer["decided_by"], answer["steps"][-1]["says"]


@pytest.mark.parametrize("arguments, sees, decided_by, said", [
    (["time__get_current_time"], True, "", "ready"),
    (["time__convert_time", "--for", "few"], False, "key rules", "nothing in allow of key few"),
    (["time__get_current_time", "--for", "few"], True, "", "ready"),
    (["time__convert_time", "-p", "short"], False, "profile rules", 'profiles.short.deny has "time__c*"'),
    (["time__get_curent_time"], False, "tool", "did you mean time__get_current_time"),
    (["time__get_current_time", "-p", "none"], False, "profile", "there is no profile none"),
])
def test_explain_names_what_decides(own, arguments, sees, decided_by, said):
    done = own("explain", *arguments, "-o", "json")
    seen, may, by, says = steps(done)
    assert (seen, may, by) == (sees, sees, decided_by) and said in says
    assert done.returncode == (OK if sees else FAILED)
    table = own("explain", *arguments)
    assert ("NO" in table.stdout) != sees and said in table.stdout


def test_explain_agrees_with_the_list(own):
    every = tools_of(own, ADMIN_KEY)
    seen = tools_of(own, "key-of-a-client-0123456789")
    for tool in every:
        assert steps(own("explain", tool, "--for", "few", "-o", "json"))[0] == (tool in seen)


def test_explain_tells_a_plain_key_nothing_about_what_it_may_not_see(own):
    key = "key-of-a-client-0123456789"
    hidden, missing = own("explain", "time__convert_time", key=key), own("explain", "time__nothing", key=key)
    assert hidden.stdout.replace("convert_time", "nothing") == missing.stdout
    other = own("explain", "time__get_current_time", "--for", "admin", key=key)
    assert other.returncode == CREDENTIALS and "admin key" in one_line(other)


def test_explain_names_an_upstream_that_is_away(gateway, run):
    gw = gateway({"upstreams": {"gone": {"command": "/no/such/program"}}}).wait_ready("time")
    done = run("explain", "gone__tool", url=gw.mcp)
    assert done.returncode == FAILED and "not answering now" in done.stdout and "gone" in done.stdout


# ---- top and tail

def test_top_once(own):
    own("call", "time__get_current_time", "zone=UTC")
    own("call", "time__get_current_time", "zone=Nowhere/Land")

    def figures():
        now = json.loads(own("top", "--once", "-o", "json").stdout)
        return now if now["total"]["calls"] == 2 else None
    now = wait_for(figures, what="both calls counted")
    assert now["tools"][0]["name"] == "time__get_current_time" and now["tools"][0]["errors"] == 1
    assert now["upstreams"][0]["name"] == "time" and now["upstreams"][0]["p99_ms"] > 0
    table = own("top", "--once").stdout
    assert table.splitlines()[0].startswith("0 in flight; in the last 1m 2 calls, 1 failed, p50 ")
    assert re.search(r"^time__get_current_time +2 +1 ", table, re.M)


def test_top_shows_calls_in_flight_and_refreshes(gateway, run, tmp_path):
    server = tmp_path / "waits.py"
    server.write_text(WAITING_SERVER)
    gw = gateway({"upstreams": {"slow": {"command": "python3", "args": [str(server)]}}}).wait_ready("slow")
    env = clean_environment(GATESPAN_URL=gw.mcp, GATESPAN_KEY=ADMIN_KEY)
    call = subprocess.Popen([str(binary()), "call", "slow__wait"], env=env, stderr=subprocess.PIPE)
    top = subprocess.Popen([str(binary()), "top", "--every", "100ms", "-o", "json"], env=env, stdout=subprocess.PIPE, text=True)
    try:
        for line in top.stdout:
            calls = json.loads(line)["calls"]
            if calls:
                break
        assert (calls[0]["tool"], calls[0]["upstream"], calls[0]["key"]) == ("slow__wait", "slow", "admin")
        call.send_signal(2)
        assert call.wait(60) == INTERRUPTED and b"given up" in call.stderr.read()
        for line in top.stdout:
            if not json.loads(line)["calls"]:
                break  # the call is cancelled
        top.send_signal(2)
        assert top.wait(60) == INTERRUPTED
    finally:
        for p in (call, top):
            if p.poll() is None:
                p.kill()
            p.wait(60)


def picture(rows, columns, before, written):
    """What a terminal of so many rows and columns shows after `written`, for the few sequences that top uses,
    and how many lines scrolled away."""
    lines, row, column, scrolled = (before + [""] * rows)[:rows], 0, 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", written.decode(errors="ignore")):
        if token == "\x1b[J":
            lines[row + 1:] = [""] * (rows - row - 1)
        if token in ("\x1b[J", "\x1b[K"):
            lines[row] = lines[row][:column]
        elif token == "\x1b[H":
            row = column = 0
        elif token == "\r":
            column = 0
        elif token == "\n" and row + 1 == rows:
            lines, scrolled = lines[1:] + [""], scrolled + 1
        elif token == "\n":
            row += 1
        elif not token.startswith("\x1b") and column < columns:  # no wrapping
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1:]
            column += 1
    return lines, scrolled


def test_top_fits_into_a_small_terminal_and_follows_its_size(own):
    """Nothing scrolls the head away, nothing of an older picture stays."""
    import fcntl
    import pty
    import struct
    import termios
    gw = own.gateway
    gw.call_tool("time__get_current_time")
    wait_for(lambda: json.loads(own("top", "--once", "-o", "json").stdout)["tools"], 60, "the call is counted")
    master, slave = pty.openpty()
    size, before, written, shown = (4, 30), [], b"", []

    def resize():
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def shows(condition):
        nonlocal written, shown
        while select.select([master], [], [], 0.05)[0]:
            written += os.read(master, 65536)
        shown, scrolled = picture(*size, before, written)
        assert scrolled == 0, written
        return condition(shown)

    resize()
    top = subprocess.Popen([str(binary()), "top", "--every", "1h"], stdout=slave, stderr=slave,
                           env=clean_environment(GATESPAN_URL=gw.mcp, GATESPAN_KEY=ADMIN_KEY))
    try:
        wait_for(lambda: shows(lambda lines: lines[0].startswith("0 in flight") and lines[3] == "…"), 60, "the small picture")
        size, before, written = (30, 100), shown, b""
        resize()  # painted anew at once, not after the hour
        wait_for(lambda: shows(lambda lines: any(line.startswith("UPSTREAM") for line in lines)), 60, "the large picture")
        assert shown[0].startswith("0 in flight") and "…" not in "".join(shown)
        assert sum(line.startswith("TOOL") for line in shown) == 1
        top.send_signal(2)
        assert top.wait(60) == INTERRUPTED
    finally:
        if top.poll() is None:
            top.kill()
        top.wait(60)
        os.close(master)
        os.close(slave)


WAITING_SERVER = '''
import json, sys
def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        say(id=m["id"], result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                                "serverInfo": {"name": "slow", "version": "1"}})
    elif m.get("method") == "tools/list":
        say(id=m["id"], result={"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]})
    elif "id" in m and m.get("method") != "tools/call":
        say(id=m["id"], error={"code": -32601, "message": "no"})
'''


def test_call_gives_up_in_time(gateway, run, tmp_path):
    server = tmp_path / "waits.py"
    server.write_text(WAITING_SERVER)
    gw = gateway({"upstreams": {"slow": {"command": "python3", "args": [str(server)]}}}).wait_ready("slow")
    done = run("call", "slow__wait", "--timeout", "300ms", url=gw.mcp)
    assert done.returncode == UPSTREAM and "--timeout" in one_line(done)


def tailing(own, *arguments):
    env = clean_environment(GATESPAN_URL=own.gateway.mcp, GATESPAN_KEY=ADMIN_KEY)
    p = subprocess.Popen([str(binary()), "tail", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: catches(p, signal.SIGINT), what="a handler of ctrl-c")
    wait_for(lambda: own.gateway.metric("gatespan_client_connections") == 2, what="its connection beside the one that asks")
    return p


def test_tail_follows_what_the_log_itself_leaves_out(own):
    import threading
    p = tailing(own, "--level", "debug", "--grep", "time__get_current_time", "-n", "2", "-o", "json")
    stop = threading.Event()

    def keep_calling():
        while not stop.is_set():
            own("call", "time__get_current_time", "zone=UTC")
    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        lines = [json.loads(line) for line in p.stdout]
        assert p.wait(60) == OK
    finally:
        stop.set()
        caller.join()
        p.kill() if p.poll() is None else None
    assert len(lines) == 2 and all(line["level"] == "debug" and "time__get_current_time" in json.dumps(line) for line in lines)
    assert "time__get_current_time" not in own.gateway.logs(), "the log itself is as before"


def test_tail_ends_on_ctrl_c_and_its_filters_hold(own):
    p = tailing(own, "--upstream", "other")
    own("call", "time__get_current_time", "zone=UTC")
    p.send_signal(2)
    assert p.wait(60) == INTERRUPTED and p.stdout.read() == ""


def test_a_gateway_does_not_wait_for_who_follows_its_log(own):
    p = tailing(own)
    assert own.gateway.stop(seconds=25) == 0
    p.kill()
    p.wait(60)


def test_changed_rights_of_a_key_hold_on_every_worker_at_once(gateway):
    """What a worker has compiled for a key is not used for other rights of it."""
    gw = gateway(None, "--workers", "3").wait_ready("time")
    made = gw.request("POST", "/api/v1/keys", {"name": "turns"}).json
    path = f"/api/v1/keys/{made['id']}"
    for allow in [["time__get_*"], None, ["time__convert_time"], [], ["time__get_*"]]:
        assert gw.request("PATCH", path, {"allow": allow}, {"If-Match": "*"}).status == 200
        seen = {tuple(gw.tools(key=made["key"])) for _ in range(12)}  # each on a connection of its own
        assert len(seen) == 1
        assert len(seen.pop()) == (len(gw.tools()) if not allow else 1)


def test_an_address_alone_means_its_mcp(run, shared):
    """http://HOST:PORT is what people paste; whatever has a path is taken as it is."""
    for url in (shared.url, shared.url + "/", shared.mcp, shared.mcp + "/"):
        assert run("call", "time__get_current_time", "zone=UTC", url=url).returncode == OK
        assert run("keys", "list", url=url).returncode == OK
    done = run("call", "time__get_current_time", url=shared.url + "/elsewhere")
    assert done.returncode != OK and "nothing at this path" in one_line(done)
    done = run("tools", url="http://")
    assert done.returncode == USAGE and "the host is missing" in one_line(done)

"""Every command with good and bad input: one clear line, the right exit code, nothing half done."""
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import ADMIN_KEY, ROOT, binary

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
    (["check"], "usage: gatespan check FILE"),
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
        subprocess.run([str(binary()), "tools", "--schema", "time__get_current_time"], env=env, stdout=slave, timeout=30)
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
])
def test_bash_completes(run, tmp_path, words, offered):
    script = tmp_path / "gatespan.bash"
    script.write_text(run("completion", "bash").stdout)
    lines = f"""source {script}
COMP_WORDS=(gatespan {' '.join(repr(w) for w in words)}); COMP_CWORD={len(words)}
_gatespan; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", lines], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_loads_the_completion(run, tmp_path):
    (tmp_path / "_gatespan").write_text(run("completion", "zsh").stdout)
    lines = f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump; print $_comps[gatespan]; " \
            "autoload +X _gatespan && print loaded"
    done = subprocess.run(["zsh", "-f", "-c", lines], capture_output=True, text=True, timeout=20)
    assert done.stdout.split() == ["_gatespan", "loaded"], done.stderr


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(run, tmp_path):
    script = tmp_path / "gatespan.fish"
    script.write_text(run("completion", "fish").stdout)
    lines = f"source {script}; complete -C 'gatespan ca'; complete -C 'gatespan tools -o '"
    done = subprocess.run(["fish", "--no-config", "-c", lines], capture_output=True, text=True, timeout=20)
    assert not done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["call", "json", "table", "yaml"]


@pytest.mark.skipif(not shutil.which("scdoc"), reason="scdoc is not installed")
@pytest.mark.parametrize("page", ["gatespan.1", "gatespan.yaml.5"])
def test_manual_pages_have_no_errors(run, tmp_path, page):
    assert run("describe", "--man", tmp_path).returncode == OK
    with open(tmp_path / f"{page}.scd") as source, open(tmp_path / page, "w") as out:
        subprocess.run(["scdoc"], stdin=source, stdout=out, check=True, timeout=20)
    if shutil.which("mandoc"):
        # scdoc itself leaves empty paragraphs and puts the title in small letters
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", tmp_path / page], capture_output=True, text=True, timeout=20)
        assert [line for line in done.stdout.splitlines() if "skipping paragraph macro" not in line] == []
    if shutil.which("man"):
        env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        done = subprocess.run(["man", "--warnings", "-l", tmp_path / page], capture_output=True, text=True, timeout=20, env=env)
        assert done.stderr == "" and "gatespan" in done.stdout

"""Everything in one file and back: while calls run, into another directory, and never half."""
import io
import json
import os
import pathlib
import sqlite3
import subprocess
import tarfile
import threading

import pytest

from conftest import ADMIN_KEY, binary, start_gateway, wait_for

PASSPHRASE = "correct horse battery staple"


def run(*arguments, env=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    return subprocess.run([str(binary()), *[str(a) for a in arguments]], capture_output=True, text=True, timeout=60,
                          env={**environment, **(env or {})})


def online(gw, *arguments):
    return run(*arguments, "--data", gw.data, "--url", gw.mcp, "--key", gw.key)


def rows(data, sql):
    db = sqlite3.connect(f"file:{data}/gatespan.db?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def key_ids(data):
    return sorted(r[0] for r in rows(data, "SELECT name FROM registry WHERE kind = 'key'"))


def content(path):
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}


def rewrite(path, to, change):
    """The same archive with `change(files)` done to its files: a dict, in order."""
    files = content(path)
    change(files)
    with tarfile.open(to, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return to


@pytest.fixture
def passphrase(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


@pytest.fixture
def offline(tmp_path):
    """A data directory that a gateway has left, and a backup of it without a passphrase."""
    gw = start_gateway(tmp_path)
    gw.call_tool("time__get_current_time", timezone="UTC")
    assert gw.stop() == 0
    archive = tmp_path / "plain.tar"
    done = run("backup", archive, "--data", gw.data)
    assert done.returncode == 0, done.stderr
    assert "master.key" in done.stderr
    return gw.data, archive


def test_the_archive_says_what_is_in_it(offline):
    data, archive = offline
    files = content(archive)
    manifest = json.loads(files["manifest.json"])
    assert list(files) == ["manifest.json", "manifest.hmac", "gatespan.db"]
    assert manifest["format"] == 1 and manifest["master_key_included"] is False
    assert (archive.stat().st_mode & 0o777) == 0o600
    master = (data / "master.key").read_bytes()
    assert all(master not in f for f in files.values())
    assert len(rows(data, "SELECT 1 FROM history")) == 1, "the last calls are in the store after a stop"


def test_a_backup_overwrites_nothing(offline):
    data, archive = offline
    done = run("backup", archive, "--data", data)
    assert done.returncode == 1 and "does not overwrite" in done.stderr


def test_restored_over_the_same_directory(offline, tmp_path):
    data, archive = offline
    before = key_ids(data)
    gw = start_gateway(tmp_path, data=data, key="another_admin_key_0123456789abcdef")
    assert gw.stop() == 0
    assert len(key_ids(data)) == len(before) + 1
    done = run("restore", archive, "--data", data)
    assert done.returncode == 0, done.stderr
    assert key_ids(data) == before
    aside = list(data.glob("before-restore-*.db"))
    assert len(aside) == 1
    assert not list(data.glob("restore.*")) and not list(data.glob("backup.*"))
    gw = start_gateway(tmp_path, data=data, key=None, wait=False)
    gw.key = ADMIN_KEY
    wait_for(lambda: "listening" in gw.logs(), what="it starts")
    wait_for(lambda: gw.request("GET", "/api/v1/health/detailed").status == 200, what="the old key is known")
    assert gw.stop() == 0


def test_into_another_directory_it_needs_the_passphrase(offline, tmp_path, passphrase):
    data, archive = offline
    sealed, other = tmp_path / "sealed.tar", tmp_path / "other"
    assert run("backup", sealed, "--data", data, "--passphrase-file", passphrase).returncode == 0
    master = (data / "master.key").read_bytes()
    assert all(master not in f for f in content(sealed).values())

    done = run("restore", archive, "--data", other)
    assert done.returncode == 1 and "put the master.key" in done.stderr
    done = run("restore", sealed, "--data", other)
    assert done.returncode == 1 and "--passphrase-file" in done.stderr
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase\n")
    done = run("restore", sealed, "--data", other, "--passphrase-file", wrong)
    assert done.returncode == 3 and "passphrase is not the one" in done.stderr
    assert not list(other.glob("restore.*")), "nothing is left of what failed"

    done = run("restore", sealed, "--data", other, "--passphrase-file", passphrase)
    assert done.returncode == 0, done.stderr
    assert (other / "master.key").read_bytes() == master
    assert key_ids(other) == key_ids(data)
    gw = start_gateway(tmp_path, data=other, key=None, wait=False)
    gw.key = ADMIN_KEY
    wait_for(lambda: "listening" in gw.logs(), what="it starts")
    assert gw.request("GET", "/api/v1/health/detailed").status == 200
    assert gw.stop() == 0


def test_with_the_master_key_put_there_by_hand(offline, tmp_path):
    data, archive = offline
    other = tmp_path / "other"
    other.mkdir()
    (other / "master.key").write_bytes((data / "master.key").read_bytes())
    assert run("restore", archive, "--data", other).returncode == 0
    assert key_ids(other) == key_ids(data)


TAMPERED = {
    "a byte of the database": lambda f: f.update({"gatespan.db": f["gatespan.db"][:5000] + b"X" + f["gatespan.db"][5001:]}),
    "a shorter database": lambda f: f.update({"gatespan.db": f["gatespan.db"][:-4096]}),
    "no database": lambda f: f.pop("gatespan.db"),
    "one more file": lambda f: f.update({"../evil": b"x"}),
    "no manifest": lambda f: f.pop("manifest.json"),
    "no hmac": lambda f: f.pop("manifest.hmac"),
    "another hmac": lambda f: f.update({"manifest.hmac": b"0" * 64}),
    "another date": lambda f: f.update({"manifest.json": f["manifest.json"].replace(b'"created":"2', b'"created":"3')}),
    "a newer schema": lambda f: f.update({"manifest.json": f["manifest.json"].replace(b'"schema":', b'"schema":9')}),
    "no JSON": lambda f: f.update({"manifest.json": b"{"}),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_archive_changes_nothing(offline, tmp_path, what):
    data, archive = offline
    before = (data / "gatespan.db").read_bytes()
    bad = rewrite(archive, tmp_path / "bad.tar", TAMPERED[what])
    done = run("restore", bad, "--data", data)
    assert done.returncode == 3, done.stderr
    assert "nothing was changed" in done.stderr and len(done.stderr.splitlines()) == 1
    assert rows(data, "SELECT name, version FROM registry") and key_ids(data)
    assert (data / "gatespan.db").read_bytes() == before
    assert not list(data.glob("before-restore-*")) and not list(data.glob("restore.*"))
    assert not (data.parent / "evil").exists()


def test_digests_that_fit_a_changed_database_do_not_fit_the_master_key(offline, tmp_path):
    """Whoever changes the database and its digest in the manifest still lacks the key of the HMAC."""
    import hashlib
    data, archive = offline

    def change(files):
        manifest = json.loads(files["manifest.json"])
        files["gatespan.db"] = files["gatespan.db"][:5000] + b"X" + files["gatespan.db"][5001:]
        manifest["files"][0]["sha256"] = hashlib.sha256(files["gatespan.db"]).hexdigest()
        files["manifest.json"] = json.dumps(manifest).encode()

    done = run("restore", rewrite(archive, tmp_path / "bad.tar", change), "--data", data)
    assert done.returncode == 3 and "without the master key" in done.stderr


def test_nothing_is_unpacked_before_the_manifest_is_known_to_be_ours(offline, tmp_path):
    """Who lacks the master key cannot make the restore write anything: a tebibyte of zeros costs 12 KiB of archive."""
    data, archive = offline

    def change(files):
        manifest = json.loads(files["manifest.json"])
        manifest["files"][0]["bytes"] = 1 << 40
        files["manifest.json"] = json.dumps(manifest).encode()

    bad = rewrite(archive, tmp_path / "bad.tar", change)
    size = bad.stat().st_size
    with open(bad, "r+b") as f:  # cut in the database: what is unpacked first stumbles over that
        f.truncate(size // 2)
    done = run("restore", bad, "--data", data)
    assert done.returncode == 3 and "without the master key" in done.stderr, done.stderr


def test_a_sealed_master_key_is_found_wherever_it_stands(offline, tmp_path, passphrase):
    data, _ = offline
    sealed, other = tmp_path / "sealed.tar", tmp_path / "other"
    assert run("backup", sealed, "--data", data, "--passphrase-file", passphrase).returncode == 0
    assert list(content(sealed))[-1] == "master.key.sealed"
    without = rewrite(sealed, tmp_path / "without.tar", lambda f: f.pop("master.key.sealed"))
    done = run("restore", without, "--data", other, "--passphrase-file", passphrase)
    assert done.returncode == 3 and "master.key.sealed is missing" in done.stderr, done.stderr
    changed = rewrite(sealed, tmp_path / "changed.tar",
                      lambda f: f.update({"master.key.sealed": f["master.key.sealed"][:-1] + b"!"}))
    done = run("restore", changed, "--data", other, "--passphrase-file", passphrase)
    assert done.returncode == 3 and "passphrase is not the one" in done.stderr, done.stderr
    assert run("restore", sealed, "--data", other, "--passphrase-file", passphrase).returncode == 0
    assert key_ids(other) == key_ids(data)


def test_what_a_killed_backup_or_restore_left_is_removed_by_the_next_start(offline, tmp_path):
    data, archive = offline
    for folder in ("restore.tmp-abcdef", "backup.tmp-abcdef"):
        (data / folder).mkdir()
        (data / folder / "gatespan.db").write_bytes(b"half of it")
    for name in ("restore.in-1234", "backup.out-00-11"):
        (data / name).write_bytes(b"half of it")
    before = key_ids(data)
    gw = start_gateway(tmp_path, data=data, key=None, wait=False)
    wait_for(lambda: "listening" in gw.logs(), 60, "it starts")
    left = [p.name for p in data.iterdir() if p.name.startswith(("restore.", "backup."))]
    assert gw.stop() == 0
    assert left == [] and key_ids(data) == before


def damage(path, how):
    if how == "other bytes":
        path.write_bytes(os.urandom(20000))
    elif how == "holes":
        with open(path, "r+b") as f:
            f.seek(8192)
            f.write(os.urandom(8192))
    elif how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "newer":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.commit()
        db.close()


@pytest.mark.parametrize("how", ["other bytes", "holes", "cut", "newer"])
def test_a_database_that_cannot_be_opened_is_what_a_backup_is_for(offline, tmp_path, how):
    """The remedy that serve names works; the damaged file is kept aside as it was."""
    data, archive = offline
    wanted = key_ids(data)
    damage(data / "gatespan.db", how)
    before = (data / "gatespan.db").read_bytes()
    bad = rewrite(archive, tmp_path / "bad.tar", TAMPERED["a byte of the database"])
    done = run("restore", bad, "--data", data)
    assert done.returncode == 3 and "nothing was changed" in done.stderr
    assert (data / "gatespan.db").read_bytes() == before and not list(data.glob("before-restore-*"))
    done = run("restore", archive, "--data", data)
    assert done.returncode == 0, done.stderr
    assert key_ids(data) == wanted and not list(data.glob("restore.*"))
    assert len(list(data.glob("before-restore-*.db"))) == 1 and not list(data.glob("*.master.key"))
    gw = start_gateway(tmp_path, data=data, key=None, wait=False)
    gw.key = ADMIN_KEY
    wait_for(lambda: "listening" in gw.logs(), 60, "it starts")
    assert gw.request("GET", "/api/v1/health/detailed").status == 200, "the key of the backup is known"
    assert gw.stop() == 0


@pytest.mark.parametrize("other_master", [False, True], ids=["same master key", "another master key"])
def test_killed_at_any_moment_it_is_the_store_before_or_the_one_of_the_backup(offline, tmp_path, passphrase, other_master):
    """Whole and in working order, whichever of the two: the restore is killed later and later until one is done."""
    data, _ = offline
    archive, there = tmp_path / "sealed.tar", tmp_path / "there"
    assert run("backup", archive, "--data", data, "--passphrase-file", passphrase).returncode == 0
    wanted = key_ids(data)
    gw = start_gateway(tmp_path, data=there if other_master else data, key="another_admin_key_0123456789abcdef")
    there = gw.data
    assert gw.stop() == 0
    before = key_ids(there)
    assert before != wanted
    seen = set()
    for delay in [*(0.001 * 1.4 ** n for n in range(26)), 60]:  # the last is left alone
        p = subprocess.Popen([str(binary()), "restore", str(archive), "--data", str(there), "--passphrase-file",
                              str(passphrase)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            p.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
        done = run("backup", tmp_path / f"{delay}.tar", "--data", there)  # opens all of it
        assert done.returncode == 0, done.stderr
        now = key_ids(there)
        assert now in (before, wanted)
        seen.add(now == wanted)
        if p.returncode == 0:
            assert now == wanted
            break
    assert p.returncode == 0 and True in seen


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1500, 10000])
def test_a_cut_archive_changes_nothing(offline, tmp_path, size):
    data, archive = offline
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:size])
    done = run("restore", cut, "--data", data)
    assert done.returncode == 3 and "nothing was changed" in done.stderr, done.stderr
    assert key_ids(data)


def test_a_crash_behind_the_point_of_no_return_is_finished_by_the_next_start(offline, tmp_path):
    """restore.ready holds what was checked: both files are moved, however far the crash let it come."""
    data, archive = offline
    other = start_gateway(tmp_path, key=None)
    wait_for(lambda: "listening" in other.logs(), what="it starts")
    assert other.stop() == 0
    ready = other.data / "restore.ready"
    ready.mkdir()
    (ready / "gatespan.db").write_bytes(content(archive)["gatespan.db"])
    (ready / "master.key").write_bytes((data / "master.key").read_bytes())
    gw = start_gateway(tmp_path, data=other.data, key=None, wait=False)
    gw.key = ADMIN_KEY
    wait_for(lambda: "listening" in gw.logs(), what="it starts")
    assert gw.request("GET", "/api/v1/health/detailed").status == 200
    assert not ready.exists()
    assert gw.stop() == 0


def test_backup_and_restore_while_calls_run(gateway, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("log: {level: info}\n")
    gw = gateway(config)
    stop, failures, calls = threading.Event(), [], []

    def load():
        while not stop.is_set():
            try:
                calls.append(gw.call_tool("time__get_current_time", timezone="UTC"))
            except Exception as e:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(e)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        archive = tmp_path / "online.tar"
        done = online(gw, "backup", archive)
        assert done.returncode == 0, done.stderr
        assert "config.sealed" in content(archive)
        before = key_ids(gw.data)
        done = online(gw, "restore", archive)
        assert done.returncode == 0, done.stderr
        assert "restored-mine.yaml" in done.stderr
        assert (gw.data / "restored-mine.yaml").read_text() == config.read_text()
        assert key_ids(gw.data) == before
        wait_for(lambda: len(calls) > 200, what="calls go on")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failures, failures[:3]
    assert not list(pathlib.Path(gw.data).glob("restore.in-*"))


def test_a_backup_over_the_wire_names_no_directory_of_this_machine(gateway, tmp_path):
    """It needs the master key of where it came from, not of who happens to live here."""
    gw = gateway()
    environment = {"HOME": str(tmp_path), "GATESPAN_URL": gw.mcp, "GATESPAN_KEY": gw.key}
    done = run("backup", tmp_path / "wire.tar", env=environment)
    assert done.returncode == 0 and "master.key of the gateway's data directory" in done.stderr, done.stderr
    assert str(tmp_path / ".local") not in done.stderr


def test_a_backup_of_a_named_directory_is_of_that_one(offline, gateway, tmp_path):
    """Also where the environment names a gateway: --data is nearer."""
    data, _ = offline
    done = run("backup", tmp_path / "here.tar", "--data", data, env={"GATESPAN_URL": gateway().mcp, "GATESPAN_KEY": ADMIN_KEY})
    assert done.returncode == 0, done.stderr
    assert run("restore", tmp_path / "here.tar", "--data", data).returncode == 0, "it has the same master key"


def test_another_gateways_archive_is_refused_while_running(offline, gateway):
    _, archive = offline
    gw = gateway()
    before = key_ids(gw.data)
    done = online(gw, "restore", archive)
    assert done.returncode == 1 and "another master key" in done.stderr and "stop it" in done.stderr
    assert key_ids(gw.data) == before
    assert not list(pathlib.Path(gw.data).glob("restore.*"))


def test_archives_over_the_api(gateway, tmp_path):
    gw = gateway()
    answer = gw.request("POST", "/api/v1/backup")
    assert answer.status == 200 and answer.headers["content-type"] == "application/x-tar"
    archive = tmp_path / "api.tar"
    archive.write_bytes(answer.body)
    assert list(content(archive)) == ["manifest.json", "manifest.hmac", "gatespan.db"]
    answer = gw.request("POST", "/api/v1/restore", answer.body, {"Content-Type": "application/x-tar"})
    assert answer.status == 200 and answer.json["kept_aside"].endswith(".db")
    for path, body, status in [("/api/v1/restore", b"hello", 400), ("/api/v1/restore", None, 400),
                               ("/api/v1/restore?file=../../etc/passwd", None, 400),
                               ("/api/v1/restore?file=restore.in-none", None, 404),
                               ("/api/v1/backup", {"password": "x"}, 400),
                               ("/api/v1/backup", {"passphrase": "short"}, 400)]:
        answer = gw.request("POST", path, body)
        assert answer.status == status, (path, answer.body)
        assert answer.json["message"]
    assert gw.request("POST", "/api/v1/backup", key="nobody").status == 401


def test_bad_words(tmp_path):
    done = run("backup", tmp_path / "x.tar", "--data", tmp_path / "nothing")
    assert done.returncode == 1 and "no data directory" in done.stderr
    assert not (tmp_path / "nothing").exists()
    assert run("restore", tmp_path / "missing.tar", "--data", tmp_path / "nothing").returncode == 2
    assert run("backup").returncode == 2

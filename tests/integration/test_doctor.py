"""`gatespan doctor`: what is wrong with a machine or a configuration is found, with a remedy."""
import json
import os
import re
import socket
import subprocess

import pytest
from conftest import ADMIN_KEY, FIXTURES, binary, free_port

OK, FAILED, USAGE, CONFIG = 0, 1, 2, 3


@pytest.fixture
def doctor(tmp_path):
    def doctor(config=None, *arguments, upstreams=False, data=None, tmp=None, **options):
        path = tmp_path / "c.json"
        path.write_text(json.dumps({"listen": [f"127.0.0.1:{free_port()}"], **(config or {})}))
        env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
        env |= {"TMPDIR": str(tmp)} if tmp else {}
        command = [str(binary()), "doctor", str(path), "--data", str(data or tmp_path / "data"), "-o", "json", *arguments]
        command += [] if upstreams else ["--no-upstreams"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, **options)
        done.findings = json.loads(done.stdout) if done.stdout else []
        return done
    return doctor


def found(done, check, *states):
    return [f for f in done.findings if f["check"] == check and f["state"] in states]


def test_every_check_says_something_and_whatever_is_wrong_has_a_remedy(doctor):
    done = doctor()
    assert {f["check"] for f in done.findings} == {"config", "data", "port", "limits", "sandbox", "clock", "libraries", "tls"}
    for f in done.findings:
        assert f["says"] and bool(f["remedy"]) == (f["state"] in ("warning", "broken")), f
    broken = found(done, "sandbox", "broken") + found(done, "data", "broken")
    assert done.returncode == (FAILED if broken else OK)
    assert re.fullmatch(r"gatespan: \d+ broken, \d+ warnings, \d+ fine\n", done.stderr)


def test_a_taken_port(doctor):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = doctor({"listen": [f"127.0.0.1:{s.getsockname()[1]}"]})
    assert done.returncode == FAILED
    assert "ss -ltnp" in found(done, "port", "broken")[0]["remedy"]


def test_a_running_gateway_has_its_port_and_its_directory(doctor, gateway):
    gw = gateway()
    done = doctor({"listen": [f"127.0.0.1:{gw.port}"]}, data=gw.data)
    assert "a gateway is running" in found(done, "port", "ok")[0]["says"]
    assert any("a gateway is running" in f["says"] for f in found(done, "data", "ok"))


def test_a_data_directory_that_others_may_read(doctor, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    assert "chmod 700" in found(doctor(data=data), "data", "warning")[0]["remedy"]


def test_an_address_that_is_not_found(doctor):
    done = doctor({"upstreams": {"web": {"url": "http://no-such-host.invalid:80/mcp"}, "here": {"url": "http://localhost:1/mcp"}}})
    assert done.returncode == FAILED
    assert "no-such-host.invalid (upstream web)" in found(done, "dns", "broken")[0]["says"]
    assert "localhost" in found(done, "dns", "ok")[0]["says"]


@pytest.mark.parametrize("days, state, said", [(365, "ok", "is valid for 36"), (5, "warning", "is valid for"), (-1, "broken", "has expired")])
def test_certificates(doctor, tmp_path, days, state, said):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    import datetime
    now = datetime.datetime.now(datetime.timezone.utc)
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw")])
    certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()) \
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=400)) \
        .not_valid_after(now + datetime.timedelta(days=days, hours=1)).sign(key, hashes.SHA256())
    pem = tmp_path / "cert.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    for k, file in ((key, "key.pem"), (other, "other.pem")):
        (tmp_path / file).write_bytes(k.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                      serialization.NoEncryption()))
    done = doctor({"tls": {"cert_file": str(pem), "key_file": str(tmp_path / "key.pem")}})
    assert said in found(done, "tls", state)[0]["says"]
    if days == 365:
        done = doctor({"tls": {"cert_file": str(pem), "key_file": str(tmp_path / "other.pem")}})
        assert "does not belong" in found(done, "tls", "broken")[0]["says"]
        done = doctor({"tls": {"cert_file": str(pem), "key_file": str(tmp_path / "none.pem")}})
        assert "none.pem" in found(done, "tls", "broken")[0]["says"]


def test_limits_that_are_too_low(doctor):
    done = doctor({}, preexec_fn=lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_NOFILE, (256, 256)))
    assert "LimitNOFILE" in found(done, "limits", "warning")[0]["remedy"]


def test_upstreams_answer_or_not(doctor, tmp_path):
    (tmp_path / "tmp").mkdir()
    done = doctor({"upstreams": {"good": {"command": "python3", "args": [str(FIXTURES / "stdio_server.py")]},
                                 "gone": {"command": "/no/such/program"}}}, upstreams=True,
                  tmp=tmp_path / "tmp")
    states = {f["says"].split()[0]: f for f in found(done, "upstream", "ok", "broken")}
    assert states["time"]["state"] == "ok" and re.search(r"in revision 20\d\d-\d\d-\d\d with \d+ tools", states["time"]["says"])
    assert states["gone"]["state"] == "broken" and "by hand" in states["gone"]["remedy"] and "program" in states["gone"]["says"]
    assert done.returncode == FAILED
    assert not os.listdir(tmp_path / "tmp"), "nothing is left behind"
    assert not (tmp_path / "data").exists()


def test_the_table_has_a_line_for_each_and_remedies_below(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATESPAN_")}
    done = subprocess.run([str(binary()), "doctor", "--no-upstreams", "--data", str(tmp_path), "--listen", "999.1.1.1:1"],
                          capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode in (FAILED, CONFIG)
    done = subprocess.run([str(binary()), "doctor", "--no-upstreams", "--data", str(tmp_path), "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=60, env=env)
    assert re.search(r"^ok       config    the configuration is valid$", done.stdout, re.M), done.stdout + done.stderr


@pytest.mark.parametrize("arguments, code, said", [
    (["--wait", "soon"], USAGE, "a duration is needed"), (["a", "b"], USAGE, "usage: gatespan doctor"), (["/no/such.yaml"], CONFIG, "/no/such.yaml"),
])
def test_wrong_use(arguments, code, said):
    done = subprocess.run([str(binary()), "doctor", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and done.stdout == "" and said in done.stderr

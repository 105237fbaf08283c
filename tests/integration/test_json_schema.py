"""The official JSON-Schema-Test-Suite, draft 2020-12, against mcp/json_schema.

The suite comes with the source package of the Python library `jsonschema`, by its hash.
"""

import pathlib
import subprocess
import sys
import tarfile

import pytest

from conftest import binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINNED = ("jsonschema==4.23.0 "
          "--hash=sha256:d71497fef26351a33265337fa77ffeb82423f3ea21283cd9467bb03999266bc4")


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    kept = ROOT / "build" / "deps" / "json-schema-test-suite"
    if not (kept / "tests" / "draft2020-12").is_dir():
        work = tmp_path_factory.mktemp("suite")
        (work / "pinned.txt").write_text(PINNED + "\n")
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                        "jsonschema", "--require-hashes", "--dest", work, "--requirement", work / "pinned.txt"],
                       check=True, timeout=500)
        with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
            archive.extractall(work)
        kept.parent.mkdir(parents=True, exist_ok=True)
        next(work.glob("jsonschema-*/json")).rename(kept)
    return kept


@pytest.fixture(scope="module")
def runner():
    folder = pathlib.Path(binary()).resolve().parent
    built = folder.parent.parent / "tests" / "unit" / "mcp" / "json_schema_suite"
    if not built.exists():
        built = ROOT / "build" / "meson" / "tests" / "unit" / "mcp" / "json_schema_suite"
    if not built.exists():
        pytest.skip(f"{built} is not built")
    return built


def run(runner, suite, files):
    done = subprocess.run([runner, suite / "remotes", *sorted(files)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.splitlines()


def test_every_mandatory_case_of_draft_2020_12(runner, suite):
    files = list((suite / "tests" / "draft2020-12").glob("*.json"))
    assert len(files) > 40
    status, lines = run(runner, suite, files)
    assert status == 0, "\n".join(lines)
    assert int(lines[-1].split()[1]) > 1200


@pytest.mark.parametrize("name", ["anchor", "bignum", "dynamicRef", "float-overflow", "id", "no-schema",
                                  "non-bmp-regex", "refOfUnknownKeyword", "unknownKeyword"])
def test_optional_cases_that_hold_too(runner, suite, name):
    """Left out: `format` as an assertion, other drafts, and the whole of ECMA-262's regular expressions."""
    status, lines = run(runner, suite, [suite / "tests" / "draft2020-12" / "optional" / f"{name}.json"])
    assert status == 0, "\n".join(lines)

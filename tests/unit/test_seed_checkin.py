"""What the seed check-in decides without asking anybody: properties, archives, variables, reasons, answers."""

from __future__ import annotations

import base64
import io
import json
import ssl
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import gitlab
import pytest
import requests
from botocore.exceptions import ClientError

from infra import archive
from seed_checkin import answer, aws, handler, reasons, request, seed, variables
from seed_checkin.reasons import CheckinFailed

ROOT = Path(__file__).parents[2]
CI_FILE = b"include:\n  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/model-build@1.0.0\n"
PROPERTIES = {
    "ServiceToken": "arn:aws:lambda:eu-west-1:123456789012:function:checkin",
    "GitLabServerUrl": "https://gitlab.example.com/",
    "GitLabSecretName": "gitlab/token",
    "ModelBuildProjectId": "1",
    "ModelDeployProjectId": "2",
    "SeedBucket": "platform",
    "ModelBuildSeedKey": "seeds/build.zip",
    "ModelDeploySeedKey": "seeds/deploy.zip",
    "ComponentProjectPath": "platform/sagemaker",
    "ComponentVersion": "1.2.0",
    "TriggerTokenSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:trigger-AbCdEf",
}


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for entry, content in (*entries, (".gitlab-ci.yml", CI_FILE)):
            archive.writestr(entry, content)
    return memory.getvalue()


def entry(name: str, mode: int = 0o100644, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = system, mode << 16
    return info


def raw_name(raw: bytes, system: int) -> bytes:
    """An archive whose first entry is called exactly `raw`, as tools write it that know nothing of encodings."""
    placeholder = "x" * len(raw)
    return zipped((entry(placeholder, system=system), b"content")).replace(placeholder.encode(), raw)


# --- archives -------------------------------------------------------------------------------------------------------


def test_a_seed_keeps_its_bytes_and_executable_bits() -> None:
    binary = bytes(range(256))
    files = seed.read(zipped((entry("model.bin"), binary), (entry("bin/run.sh", 0o100755), b"#!/bin/sh\n")))
    actions = {action["file_path"]: action for action in seed.actions(files)}

    assert list(actions) == ["model.bin", "bin/run.sh", ".gitlab-ci.yml"]
    assert base64.b64decode(actions["model.bin"]["content"]) == binary
    assert [actions[name]["execute_filemode"] for name in actions] == [False, True, False]
    assert {(action["action"], action["encoding"]) for action in actions.values()} == {("create", "base64")}


@pytest.mark.parametrize(
    ("raw", "system", "name"),
    [
        ("grün.txt".encode(), 3, "grün.txt"),  # UTF-8 without the flag that says so
        ("grün.txt".encode("latin-1"), 3, "grün.txt"),
        ("grün.txt".encode("cp437"), 0, "grün.txt"),
    ],
)
def test_a_name_in_another_encoding_becomes_text(raw: bytes, system: int, name: str) -> None:
    assert seed.read(raw_name(raw, system))[0] == seed.SeedFile(name, b"content", False)


def test_directories_and_modes_of_other_systems_are_passed_over() -> None:
    files = seed.read(zipped((entry("folder/", 0o040755), b""), (entry("folder/a", 0o755, system=0), b"a")))
    assert [(file.path, file.executable) for file in files] == [("folder/a", False), (".gitlab-ci.yml", False)]


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (entry("../outside"), "leads out"),
        (entry("/etc/passwd"), "leads out"),
        (entry("a//b"), "leads out"),
        (entry(".git/config"), "git keeps"),
        (entry("models/.GIT/config"), "git keeps"),
        (entry("git~1/config"), "git keeps"),
        (entry("GIT~1"), "git keeps"),
        (entry(".git::$INDEX_ALLOCATION/config"), "git keeps"),
        (entry(".git. ./config"), "git keeps"),
        (entry(".g\u200cit/config"), "git keeps"),
        (entry("\ufeff.git/config"), "git keeps"),
        (entry("sub/.GIT/hooks/pre-commit"), "git keeps"),
        (entry("a\\b"), "backslash"),
        (entry("a\nb"), "control character"),
        (entry("link", 0o120777), "link"),
    ],
)
def test_a_file_that_a_repository_cannot_hold_is_refused_by_name(info: zipfile.ZipInfo, problem: str) -> None:
    with pytest.raises(CheckinFailed, match=problem) as caught:
        seed.read(zipped((info, b"x")))
    assert repr(info.filename) in str(caught.value)


def test_unfit_archives_are_refused() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(".gitlab-ci.yml", b"0" * (seed.MAX_BYTES + 1))
    sound = zipped()
    for content, problem in (
        (b"not a ZIP archive", "not a sound ZIP"),
        (sound.replace(b"sagemaker-components/model-build", b"sagemaker-components/model-xxxxx", 1), "not a sound ZIP"),
        (sound[: len(sound) // 2], "not a sound ZIP"),
        (bomb.getvalue(), "at most 20,000,000"),
        (zipped(*((f"file-{number}", b"") for number in range(seed.MAX_FILES))), "1001 files"),
        (zipped().replace(b".gitlab-ci.yml", b"-gitlab-ci.yml"), "no .gitlab-ci.yml"),
    ):
        with pytest.raises(CheckinFailed, match=problem):
            seed.read(content)


def test_the_path_and_version_of_the_platforms_components_are_filled_in() -> None:
    text = b"""include:
  - component: $CI_SERVER_FQDN/mlops/sagemaker-components/model-build@1.0.0 # pinned
    inputs:
      image_registry: $CI_REGISTRY/mlops/sagemaker-components # its images
  - component: "$CI_SERVER_FQDN/mlops/sagemaker-components/training@1.0.0"
  - component: $CI_SERVER_FQDN/other/components/lint@1.0.0
  # component: $CI_SERVER_FQDN/mlops/sagemaker-components/build@1.0.0
"""
    files = [seed.SeedFile(".gitlab-ci.yml", text, False), seed.SeedFile("README.md", text, False)]
    filled = seed.fill_in(files, r"Acme/ml\1/sagemaker", "2.1.0")
    assert (
        filled[0].content
        == rb"""include:
  - component: $CI_SERVER_FQDN/Acme/ml\1/sagemaker/model-build@2.1.0 # pinned
    inputs:
      image_registry: $CI_REGISTRY/acme/ml\1/sagemaker # its images
  - component: "$CI_SERVER_FQDN/Acme/ml\1/sagemaker/training@2.1.0"
  - component: $CI_SERVER_FQDN/other/components/lint@1.0.0
  # component: $CI_SERVER_FQDN/mlops/sagemaker-components/build@1.0.0
"""
    )
    assert filled[1].content == text


@pytest.mark.parametrize("name", ["seed-build", "seed-deploy"])
def test_the_shipped_seeds_name_no_other_component_project(name: str) -> None:
    content = (ROOT / name / ".gitlab-ci.yml").read_bytes()
    (filled,) = seed.fill_in([seed.SeedFile(".gitlab-ci.yml", content, False)], "acme/ml", "9.9.9")
    assert b"mlops/sagemaker-components" in content
    assert b"mlops/sagemaker-components" not in filled.content
    assert filled.content.count(b"$CI_SERVER_FQDN/acme/ml/") == content.count(b"component:")
    assert filled.content.count(b"@9.9.9") == content.count(b"component:")


def test_a_seed_archive_is_reproducible_and_holds_what_git_holds(tmp_path: Path) -> None:
    (name, source) = next(iter(archive.SEEDS.items()))
    first, second = archive.build(name, tmp_path / "one"), archive.build(name, tmp_path / "two")
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    for file in seed.read(first.read_bytes()):
        assert file.content == (source / file.path).read_bytes()
        assert "__pycache__" not in file.path


def test_a_seed_archive_keeps_executable_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "seed"  # an unpacked release: no repository around it
    source.mkdir()
    (source / ".gitlab-ci.yml").write_bytes(CI_FILE)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o700)
    monkeypatch.setitem(archive.SEEDS, "seed-build", source)
    built = seed.read(archive.build("seed-build", tmp_path).read_bytes())
    assert [(file.path, file.executable) for file in built] == [(".gitlab-ci.yml", False), ("run.sh", True)]


def test_a_seed_archive_leaves_out_what_git_does_not_track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "seed"
    source.mkdir()
    (source / ".gitlab-ci.yml").write_bytes(CI_FILE)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    (source / ".env").write_text("AWS_SECRET_ACCESS_KEY=hers")
    monkeypatch.setitem(archive.SEEDS, "seed-build", source)
    assert [file.path for file in seed.read(archive.build("seed-build", tmp_path).read_bytes())] == [".gitlab-ci.yml"]


# --- properties and variables -----------------------------------------------------------------------------------------


def test_properties_are_read() -> None:
    requested = request.read(PROPERTIES)
    assert (requested.server_url, requested.key) == ("https://gitlab.example.com", "")
    assert requested.build == request.Repository(1, "seeds/build.zip", [])


def test_every_wrong_property_is_named_at_once() -> None:
    broken = PROPERTIES | {"GitLabServerUrl": "gitlab.example.com", "ComponentVersion": "1.0 \ntags: [x]"}
    del broken["SeedBucket"]
    with pytest.raises(CheckinFailed) as caught:
        request.read(broken)
    for part in ("GitLabServerUrl is 'gitlab.example.com'", "SeedBucket is missing", "ComponentVersion is"):
        assert part in str(caught.value)


def test_variables_are_a_value_settings_or_a_list_of_settings() -> None:
    variables_read = request.read_variables(
        {
            "AWS_REGION": "eu-west-1",
            "AWS_ROLE_ARN": [
                {"value": "staging-role", "environment_scope": "staging"},
                {"value": "prod-role", "environment_scope": "prod", "protected": "true"},
            ],
            "AWS_SECRET_ACCESS_KEY": {"secret": "keys", "secret_key": "SecretAccessKey"},
        }
    )
    assert variables_read == [
        request.Variable("AWS_REGION", "eu-west-1"),
        request.Variable("AWS_ROLE_ARN", "staging-role", environment_scope="staging"),
        request.Variable("AWS_ROLE_ARN", "prod-role", environment_scope="prod", protected=True),
        request.Variable("AWS_SECRET_ACCESS_KEY", None, "keys", "SecretAccessKey", protected=True, masked=True),
    ]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"A-B": "x"}, "letters, digits"),
        ({"A": {"value": "x", "secret": "y"}}, "either value or secret"),
        ({"A": {}}, "either value or secret"),
        ({"A": {"value": "x", "scope": "prod"}}, "unknown setting scope"),
        ({"A": {"value": "x", "masked": "perhaps"}}, "neither true nor false"),
        ({"A": [{"value": "x"}, {"value": "y"}]}, "twice"),
    ],
)
def test_malformed_variables_are_refused(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(CheckinFailed, match=problem):
        request.read_variables(written)


def test_only_what_differs_is_changed_and_only_what_was_ours_is_removed() -> None:
    def variable(key: str, value: str, scope: str = "*") -> dict[str, Any]:
        return variables.attributes(key, value, scope, protected=False, masked=False)

    hers = variable("HERS", "kept")
    existing = [
        variable("SAME", "1") | {"description": None},
        variable("CHANGED", "1"),
        variable("UNMASKED", "12345678"),
        variable("SCOPED", "1", "staging"),
        variable("GONE", "1"),
        hers,
    ]
    masked = variables.attributes("UNMASKED", "12345678", "*", protected=False, masked=True)
    requested = [variable("SAME", "1"), variable("CHANGED", "2"), masked, variable("SCOPED", "1", "prod")]
    withdrawn = [("GONE", "*"), ("SCOPED", "staging"), ("SAME", "*"), ("NEVER_THERE", "*")]

    plan = variables.plan(existing, requested, withdrawn)

    assert plan.create == [variable("SCOPED", "1", "prod")]
    assert plan.update == [variable("CHANGED", "2"), masked]
    assert plan.delete == [("GONE", "*"), ("SCOPED", "staging")]


def test_an_entry_is_picked_from_a_secret_that_holds_json() -> None:
    assert aws.pick("plain", None, "s") == "plain"
    assert aws.pick('{"token": "glpat-1"}', "token", "s") == "glpat-1"
    for text in ("plain", '{"other": "glpat-1"}', '["token"]', '{"token": 1}'):
        with pytest.raises(CheckinFailed, match="secret s is not a JSON object with an entry 'token'") as caught:
            aws.pick(text, "token", "s")
        assert "glpat" not in str(caught.value)


# --- reasons and answers ----------------------------------------------------------------------------------------------


def refusal(kind: type[gitlab.GitlabError], code: int, body: Any) -> gitlab.GitlabError:
    raw = json.dumps(body).encode()
    return kind(body.get("message") or body.get("error"), code, raw)


def test_reasons_name_the_cause() -> None:
    expired = {"error": "invalid_token", "error_description": "Token is expired."}
    name_taken = {"message": {"name": ["has already been taken"], "path": ["has already been taken"]}}
    wrapped = requests.ConnectionError(Exception("Max retries exceeded", ConnectionRefusedError(111, "refused")))
    for error, part in (
        (CheckinFailed("as it is"), "as it is"),
        (refusal(gitlab.GitlabAuthenticationError, 401, expired), "expired or revoked (Token is expired.)"),
        (refusal(gitlab.GitlabCreateError, 403, {"error": "insufficient_scope"}), "lacks the scope api"),
        (refusal(gitlab.GitlabCreateError, 400, name_taken), "the name is taken"),
        (refusal(gitlab.GitlabCreateError, 400, {"message": "prohibited by rule"}), "answered 400: prohibited by rule"),
        (gitlab.GitlabGetError(b"<html>Bad gateway</html>", 502, b"<html>Bad gateway</html>"), "answered 502"),
        (gitlab.GitlabParsingError("no JSON"), "server URL right?"),
        (requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "self-signed")), "self-signed"),
        (requests.exceptions.SSLError(ssl.SSLError(1, "wrong version number")), "GitLab cannot be reached: "),
        (requests.TooManyRedirects("Exceeded 0 redirects."), "redirects to another address"),
        (requests.ConnectTimeout("timed out"), "does not answer"),
        (wrapped, "GitLab cannot be reached"),
        (ClientError({"Error": {"Code": "NoSuchKey", "Message": "no key"}}, "GetObject"), "does not exist (no key)"),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject"), "AWS answered AccessDenied"),
        (KeyError("StackId"), "unexpected KeyError"),
    ):
        assert part in reasons.explain(error)
    assert "<html>" not in reasons.explain(gitlab.GitlabGetError(b"<html>Bad gateway</html>", 502, b"<html>"))


def test_an_answer_says_what_cloudformation_wants_to_know_and_stays_below_four_kilobytes() -> None:
    event = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "SeedCheckin", "ResponseURL": "secret"}
    done = answer.Outcome(True, "build-1-deploy-2", attributes={"ModelBuildProjectId": "1"})
    assert json.loads(answer.body(event, done)) == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "build-1-deploy-2",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "SeedCheckin",
        "Reason": "",
        "Data": {"ModelBuildProjectId": "1"},
    }
    for character in "x", "ü", "\U0001f4a5":
        failed = answer.body(event, answer.Outcome(False, "not-created", character * 10_000))
        assert len(failed) <= answer.MAX_BYTES
        assert json.loads(failed)["Reason"].startswith(character * 80)


def test_the_address_of_the_answer_says_when_cloudformation_asked() -> None:
    address = "https://bucket.s3.eu-west-1.amazonaws.com/key?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    assert answer.asked_at(f"{address}&X-Amz-Date=20260102T030405Z&X-Amz-Expires=7200") == 1767323045
    assert answer.asked_at(f"{address}&Expires=1767330245") is None
    assert answer.asked_at(address) is None


def test_no_time_is_no_time() -> None:
    with pytest.raises(handler.OutOfTime), handler.time_limit(0):
        pytest.fail("it began")


def test_the_time_limit_stops_what_no_library_may_catch() -> None:
    def work() -> None:
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001 - what a library with retries does
            pytest.fail("the limit was taken for an error")

    began = time.monotonic()
    with pytest.raises(handler.OutOfTime), handler.time_limit(0.1):
        work()
    assert time.monotonic() - began < 2
    with handler.time_limit(0.05):
        pass
    time.sleep(0.1)  # nothing comes after

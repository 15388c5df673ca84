"""The components come from one source: what is generated is current, and a new one is a line, a body and a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components import table
from components.__main__ import files
from tests.support.checkout import ENVIRON, ROOT, copy, git

COMMAND = '''\
"""`announcement`: only there to be a command."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", required=True, help="the stage that is removed")


def run(arguments: argparse.Namespace) -> None:
    raise NotImplementedError
'''
BODY = """\
{% extends "shared/job.yml.j2" %}
{% set command = "announcement --stage staging" %}
{% set heading = "what is removed" %}
{% set inputs = ["model_package_arn", "build_job_name", "poll_seconds"] %}
{% set defaults = {"timeout": "20m", "environment": "staging"} %}
{% block purpose %}
# Removes the staging endpoint when somebody asks for it.
{% endblock %}
{% block environment %}
    action: stop
{% endblock %}
{% block rules %}
        - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
          when: manual
{% endblock %}
{% block checkout %}
    GIT_STRATEGY: empty
{% endblock %}
"""
SMALLEST_BODY = """\
{% extends "shared/job.yml.j2" %}
{% set command = "doctor" %}
{% set inputs = [] %}
{% set defaults = {"timeout": "5m", "environment": "staging"} %}
{% block purpose %}
# Looks at everything that the jobs depend on.
{% endblock %}
"""
PIPELINE = """\
{% extends "shared/pipeline.yml.j2" %}
{% set heading = "what is removed" %}
{% block purpose %}
# The whole pipeline of a repository that removes.
{% endblock %}
"""


def test_the_table_says_only_what_the_generator_reads() -> None:
    assert {spec.get("becomes") for spec in table.INPUTS.values()} == {None, "keyword", "expanded", "text"}
    assert len(table.INPUTS) == len(table.COMMON) + len(table.OWN) + len(table.OF_A_PIPELINE), "each input once"
    assert {part for parts in table.PIPELINES.values() for part in parts} <= table.JOBS.keys()


def test_every_generated_file_is_current() -> None:
    stale = [str(path) for path, text in files().items() if (ROOT / path).read_text() != text]
    assert stale == [], "edited by hand, or older than components/: run `make generate`"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRON, capture_output=True, text=True, check=False)


def insert(file: Path, before: str, line: str) -> None:
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, f"{line}\n{before}"))


def add_body(folder: Path, component: str, body: str) -> None:
    (folder / "components" / component).mkdir()
    (folder / "components" / component / "template.yml.j2").write_text(body)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with a component of one job more, and a pipeline that ends with it."""
    folder = copy(tmp_path_factory.mktemp("project"))
    # The three things that a new component takes: a line in the table, a body, and its command.
    insert(
        folder / "components/inputs.yml",
        "\n# A component that is the whole",
        "  announcement: remove the staging endpoint",
    )
    add_body(folder, "announcement", BODY)
    insert(
        folder / "ci_scripts/cli.py",
        '    "doctor": (',
        '    "announcement": ("ci_scripts.announcement.command", "remove"),',
    )
    (folder / "ci_scripts/announcement").mkdir()
    (folder / "ci_scripts/announcement/command.py").write_text(COMMAND)
    # And a pipeline: a line and a body.
    insert(
        folder / "components/inputs.yml", "\n# Jobs that a pipeline has when", "  model-removal: [build, announcement]"
    )
    add_body(folder, "model-removal", PIPELINE)
    # The smallest one: no inputs of its own, and a command that is there.
    insert(folder / "components/inputs.yml", "\n# A component that is the whole", "  examination: see what is missing")
    add_body(folder, "examination", SMALLEST_BODY)
    for program in ("components", "release.docs"):  # make generate
        done = run(folder, program)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_new_component_is_in_every_list(project: Path) -> None:
    job = yaml.safe_load((project / "release/self-test.yml").read_text())
    for component in ("announcement", "model-removal", "examination"):
        assert (project / "templates" / component / "template.yml").is_file()
        assert f"/{component}@" in (project / "templates" / component / "README.md").read_text()
        assert f"\n## {component}\n" in (project / "docs/reference/components.md").read_text()
        assert f"[`{component}`](templates/{component}/README.md)" in (project / "README.md").read_text()
        assert f"- [{component}](../templates/{component}/README.md)" in (project / "docs/README.md").read_text()
        assert component in json.loads((project / "ci_scripts/doctor/components.json").read_text())
        assert f"$CI_SERVER_FQDN/$CI_PROJECT_PATH/{component}@$CI_COMMIT_SHA" in [
            include["component"] for include in job["include"]
        ]
    assert "\n## sagemaker-ci announcement\n" in (project / "docs/reference/commands.md").read_text()
    assert {
        "self-test-announcement", "self-test-manual-announcement", "self-test-model-removal-announcement"
    } < set(job["self-test"]["needs"])  # fmt: skip


def test_a_new_component_changes_no_other(project: Path) -> None:
    for component in table.NAMES:
        path = table.template(component)
        assert (project / path).read_bytes() == (ROOT / path).read_bytes()


def test_a_new_component_keeps_what_every_component_promises(project: Path) -> None:
    names = ("templates", "templates_rendered", "release_pipeline", "docs")
    tests = [f"tests/contract/test_{name}.py" for name in names]
    new = "announcement or removal or examination or every_component or generated"
    done = run(project, "pytest", "-q", *tests, "-k", new)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(tmp_path_factory.mktemp("copied"))


@pytest.fixture
def pristine(copied: Path) -> Path:
    """A copy of this project as it stands."""
    git(copied, "reset", "--quiet", "--hard")
    git(copied, "clean", "--quiet", "--force", "-dx")
    return copied


def test_an_edit_by_hand_turns_a_test_red_that_says_what_to_run(pristine: Path) -> None:
    edited = pristine / "templates/build/template.yml"
    edited.write_text(
        edited.read_text().replace("timeout: 15m", "timeout: 16m").replace("default: 15m", "default: 16m")
    )
    done = run(pristine, "pytest", "-q", "tests/contract/test_generate.py", "-k", "current")
    assert done.returncode == 1
    assert "templates/build/template.yml" in done.stdout
    assert "make generate" in done.stdout
    assert run(pristine, "components").returncode == 0
    assert edited.read_text() == (ROOT / "templates/build/template.yml").read_text()


WITHOUT_TIMEOUT = BODY.replace('"timeout": "20m", ', "")
A_JOB = ("\n# A component that is the whole", "  new: does something")
A_PIPELINE = ("\n# Jobs that a pipeline has when", "  new: [training, build]")


@pytest.mark.parametrize(
    ("line", "body", "message"),
    [
        (None, BODY, "inputs.yml does not list new"),
        (A_JOB, None, "components/new/template.yml.j2 does not exist"),
        (
            A_JOB,
            BODY.replace("poll_", "pol_"),
            "new/template.yml.j2: the body names inputs that inputs.yml does not have",
        ),
        (A_JOB, WITHOUT_TIMEOUT, "new/template.yml.j2: the body has no default for timeout"),
        (A_JOB, BODY.replace("command", "comand"), "new/template.yml.j2: 'command' is undefined"),
        (A_JOB, BODY.replace("endblock", "endblok"), "new/template.yml.j2: Encountered unknown tag 'endblok'"),
        (A_PIPELINE, PIPELINE, "new/template.yml.j2: training and build differ in the input image: "),
    ],
)
def test_what_cannot_become_a_component_is_refused_in_one_line(
    pristine: Path, line: tuple[str, str] | None, body: str | None, message: str
) -> None:
    if line:
        insert(pristine / "components/inputs.yml", *line)
    if body:
        add_body(pristine, "new", body)
    done = run(pristine, "components")
    assert done.returncode == 1
    assert message in done.stderr
    assert (done.stderr.startswith("error: "), done.stderr.count("\n")) == (True, 1)
    assert git(pristine, "status", "--porcelain", "templates", "docs", "release", "README.md") == "", (
        "nothing is written"
    )


def test_a_default_is_written_as_yaml_reads_it_back(pristine: Path) -> None:
    table_file = pristine / "components/inputs.yml"
    table_file.write_text(table_file.read_text().replace("default: quality.yml", 'default: "a: [1] # no comment"'))
    assert run(pristine, "components").returncode == 0
    header = next(yaml.safe_load_all((pristine / "templates/build/template.yml").read_text()))
    assert header["spec"]["inputs"]["quality"]["default"] == "a: [1] # no comment"

"""The documentation: what is generated is current, what is linked is there, what is shown exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
import yaml

from ci_scripts import __version__, errors
from ci_scripts.settings import STAGES
from release import docs
from tests.support.documented_commands import PAGES

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
COMPONENT = "$CI_SERVER_FQDN/mlops/sagemaker-components/"


def test_the_generated_pages_say_what_the_code_says() -> None:
    stale = [str(path) for path, text in docs.pages().items() if (ROOT / path).read_text() != text]
    assert stale == [], "run: make generate"


def test_the_generated_pages_do_not_depend_on_the_variables_of_whoever_writes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = docs.commands_page()
    for name in sorted(set(re.findall(r"`((?:SMCI|CI|AWS)_\w+)`", page))):
        monkeypatch.setenv(name, "of-this-machine")
    assert docs.commands_page() == page


def test_every_error_has_a_code_of_its_own_a_meaning_and_a_hint() -> None:
    classes = errors.SagemakerCiError.__subclasses__()
    assert len({each.code for each in classes}) == len(classes)
    assert all(each.__doc__ and each.hint for each in classes)


# --- links ----------------------------------------------------------------------------------------------------------


def _without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitLab makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_relative_link_is_dead(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", _without_code(page.read_text()))
    dead = []
    for link in [link for link in links if not re.match(r"[a-z]+:", link)]:
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_can_be_reached_from_the_front_page() -> None:
    index, front = ROOT / "docs/README.md", (ROOT / "README.md").read_text()
    assert "(docs/README.md)" in front
    listed = index.read_text()
    assert [str(page) for page in DOCS if page != index and f"({page.relative_to(index.parent)})" not in listed] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "STYLE.md", ".gitlab/CODEOWNERS"])
def test_a_file_that_contributors_are_sent_to_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    pattern = r"^/(\S+)$" if name.endswith("CODEOWNERS") else r"`((?:[\w.-]+/)+[\w.-]*)`"
    paths = set(re.findall(pattern, text, re.MULTILINE))
    assert paths or name == "STYLE.md"
    folders = (ROOT, ROOT / "tests")
    assert [path for path in sorted(paths) if not any((folder / path).exists() for folder in folders)] == []


_HOUSE = (
    "bench ci_scripts components docs examples infra release requirements sandbox seed-build seed-deploy"
    " templates tests"
)
_PATH = re.compile(
    rf"(?<![\w/.-])((?:{'|'.join(_HOUSE.split())})/[\w./-]+\.(?:py|ya?ml|md|json|j2|txt|html|sh))(?![\w-])"
)
_OF_OTHERS = {
    "tests/photos.py",
    "templates/a.yml",
    "tests/fixtures/releases/1.2.3.yml",
}  # a user's, a scene's, a release's


def test_a_file_that_a_page_or_a_module_names_is_there() -> None:
    """Tests name files that they make, so they are left out; the seeds' own paths begin in their own folder."""
    modules = [path for folder in _HOUSE.split() if folder != "tests" for path in (ROOT / folder).rglob("*.py")]
    folders = (ROOT, ROOT / "seed-build", ROOT / "seed-deploy", *ROOT.glob("examples/*/model-*"))
    missing = {
        f"{file.relative_to(ROOT)}: {path}"
        for file in (*PAGES, *modules, *(ROOT / "components").rglob("*.j2"), *(ROOT / "infra").glob("*.yml"))
        for path in _PATH.findall(file.read_text(encoding="utf-8"))
        if path not in _OF_OTHERS and not any((folder / path).exists() for folder in folders)
    }
    assert missing == set()


# --- examples -------------------------------------------------------------------------------------------------------


def _examples(language: str) -> list[Any]:
    fence = re.compile(rf"^( *)```{language}\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    examples = []
    for page in PAGES:
        for indent, text in fence.findall(page.read_text()):
            examples.append(
                pytest.param(re.sub(rf"^{indent}", "", text, flags=re.MULTILINE), id=f"{page.parent.name}/{page.name}")
            )
    return examples


@pytest.mark.parametrize("text", _examples("yaml"))
def test_a_yaml_example_includes_components_with_inputs_that_they_have(text: str) -> None:
    for document in yaml.safe_load_all(text):
        includes = document.get("include", []) if isinstance(document, dict) else []
        for include in [include for include in includes if include.get("component", "").startswith(COMPONENT)]:
            name = include["component"].removeprefix(COMPONENT).partition("@")[0]
            header = next(yaml.safe_load_all((ROOT / "templates" / name / "template.yml").read_text()))
            assert set(include.get("inputs", {})) <= set(header["spec"]["inputs"]), name
            # Where the components are elsewhere, one word is replaced wherever it stands, and the images are found.
            assert include["inputs"]["image_registry"] == "$CI_REGISTRY/mlops/sagemaker-components", name


CONFIGURATIONS = [*ROOT.glob("seed-*/.gitlab-ci.yml"), *ROOT.glob("examples/**/.gitlab-ci.yml")]


@pytest.mark.parametrize("text", [*_examples("yaml"), *(path.read_text() for path in CONFIGURATIONS)])
def test_an_input_that_may_be_empty_has_no_pattern(text: str) -> None:
    """An empty string passes no `regex` in older versions of GitLab: no pipeline would start."""
    header = next(iter(yaml.safe_load_all(text)), None)
    inputs = (header.get("spec") or {}).get("inputs") or {} if isinstance(header, dict) else {}
    assert [name for name, each in inputs.items() if each and "regex" in each and not each.get("default", "x")] == []


@pytest.mark.parametrize("text", _examples("yaml"))
def test_an_example_of_quality_yml_is_valid(text: str) -> None:
    schema = json.loads((ROOT / "docs/reference/schemas/quality.schema.json").read_text())
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and {"data", "checks"} & set(document):
            jsonschema.validate(document, schema)


@pytest.mark.parametrize("text", [*_examples("json"), *_examples("python")])
def test_a_json_or_python_example_can_be_read(text: str) -> None:
    if text.lstrip().startswith("{"):
        json.loads(text)
    else:
        compile(text, "example", "exec")


def test_renovate_finds_every_component_of_the_seeds_by_the_pattern_that_the_guide_shows() -> None:
    page = (ROOT / "docs/guides/run-for-many-teams.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    [manager] = json.loads(example)["customManagers"]
    [file], [dependency] = manager["managerFilePatterns"], manager["matchStrings"]
    assert re.search(file.strip("/"), ".gitlab-ci.yml")
    pattern = dependency.replace("(?<", "(?P<")  # as JavaScript writes names of groups
    for seed in ROOT.glob("seed-*/.gitlab-ci.yml"):
        text = seed.read_text()
        matches = [(match["depName"], match["currentValue"]) for match in re.finditer(pattern, text)]
        assert matches == [("mlops/sagemaker-components", __version__)] * text.count("component: ")


def test_the_seeds_configurations_are_valid_and_lead_editors_to_their_schemas() -> None:
    seed = ROOT / "seed-deploy"
    for stage in STAGES:
        content = json.loads((seed / f"{stage}-config.json").read_text())
        jsonschema.validate(content, json.loads((seed / content["$schema"]).read_text()))
    text = (seed / "quality.yml").read_text()
    (path,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text.splitlines()[0])
    jsonschema.validate(yaml.safe_load(text), json.loads((seed / path).read_text()))


CONFIGURATIONS = [*ROOT.glob("examples/**/*-config.json"), *ROOT.glob("examples/**/quality.yml")]


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_examples_configurations_are_valid_and_lead_editors_to_the_seeds_schemas(path: Path) -> None:
    name = "quality" if path.name == "quality.yml" else "stage-config"
    schema = ROOT / "seed-deploy" / ".schemas" / f"{name}.schema.json"
    assert f"./.schemas/{schema.name}" in path.read_text()
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema.read_text()))


# --- variables ------------------------------------------------------------------------------------------------------


_VARIABLE = r"(?:AWS|SAGEMAKER|ARTIFACT|MODEL|CLOUDFORMATION|POLL|GITLAB)_[A-Z_]+"
# What we tell botocore and the SageMaker SDK: nobody sets them in GitLab.
_INTERNAL = {"AWS_DEFAULT_REGION", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "SAGEMAKER_VALIDATE_ROLE"}


def test_every_variable_that_the_code_names_is_documented() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "ci_scripts").rglob("*.py"))
    names = set(re.findall(rf'"({_VARIABLE})"', sources)) - _INTERNAL
    page = (ROOT / "docs/reference/variables.md").read_text()
    assert len(names) > 10
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_every_variable_of_the_readmes_is_documented() -> None:
    page = (ROOT / "docs/reference/variables.md").read_text()
    for readme in PAGES:
        names = re.findall(rf"`({_VARIABLE})`", readme.read_text())
        if readme.name != "migrating.md":  # names those of the sample, too
            assert [name for name in sorted(set(names)) if f"`{name}`" not in page] == [], readme

"""This project's own pipeline, rendered as GitLab would: which jobs a commit, a merge request and a tag get, and how.

What it needs a container engine for is checked here by reading: the Dockerfile by hadolint, the rest by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import yaml

from components import self_test, table
from release import package, versions
from sandbox.gitlab.config.compiler import compile_pipeline
from sandbox.gitlab.config.errors import InvalidConfiguration, NoPipeline
from sandbox.gitlab.config.includes import merged
from sandbox.gitlab.config.substitution import Variable
from sandbox.gitlab.config.surroundings import Source, Surroundings
from sandbox.gitlab.records.git import Repository
from sandbox.gitlab.records.jobspec import CompiledJob
from tests.support import release_programs
from tests.support.checkout import ROOT, copy

PATH = "mlops/sagemaker-components"
IMAGES = ("deploy", "training-sdk-v3", "training-sdk-v2", "image-build")
WAITING = self_test.waiting()
TESTS = {"lint", "unit", "contract", "product", "sandbox", "browser"}
DEMOS = {f"demo: [{version}]" for version in ("3.11.0", "3.11.2", "3.14")}  # the oldest and the newest Python
BUILDS = {"wheel", "images"}
SITE = {"pages"}
RELEASE = {"version", "sign", "publish-package", "publish-images", "release"}
BRANCH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event"}
TAG = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "1.2.3"}

Jobs = dict[str, CompiledJob]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = copy(tmp_path_factory.mktemp("project"))
    return Repository(folder / ".git")


class Changed:
    """The repository, one text in its templates replaced by another."""

    def __init__(self, repository: Repository, old: str, new: str) -> None:
        self.repository, self.old, self.new = repository, old, new
        self.resolve, self.tree = repository.resolve, repository.tree

    def read(self, ref: str, path: str) -> bytes | None:
        content = self.repository.read(ref, path)
        return content and content.replace(self.old.encode(), self.new.encode())


def pipeline(repository: Repository, variables: dict[str, str], change: tuple[str, str] | None = None) -> Jobs:
    """The jobs that GitLab would make of `.gitlab-ci.yml`."""
    return _pipeline(repository, tuple(variables.items()), change)


@cache
def _pipeline(repository: Repository, variables: tuple[tuple[str, str], ...], change: tuple[str, str] | None) -> Jobs:
    sha = repository.resolve("main") or ""
    predefined = {
        "CI_SERVER_FQDN": "gitlab.example.com",
        "CI_PROJECT_PATH": PATH,
        "CI_DEFAULT_BRANCH": "main",
        "CI_COMMIT_SHA": sha,
        "CI_REGISTRY_IMAGE": f"registry.example.com/{PATH}",
        "BUILD_IMAGES": "true",
        "CI_SERVER_HOST": "gitlab.com",
        "CI_PROJECT_VISIBILITY": "public",
        **dict(variables),
    }
    settings = {name: predefined.pop(name) for name in ("BUILD_IMAGES", "COSIGN_PRIVATE_KEY") if name in predefined}
    files = Changed(repository, *change) if change else repository
    source = Source(PATH, files, sha)
    around = Surroundings(
        predefined,
        source,
        stronger_variables=lambda environment: [Variable(*item) for item in settings.items()],
        find_project={PATH: files}.get,
    )
    compiled = compile_pipeline(merged(source, ".gitlab-ci.yml", {}, around), around)
    return {job.name: job for job in compiled.jobs}


@pytest.fixture(scope="module")
def of_a_tag(repository: Repository) -> Jobs:
    return pipeline(repository, TAG)


def without_components(jobs: Jobs) -> set[str]:
    return {name for name in jobs if not name.startswith("self-test")}


def test_a_commit_and_a_merge_request_are_tested_and_publish_nothing(repository: Repository) -> None:
    assert without_components(pipeline(repository, MERGE_REQUEST)) == TESTS | DEMOS | BUILDS
    assert without_components(pipeline(repository, BRANCH)) == TESTS | DEMOS | BUILDS | SITE


def test_a_tag_is_tested_the_same_and_then_released(repository: Repository, of_a_tag: Jobs) -> None:
    assert without_components(of_a_tag) == TESTS | DEMOS | BUILDS | RELEASE
    tested = {name for name in pipeline(repository, MERGE_REQUEST) if not name.endswith("-cleanup")}
    assert of_a_tag.keys() - RELEASE == pipeline(repository, BRANCH).keys() - SITE == tested


def test_the_default_branch_publishes_the_documentation(repository: Repository) -> None:
    config = pipeline(repository, BRANCH)["pages"].config
    assert "make site SITE=public" in config["script"]
    assert config["artifacts"]["paths"] == ["public"], "what GitLab Pages publishes"


def test_the_tests_end_soon_or_fail(repository: Repository) -> None:
    jobs = pipeline(repository, MERGE_REQUEST)
    limits = {name: jobs[name].config["timeout"] for name in ("unit", "contract", "product", "sandbox")}
    assert limits == {"unit": 5 * 60, "contract": 5 * 60, "product": 20 * 60, "sandbox": 20 * 60}


@pytest.mark.parametrize("variables", [{**TAG, "CI_COMMIT_TAG": "v1.2.3"}, {**BRANCH, "CI_COMMIT_BRANCH": "feature"}])
def test_other_tags_and_branches_have_no_pipeline(repository: Repository, variables: dict[str, str]) -> None:
    with pytest.raises(NoPipeline):
        pipeline(repository, variables)


def test_a_project_without_a_container_engine_releases_the_package_alone(repository: Repository) -> None:
    jobs = pipeline(repository, TAG | {"BUILD_IMAGES": "false"})
    assert jobs.keys() == (TESTS | DEMOS | BUILDS | RELEASE) - {"images", "publish-images"}


@pytest.mark.parametrize(
    ("variables", "signed"),
    [
        ({"CI_SERVER_HOST": "gitlab.com", "CI_PROJECT_VISIBILITY": "public"}, True),
        # Keyless would write the names of a private project into a public log.
        ({"CI_SERVER_HOST": "gitlab.com", "CI_PROJECT_VISIBILITY": "private"}, False),
        # Sigstore issues certificates for GitLab.com's tokens alone.
        ({"CI_SERVER_HOST": "git.example.com", "CI_PROJECT_VISIBILITY": "public"}, False),
        ({"CI_SERVER_HOST": "git.example.com", "COSIGN_PRIVATE_KEY": "-----BEGIN A KEY-----\nk"}, True),
        # A variable that somebody has emptied is true in GitLab.
        ({"CI_SERVER_HOST": "git.example.com", "COSIGN_PRIVATE_KEY": ""}, False),
    ],
)
def test_a_release_is_signed_where_that_works_and_gives_nothing_away(
    repository: Repository, variables: dict[str, str], signed: bool
) -> None:
    assert ("sign" in pipeline(repository, TAG | variables)) == signed


def test_the_job_that_publishes_to_the_catalog_has_the_templates(of_a_tag: Jobs) -> None:
    """glab looks for them in the job's folder: https://docs.gitlab.com/ci/components/#publish-a-new-release"""
    assert of_a_tag["release"].variables.get("GIT_STRATEGY", "fetch") == "fetch"


def test_a_release_waits_for_every_test_and_every_component(of_a_tag: Jobs) -> None:
    before = max(job.stage_index for name, job in of_a_tag.items() if name not in {*RELEASE} - {"version"})
    for name in RELEASE - {"version"}:
        assert of_a_tag[name].stage_index > before
        assert of_a_tag[name].needs is None, f"{name}: with `needs` it would not wait for the stages before it"
    order = ["sign", "publish-package", "release"]
    assert [of_a_tag[name].stage_index for name in order] == sorted({of_a_tag[name].stage_index for name in order})
    assert {name for name, job in of_a_tag.items() if job.allow_failure} == WAITING


def test_every_component_is_included_from_the_commit_under_test(repository: Repository, of_a_tag: Jobs) -> None:
    text = (ROOT / "release" / "self-test.yml").read_text()
    included = re.findall(r"component: \$CI_SERVER_FQDN/\$CI_PROJECT_PATH/([\w-]+)@\$CI_COMMIT_SHA\n", text)
    assert set(included) == set(table.NAMES)
    tested = [job for name, job in of_a_tag.items() if name.startswith("self-test-")]
    assert {job.name for job in tested} == self_test.jobs().keys()
    for job in tested:
        command = job.config["script"][-1].removeprefix("sagemaker-ci ").partition(" ")[0]
        image = {"run-pipeline": "training-sdk-v3", "image-build": "image-build"}.get(command, "deploy")
        assert job.config["image"]["name"] == f"$CI_REGISTRY_IMAGE/{image}:$CI_PIPELINE_ID"
        assert job.stage in ("components", "deploy-components")
        assert job.when == ("manual" if job.name in WAITING else "on_success")
        assert job.config["environment"]["name"].startswith("self-test"), "never an environment of somebody's model"


def test_a_rule_of_a_component_that_leaves_a_job_out_stops_the_release(repository: Repository, of_a_tag: Jobs) -> None:
    """As happened with an empty ARN: the components come with their own rules, and one job needs all of theirs."""
    needed = {need.job for need in of_a_tag["self-test"].needs or ()}
    assert needed == {name for name in of_a_tag if name.startswith("self-test-")}
    by_themselves = [job for each in self_test.includes() if not each.replaces_rules for job in each.jobs]
    for name in by_themselves:
        assert any("$CI_DEFAULT_BRANCH" in rule.get("if", "") for rule in of_a_tag[name].config["rules"]), name
    change = ("$SMCI_MODEL_PACKAGE_ARN =~ /^arn:/ &&", "$SMCI_MODEL_PACKAGE_ARN !~ /^arn:/ ||")
    with pytest.raises(InvalidConfiguration, match=r"'self-test' job needs 'self-test-build' job, but .* not exist"):
        pipeline(repository, TAG, change)


def test_each_file_follows_gitlabs_schema() -> None:
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/gitlab-ci.json").read_text())
    for name in (".gitlab-ci.yml", "release/self-test.yml"):
        jsonschema.validate(yaml.safe_load((ROOT / name).read_text()), schema)


def test_a_job_that_may_publish_installs_no_package_of_others(of_a_tag: Jobs) -> None:
    script = " ".join(of_a_tag["publish-package"].config["script"])
    assert script == "python3 -m release publish dist"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import release.__main__"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert loaded.returncode == 0, "the release commands need nothing but Python\n" + loaded.stderr


def test_the_release_links_the_files_that_are_built(of_a_tag: Jobs) -> None:
    release = of_a_tag["release"].config["release"]
    assert release["tag_name"] == "$CI_COMMIT_TAG"
    assert release["description"] in of_a_tag["version"].config["artifacts"]["paths"]
    linked = {link["url"].removeprefix("$FILES/") for link in release["assets"]["links"]}
    built = {f"sagemaker-ci-$CI_COMMIT_TAG{suffix}" for suffix in package.SUFFIXES.values()}
    assert linked == {f"{name}{kind}" for name in built for kind in ("-requirements.txt", ".cdx.json")}


def test_the_components_install_the_files_that_are_built() -> None:
    for template in (ROOT / "templates").glob("*/template.yml"):
        text = template.read_text()
        for name in re.findall(r"/packages/generic/sagemaker-ci/\S+/(\S+\.txt)", text):
            named = {name.replace("$SMCI_SAGEMAKER_SDK", sdk) for sdk in ("v3", "v2")}
            images = ("training-sdk-v3", "training-sdk-v2") if "run-pipeline" in text else ("deploy",)
            if "sagemaker-ci-$SMCI_COMPONENT_VERSION-image-build" in text:
                images = ("image-build",)
            suffixes = [package.SUFFIXES[image] for image in images]
            assert named == {f"sagemaker-ci-$SMCI_COMPONENT_VERSION{suffix}-requirements.txt" for suffix in suffixes}


# --- the images -------------------------------------------------------------------------------------------------------


def test_the_dockerfile_has_no_finding() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def stages() -> dict[str, list[str]]:
    """The Dockerfile's stages: name → instructions, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    lines_by_stage: dict[str, list[str]] = {"": []}
    for line in lines:
        if line.startswith("FROM "):
            lines_by_stage[line.split(" AS ")[1]] = []
        list(lines_by_stage.values())[-1].append(line)
    return lines_by_stage


def test_the_images_hold_hash_checked_packages_and_run_as_nobody_special() -> None:
    for target in IMAGES:
        built, final = stages()[f"{target}-packages"], stages()[target]
        assert f"COPY requirements/{target}.txt requirements/" in built
        (install,) = [line for line in built if "pip install" in line and "--requirement" in line]
        assert "--require-hashes" in install
        assert final[-1] == "USER 1000:1000"
        assert [line for line in final if line.startswith(("RUN", "ADD"))] == []
        assert f"COPY --from={target}-packages /install /usr/local" in final
    assert "sagemaker" not in re.findall(r"^([\w-]+)==", (ROOT / "requirements/deploy.txt").read_text(), re.MULTILINE)


def test_a_runner_finds_its_shell_and_a_person_the_help() -> None:
    base = stages()["base"]
    assert "ENTRYPOINT []" in base
    assert 'CMD ["sagemaker-ci", "--help"]' in base


def test_the_images_say_what_they_are() -> None:
    labels = " ".join(line for name in ("base", "deploy") for line in stages()[name] if line.startswith("LABEL"))
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)) == {
        "title", "description", "version", "revision", "source", "licenses",
    }  # fmt: skip


def test_the_base_of_the_images_is_pinned_and_the_pipeline_pins_the_same() -> None:
    (pinned,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    variables = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["variables"]
    assert variables["PYTHON_IMAGE"].replace("${PYTHON_VERSION}", variables["PYTHON_VERSION"]) == pinned
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", pinned)
    (builder,) = re.findall(r"^ARG BUILDKIT_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"moby/buildkit:v\d+\.\d+\.\d+-rootless", builder)


def test_the_build_context_holds_what_the_dockerfile_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    in_context = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [line.split()[1:-1] for stage in stages().values() for line in stage if re.match(r"COPY (?!--from)", line)]
    assert "*" in lines
    assert in_context == {re.sub(r"/[\w-]+\.txt$", "/*.txt", name) for names in copied for name in names}


# --- what the scripts do, with stand-ins for docker and cosign --------------------------------------------------------


class Place(NamedTuple):
    """A checkout of the job; the programs in `programs` write to `log` how they were called."""

    folder: Path
    programs: Path
    log: Path

    def run(self, script: str, *arguments: str, **variables: str) -> list[str]:
        """Run a script of release/ as a job does; the calls it made."""
        environ = {
            "PATH": f"{self.programs}:/usr/bin:/bin", "CI_REGISTRY_IMAGE": "r/x", "CI_REGISTRY": "r",
            "CI_REGISTRY_USER": "ci", "CI_REGISTRY_PASSWORD": "secret", "CI_COMMIT_SHA": "c0ffee",
            "CI_COMMIT_TAG": "1.2.3", "CI_PIPELINE_ID": "41", "CI_PROJECT_URL": "https://git.example.com/x",
            "PYTHON_IMAGE": "python@sha256:123", **variables,
        }  # fmt: skip
        before = len(self.log.read_text().splitlines())
        command = ["sh", str(ROOT / "release" / script), *arguments]
        subprocess.run(command, cwd=self.folder, env=environ, check=True, capture_output=True)
        return self.log.read_text().splitlines()[before:]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "checkout"
    (folder / "ci_scripts").mkdir(parents=True)
    (folder / versions.SOURCE).write_text((ROOT / versions.SOURCE).read_text())
    return Place(folder, tmp_path / "programs", release_programs.write(tmp_path / "programs"))


def digest(number: int) -> str:
    """The digest of the image that the stand-in built as its `number`th."""
    return f"sha256:{number:064x}"


def test_the_images_are_built_with_a_bill_of_materials_and_provenance(place: Place) -> None:
    built = place.run("images.sh", "build")
    for call, target in zip(built, IMAGES, strict=True):
        assert f" buildx build . --target {target} --tag r/x/{target}:41 " in call
        assert f"VERSION={versions.current(ROOT)} " in call
        assert "--build-arg REVISION=c0ffee" in call
        assert "--sbom=true --provenance=mode=max" in call


def test_the_images_of_a_release_are_those_that_its_own_pipeline_has_built(place: Place, tmp_path: Path) -> None:
    """Pushes of a branch and of a tag build the same commit at the same time."""
    place.run("images.sh", "build")
    other = Place(tmp_path / "other", place.programs, place.log)
    (other.folder / "ci_scripts").mkdir(parents=True)
    (other.folder / versions.SOURCE).write_text((ROOT / versions.SOURCE).read_text())
    other.run("images.sh", "build", CI_PIPELINE_ID="42")
    assert place.run("images.sh", "publish") == [
        f"docker buildx imagetools create --tag r/x/{target}:1.2.3 r/x/{target}@{digest(number)}"
        for number, target in enumerate(IMAGES, 1)
    ]


def test_every_file_and_every_image_of_a_release_is_signed(place: Place) -> None:
    place.run("images.sh", "build")
    (place.folder / "dist").mkdir()
    for name in ("a.whl", "b.txt"):
        (place.folder / "dist" / name).touch()
    assert place.run("sign.sh") == [
        "cosign sign-blob --yes --bundle dist/a.whl.sigstore.json dist/a.whl",
        "cosign sign-blob --yes --bundle dist/b.txt.sigstore.json dist/b.txt",
        "cosign login --username ci --password-stdin r",
        *(f"cosign sign --yes r/x/{target}@{digest(number)}" for number, target in enumerate(IMAGES, 1)),
    ]


def test_a_key_signs_without_asking_anybody_outside(place: Place) -> None:
    (place.folder / "dist").mkdir()
    (place.folder / "dist" / "a.whl").touch()
    assert place.run("sign.sh", COSIGN_PRIVATE_KEY="-----BEGIN") == [
        "cosign signing-config create --out signing-config.json",
        "cosign sign-blob --yes --key env://COSIGN_PRIVATE_KEY --signing-config signing-config.json "
        "--bundle dist/a.whl.sigstore.json dist/a.whl",
    ]

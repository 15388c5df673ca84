"""The Lambda function `seed_checkin`: both custom resources of infra/project.yml over a stack's life.

Requests go to the function as CloudFormation and Lambda send them; see Stack in tests/support/seed_checkin.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gitlab.exceptions import GitlabError

from bench.fault_proxy import Fault, FaultProxy
from bench.fault_scenarios.base import FunctionScenario, Played
from tests.support.seed_checkin import CHECKIN, PROJECTS, Answer, Stack, assert_complete, at, variables_of
from tests.support.servers import Aws, create_project

_CI_FILE = b"hold: {script: ['true'], when: manual}\n"
_UNMASKABLE = {"Variables": {"Build": {"ADDED": "1"}, "Deploy": {"A": {"value": "short", "masked": "true"}}}}
"""GitLab refuses it when the build project's variables are there already."""


class SeedCheckin(FunctionScenario):
    """`act` is the part that faults come to."""

    def __init__(self, aws: Aws, folder: Path, proxy: FaultProxy) -> None:
        super().__init__(aws, folder, proxy)
        self.project = create_project(aws)
        self.number = 0

    def play(self, fault: Fault | None, follow_up: str = "retry") -> Played:
        self.number += 1
        name = f"case-{self.number}"
        group = self.server.client.groups.create({"name": name, "path": name})
        own = self.project._replace(name=f"{self.project.name}-{self.number}")
        behind_proxy = self.aws._replace(environ=self.aws.environ | {"AWS_ENDPOINT_URL": self.proxy.url})
        self.stack = Stack(behind_proxy, own, self.server, group)
        self.stack.properties |= at(self.gitlab_url, group)
        self.stack.put_seed("build.zip", {".gitlab-ci.yml": _CI_FILE, "README.md": b"Build\n"})
        self.stack.put_seed("deploy.zip", {".gitlab-ci.yml": _CI_FILE, "README.md": b"Deploy\n"})
        self.good = self.stack.properties
        self.follow_up, self.problems, self.red = follow_up, list[str](), False
        try:
            self.begin()
            self.proxy.watch(None, fault)
            self.act()
            calls, hit = list(self.proxy.calls), self.proxy.hit
            self.proxy.watch(None)
            self.end()
        except (AssertionError, GitlabError) as error:  # what is wrong with this case must not end the others
            calls, hit = list(self.proxy.calls), self.proxy.hit
            self.problems.append(str(error).strip()[:400])
        finally:
            self.stack.cloudformation.close()
        return Played(calls, hit, self.red, self.problems)

    def begin(self) -> None:
        """Bring the stack to where the case begins."""

    def act(self) -> None:
        """What a fault comes to."""
        raise NotImplementedError

    def end(self) -> None:
        """What CloudFormation does next, and the next try."""
        raise NotImplementedError

    def carry_out(self, resource: str, kind: str) -> Answer:
        """A request, repeated by Lambda when the function dies; `FAILED` when nobody answers it."""
        event = self.stack.event(resource, kind)
        for _ in range(2):
            process = self.stack.start(event)
            self.proxy.follow(process)
            output, _ = process.communicate(timeout=300)
            self.stack.log += output
            if self.stack.cloudformation.answers:
                return self.stack.answered(event)
            self.red = True
            if self.follow_up == "roll back":  # the stack's patience is over
                self.stack.physical_ids.setdefault(resource, f"{resource.removeprefix('Custom::')}-never-answered")
                return {"Status": "FAILED", "Reason": "no answer"}
        raise AssertionError(f"{kind} of {resource} ended twice without an answer: {output[-300:]}")

    def operation(self, kind: str, **changes: Any) -> str:
        """The status of an operation of the stack as CloudFormation carries it out: what fails is the last request."""
        self.stack.properties = self.stack.properties | changes
        status = "SUCCESS"
        for resource in (CHECKIN, PROJECTS) if kind == "Delete" else (PROJECTS, CHECKIN):
            if kind == "Delete" and resource not in self.stack.physical_ids:
                continue
            earlier = self.stack.properties_of.get(resource)
            if kind == "Update":
                event = self.stack.event(resource, kind)
                self.stack.properties_of[resource] = earlier or {}
                if event["ResourceProperties"] == earlier:
                    continue
            status = self.carry_out(resource, kind)["Status"]
            if status == "FAILED":
                self.red = True
                break
        return status

    def expect(self, condition: bool, problem: str) -> None:
        if not condition:
            self.problems.append(problem)

    def expect_nothing_left(self) -> None:
        self.expect(self.stack.names() == [], f"{', '.join(self.stack.names())} left over")

    def create_again(self) -> None:
        """The next try, after everything was taken back."""
        self.stack.start_over()
        self.stack.properties = self.good
        self.expect(self.operation("Create") == "SUCCESS", f"the next try failed: {self.stack.log[-300:]}")
        self.expect_complete()

    def expect_complete(self) -> None:
        assert_complete(self.stack)
        self.expect_one_token()

    def expect_one_token(self) -> None:
        """One trigger token of model-deploy, the one in the secret."""
        number = self.stack.data["ModelDeployProjectId"]
        triggers = self.server.client.projects.get(number).triggers.list(get_all=True)
        stored = self.stack.secret_value(self.stack.properties["TriggerTokenSecretArn"])
        tokens = ["stored" if each.token == stored else "another" for each in triggers]
        self.expect(tokens == ["stored"], f"the trigger tokens are {tokens}")


class Create(SeedCheckin):
    title = "seed check-in, create"
    follow_ups = ("retry", "roll back")

    def act(self) -> None:
        self.status = self.operation("Create")

    def end(self) -> None:
        if self.status == "SUCCESS":
            return self.expect_complete()
        self.follow_up = "retry"
        self.expect(self.operation("Delete") == "SUCCESS", "it cannot be deleted")
        self.expect_nothing_left()
        return self.create_again()


class CreateRollback(SeedCheckin):
    """A creation that died before its last commit is taken back."""

    title = "seed check-in, roll-back of create"

    def begin(self) -> None:
        self.proxy.watch(None, Fault("gitlab.POST projects/:id/repository/commits", 1, "kill before"))
        self.follow_up = "roll back"
        if self.operation("Create") == "SUCCESS":
            raise AssertionError("the creation should fail")
        self.follow_up, self.red = "retry", False

    def act(self) -> None:
        self.status = self.operation("Delete")

    def end(self) -> None:
        self.expect(self.status == "SUCCESS", "it cannot be deleted")
        self.expect_nothing_left()
        self.create_again()


class Update(SeedCheckin):
    title = "seed check-in, update"
    follow_ups: tuple[str, ...] = ("retry", "roll back")

    def begin(self) -> None:
        if self.operation("Create") != "SUCCESS":
            raise AssertionError(self.stack.log[-300:])
        self.before, self.good = self.state(), self.stack.properties
        self.changes: dict[str, Any] = {
            "ModelBuildRepositoryName": "renamed-build",
            "ModelDeployRepositoryName": "renamed-deploy",
            "TriggerTokenSecretArn": self.stack.secret("trigger-2", "none yet"),
            "Variables": {"Build": {"AWS_REGION": "eu-central-1", "ADDED": "1"}, "Deploy": {"ADDED": "2"}},
        }

    def act(self) -> None:
        self.status = self.operation("Update", **self.changes)

    def end(self) -> None:
        self.follow_up = "retry"
        if self.status != "SUCCESS":
            self.roll_back()
            self.expect(self.operation("Update", **self.changes) == "SUCCESS", "the next try failed")
        names, build, deploy = self.state()
        plain = (False, False)
        self.expect(names == ["renamed-build", "renamed-deploy"], f"the projects are {names}")
        expected = {("AWS_REGION", "*"): ("eu-central-1", *plain), ("ADDED", "*"): ("1", *plain)}
        self.expect(build == expected, f"the variables of model build are {build}")
        self.expect(deploy == {("ADDED", "*"): ("2", *plain)}, f"the variables of model deploy are {deploy}")
        self.expect_one_token()

    def roll_back(self) -> None:
        self.expect(self.operation("Update", **self.good) == "SUCCESS", "it cannot be rolled back")
        self.expect_as_before()

    def expect_as_before(self) -> None:
        self.expect(self.state() == self.before, f"after the roll-back there is {self.state()}, not {self.before}")
        self.expect_one_token()

    def state(self) -> tuple[list[str], dict[Any, Any], dict[Any, Any]]:
        """The projects' names, the variables of model-build and of model-deploy."""
        numbers = (self.stack.data[f"Model{name}ProjectId"] for name in ("Build", "Deploy"))
        build, deploy = (variables_of(self.server.client.projects.get(number)) for number in numbers)
        return self.stack.names(), build, deploy


class UpdateRollback(Update):
    """An update that failed half way is taken back."""

    title = "seed check-in, roll-back of update"
    follow_ups = ("retry",)

    def begin(self) -> None:
        super().begin()
        if self.operation("Update", **self.changes | _UNMASKABLE) == "SUCCESS":
            raise AssertionError("the update should fail")
        self.red = False

    def act(self) -> None:
        self.status = self.operation("Update", **self.good)

    def end(self) -> None:
        self.expect(self.status == "SUCCESS", "it cannot be rolled back")
        self.expect_as_before()
        self.status = self.operation("Update", **self.changes)
        super().end()


class Delete(SeedCheckin):
    title = "seed check-in, delete"

    def begin(self) -> None:
        if self.operation("Create") != "SUCCESS":
            raise AssertionError(self.stack.log[-300:])

    def act(self) -> None:
        self.status = self.operation("Delete")

    def end(self) -> None:
        self.expect(self.status == "SUCCESS", "it cannot be deleted")
        self.expect(self.stack.names() == ["abalone-build", "abalone-deploy"], f"left are {self.stack.names()}")
        triggers = self.stack.project("abalone-deploy").triggers.list(get_all=True)
        self.expect(not triggers, f"{len(triggers)} trigger tokens are left")

"""A pipeline execution at work: which step may start, what a step does, how it is stopped and retried.

pipelines.py answers the API from what is kept here. Steps call this server's API with the pipeline's role, as the
service does with a session called sagemaker-pipeline-<execution id>-<step>.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import sagemaker_backends

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT
from sandbox.aws.sagemaker import definition, selection, step_cache
from sandbox.aws.sagemaker.definition import Json, Unresolved
from sandbox.aws.sagemaker.jobfiles import split
from sandbox.aws.sagemaker.steps import ACTIONS, Call, StepFailed, stop_job

_PARALLEL_STEPS = 2  # unless the execution asks for fewer or more; the machine has few cores
_FAILED = "Step failure: One or multiple steps failed."


class Step:
    """One step of an execution that has been reached, through all its attempts."""

    def __init__(self, name: str, document: Json) -> None:
        self.name, self.document, self.attempts = name, document, 0
        self.begin()

    def begin(self) -> None:
        self.status, self.attempts = "Executing", self.attempts + 1
        self.start_time, self.end_time = utcnow(), None
        self.failure_reason: str | None = None
        self.metadata: Json = {}
        self.properties: Json = {}
        self.cache_key: str | None = None
        self.source: str | None = None  # the execution whose run of the step this one takes
        self.reused: str | None = None  # the same, for a step that was not selected

    def end(self, status: str, reason: str | None = None) -> None:
        self.status, self.failure_reason, self.end_time = status, reason, utcnow()

    def take(self, earlier: Step, arn: str) -> None:
        """Stand for a step of another execution, which is not run again."""
        self.metadata, self.properties, self.reused = earlier.metadata, earlier.properties, arn
        self.end("Succeeded")

    end_time: datetime | None


class Execution:
    """One execution of a pipeline; `changed` guards its state and wakes whoever waits for it."""

    def __init__(
        self, pipeline: Any, version: int, text: str, arn: str, request: Json, source: Execution | None = None
    ) -> None:
        """`source` is the execution from which a selective one takes what its steps need of others."""
        self.arn, self.id, self.pipeline_arn = arn, arn.rpartition("/")[2], pipeline.arn
        self.pipeline_name, self.role_arn = pipeline.pipeline_name, pipeline.role_arn
        self.region = arn.split(":")[3]
        self.version, self.text, self.request = version, text, request
        self.document = definition.parse(self.text)
        self.pipeline_parameters = request.get("PipelineParameters") or []  # under the name by which moto lists them
        self.overrides = {each["Name"]: each["Value"] for each in self.pipeline_parameters}
        self.parameters = definition.parameters(self.document, self.overrides)
        limit = request.get("ParallelismConfiguration") or pipeline.parallelism_configuration or {}
        self.parallel = limit.get("MaxParallelExecutionSteps", _PARALLEL_STEPS)
        self.steps: dict[str, Step] = {}
        self.selected = selection.selected(request.get("SelectiveExecutionConfig"))
        if source is not None:
            for name in selection.before(self.document, self.selected):
                self.steps[name] = Step(name, source.steps[name].document)
                self.steps[name].take(source.steps[name], source.arn)
        self._siblings = pipeline.pipeline_executions
        self.start_time = utcnow()
        self.display_name = f"execution-{int(time.time() * 1000)}"
        self.retry_tokens: set[str] = set()
        self.changed = threading.Condition()
        self._change("Executing")

    def _change(self, status: str, reason: str | None = None) -> None:
        self.status, self.failure_reason, self.last_modified_time = status, reason, utcnow()

    # --- what the API asks for ---

    def run(self) -> None:
        threading.Thread(target=self._run, name=f"pipeline-{self.id}", daemon=True).start()

    def retry(self) -> None:
        """Resume after Failed or Stopped: what succeeded stays, the rest runs (again) from where it stood."""
        with self.changed:
            if self.status not in ("Failed", "Stopped"):
                raise ValidationError(f"Only Failed or Stopped executions can be retried; {self.arn} is {self.status}.")
            for step in self.steps.values():
                if step.status != "Succeeded":
                    step.status = "Starting"
            self._change("Executing")
        self.run()

    def stop(self) -> None:
        with self.changed:
            if self.status != "Executing":
                raise ValidationError(f"Only an Executing execution can be stopped; {self.arn} is {self.status}.")
            self._change("Stopping")
            running = [step for step in self.steps.values() if step.status == "Executing"]
            for step in running:
                step.status = "Stopping"
            self.changed.notify_all()
        for step in running:
            with suppress(StepFailed):  # its job has ended by itself meanwhile
                stop_job(self.call(step))

    def interrupted(self) -> None:
        """The server has ended and begun again: what ran has failed, and can be retried."""
        if self.status in ("Executing", "Stopping"):
            for step in self.steps.values():
                if step.status in ("Starting", "Executing", "Stopping"):
                    step.end("Failed", "The sandbox ended while the step ran.")
            self._change("Failed", _FAILED)

    # --- scheduling ---

    def _run(self) -> None:
        needs = definition.dependencies(self.document)
        with self.changed:
            while True:
                active = sum(step.status in ("Executing", "Stopping") for step in self.steps.values())
                for document in self._ready(needs)[: self.parallel - active]:
                    self._start(document)
                    active += 1
                if not active:
                    break
                self.changed.wait()
            statuses = {step.status for step in self.steps.values()}
            if "Failed" in statuses:
                self._change("Failed", _FAILED)
            else:
                self._change("Stopped" if self.status == "Stopping" or "Stopped" in statuses else "Succeeded")

    def _ready(self, needs: dict[str, set[str]]) -> list[Json]:
        now = {name: step.status for name, step in self.steps.items()}
        if self.status != "Executing" or {"Failed", "Stopped"} & set(now.values()):
            return []  # what runs may end, nothing new starts
        succeeded = {name for name, status in now.items() if status == "Succeeded"}
        return [
            step
            for step, condition, branch in definition.walk(self.document)
            if (not self.selected or step["Name"] in self.selected)
            and now.get(step["Name"], "Starting") == "Starting"
            and needs[step["Name"]] <= succeeded
            and (not condition or self._chosen(condition) == branch)
        ]

    def _chosen(self, condition: str) -> str:
        return "IfSteps" if self.steps[condition].properties["Outcome"] == "true" else "ElseSteps"

    def _start(self, document: Json) -> None:
        name = document["Name"]
        if name in self.steps:
            self.steps[name].begin()
        else:
            self.steps[name] = Step(name, document)
        threading.Thread(target=self._perform, args=[self.steps[name]], name=f"step-{name}", daemon=True).start()

    # --- one step ---

    def call(self, step: Step) -> Call:
        """What a step's action works with."""
        session = f"sagemaker-pipeline-{self.id}-{step.name}"[:64]
        credentials = identity.sagemaker_credentials(self.role_arn, session)
        return Call(self.arn, self.id, step, credentials, self._resolver(credentials))

    def _perform(self, step: Step) -> None:
        status, reason = "Succeeded", None
        try:
            action = ACTIONS.get(step.document["Type"])
            if action is None:
                kind, kinds = step.document["Type"], ", ".join(sorted(ACTIONS))
                raise StepFailed(f"The sandbox does not have steps of type {kind}; it has {kinds}.")
            call = self.call(step)
            if not self._taken_from_cache(step, call):
                action(call)
        except StepFailed as error:
            status, reason = "Failed", str(error) or None
        except Unresolved as error:
            status, reason = "Failed", str(error)
        except ValidationError as error:
            status, reason = "Failed", f"ClientError: {error.message}"
        except Exception:  # noqa: BLE001 - a defect of the sandbox must not leave the step Executing
            traceback.print_exc(file=sys.stderr)
            status, reason = "Failed", "InternalServerError: We encountered an internal error."
        with self.changed:
            if step.status == "Stopping":
                status, reason = "Stopped", None
            step.end(status, reason)
            self.changed.notify_all()

    def _taken_from_cache(self, step: Step, call: Call) -> bool:
        """Whether an earlier run of the step stands for this one, whose outputs are then this one's."""
        step.cache_key = step_cache.key(step.document, call.arguments())
        if not step_cache.is_on(step.document):
            return False
        since = step_cache.oldest(step.document, utcnow())
        with self.changed:
            others = [each for each in list(self._siblings.values()) if each is not self]
        candidates = [
            (earlier.end_time, execution.arn, earlier)
            for execution in others
            if (earlier := execution.steps.get(step.name)) is not None
            and earlier.status == "Succeeded"
            and earlier.source is None  # what was taken from the cache is no younger for it
            and earlier.cache_key == step.cache_key
            and earlier.end_time is not None
            and earlier.end_time >= since
        ]
        if not candidates:
            return False
        _, step.source, earlier = max(candidates, key=lambda each: each[0])
        step.metadata, step.properties = earlier.metadata, earlier.properties
        return True

    def _resolver(self, credentials: dict[str, str]) -> Callable[[Any], Any]:
        context = {
            "Parameters": self.parameters,
            "Execution": {
                "PipelineName": self.pipeline_name,
                "PipelineArn": self.pipeline_arn,
                "PipelineExecutionId": self.id,
                "PipelineExecutionArn": self.arn,
                "StartDateTime": self.start_time.isoformat(),
                "CurrentDateTime": utcnow().isoformat(),
            },
            "Steps": {name: step.properties for name, step in list(self.steps.items())},
        }
        s3 = identity.client("s3", credentials)
        return lambda value: definition.resolve(value, context, lambda get: self._read_json(get, context, s3))

    def _read_json(self, get: Json, context: Json, s3: Any) -> Any:
        """The document a Std:JsonGet reads: a step's property file, or any object by its S3Uri."""
        uri = get.get("S3Uri")
        if uri is not None:
            uri = definition.resolve(uri, context, lambda inner: self._read_json(inner, context, s3))
        else:
            _, step_name, _, name = get["PropertyFile"]["Get"].split(".")
            files = {each["PropertyFileName"]: each for each in self.steps[step_name].document.get("PropertyFiles", [])}
            if name not in files:
                raise Unresolved(f"ClientError: Step {step_name} has no property file {name}.")
            output = f"Steps.{step_name}.ProcessingOutputConfig.Outputs['{files[name]['OutputName']}'].S3Output.S3Uri"
            uri = f"{definition.follow(context, output).rstrip('/')}/{files[name]['FilePath']}"
        bucket, key = split(uri)
        try:
            return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except (ClientError, ValueError) as error:
            raise Unresolved(f"ClientError: Unable to read property file {uri}: {error}") from error


def resume() -> None:
    """Tell every execution that the server has ended."""
    for backend in sagemaker_backends[ACCOUNT].values():
        for pipeline in backend.pipelines.values():
            for each in pipeline.pipeline_executions.values():
                each.interrupted()

"""The two contracts between SageMaker and a container: processing (/opt/ml/processing) and training (/opt/ml/input).

`install()` puts both in place of moto's handlers, which only pretend.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore import xform_name
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

from sandbox.aws.containers import container, images
from sandbox.aws.lacking import Lacking
from sandbox.aws.sagemaker import jobfiles
from sandbox.aws.sagemaker.jobs import Job, message, write_json
from sandbox.aws.sagemaker.metrics import Metrics

_HOST = "algo-1"
_REMOTE_FUNCTION = "sagemaker_remote_function_bootstrap"  # the channel of a function under @step or @remote


class ProcessingJob(Job):
    """https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html."""

    kind = "Processing"

    # moto's ListProcessingJobs reads these names.
    processing_job_name = property(lambda self: self.name)
    processing_job_status = property(lambda self: self.status)
    processing_end_time = property(lambda self: self.end_time)

    def _inputs(self) -> list[dict[str, Any]]:
        return [item["S3Input"] for item in self.request.get("ProcessingInputs") or [] if "S3Input" in item]

    def _outputs(self) -> list[dict[str, Any]]:
        outputs = (self.request.get("ProcessingOutputConfig") or {}).get("Outputs", [])
        return [item["S3Output"] for item in outputs if "S3Output" in item]

    def input_uris(self) -> list[str]:
        return [item["S3Uri"] for item in self._inputs()]

    def check(self) -> None:
        super().check()
        for item in [*self._inputs(), *self._outputs()]:
            jobfiles.inside(Path(), item["LocalPath"])

    def launch(self, opt_ml: Path) -> container.Container:
        for item in self._inputs():
            self.download(item["S3Uri"], jobfiles.inside(opt_ml, item["LocalPath"]))
        for item in self._outputs():
            jobfiles.inside(opt_ml, item["LocalPath"]).mkdir(parents=True, exist_ok=True)
        for folder in ("processing", "output"):
            (opt_ml / folder).mkdir(exist_ok=True)
        write_json(opt_ml / "config/processingjobconfig.json", self.describe())
        write_json(opt_ml / "config/resourceconfig.json", {"current_host": _HOST, "hosts": [_HOST]})
        app = self.request["AppSpecification"]
        command = [*(app.get("ContainerEntrypoint") or []), *(app.get("ContainerArguments") or [])]
        environment = self.environment(self.request.get("Environment"))
        return container.Container(app["ImageUri"], opt_ml, command, environment)

    def collect(self, opt_ml: Path) -> None:
        for item in self._outputs():
            self.upload(jobfiles.inside(opt_ml, item["LocalPath"]), item["S3Uri"])
        self._note_exit_message(opt_ml)

    def failure(self, opt_ml: Path, code: int) -> str:
        self._note_exit_message(opt_ml)
        return "AlgorithmError: See job logs for more information"

    def _note_exit_message(self, opt_ml: Path) -> None:
        if text := message(opt_ml, "message"):
            self.facts["ExitMessage"] = text[:1024]


class TrainingJob(Job):
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html."""

    kind = "Training"

    # moto's ListTrainingJobs reads these names.
    training_job_name = property(lambda self: self.name)
    training_job_status = property(lambda self: self.status)
    training_end_time = property(lambda self: self.end_time)

    def __init__(self, backend: SageMakerModelBackend, request: dict[str, Any]) -> None:
        super().__init__(backend, request)
        # The service names the archive before there is one, and for a job that failed, too.
        folder = f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"
        self.facts["ModelArtifacts"] = {"S3ModelArtifacts": f"{folder}/model.tar.gz"}
        self.metrics = Metrics(request["AlgorithmSpecification"])
        write = self._log

        def log(line: str) -> None:
            self.metrics.read(line)
            write(line)

        self._log = log

    def _channels(self) -> list[tuple[dict[str, Any], str]]:
        channels = self.request.get("InputDataConfig") or []
        return [(channel, channel["DataSource"]["S3DataSource"]["S3Uri"]) for channel in channels]

    def input_uris(self) -> list[str]:
        return [uri for _, uri in self._channels()]

    def check(self) -> None:
        super().check()
        if self._is_remote_function() and images.sdk_environment() is None:
            what = "the SageMaker SDK, which runs functions under @step and @remote"
            raise Lacking(f"{what}: `python -m sandbox images` installs it")
        image = self.request["AlgorithmSpecification"].get("TrainingImage", "")
        try:
            images.program(image, self._command())
        except images.UnknownImage as error:
            raise Lacking(error.what) from error
        self._move("Starting", "Preparing the instances for training")

    def _is_remote_function(self) -> bool:
        return any(channel["ChannelName"] == _REMOTE_FUNCTION for channel, _ in self._channels())

    def _resources(self) -> dict[str, Any]:
        kind = self.request["ResourceConfig"].get("InstanceType", "ml.m5.large")
        group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": [_HOST]}
        return {
            "current_host": _HOST,
            "current_instance_type": kind,
            "current_group_name": group["instance_group_name"],
            "hosts": [_HOST],
            "instance_groups": [group],
            "network_interface_name": "eth0",
        }

    def _command(self) -> list[str]:
        algorithm = self.request["AlgorithmSpecification"]
        command = [*(algorithm.get("ContainerEntrypoint") or []), *(algorithm.get("ContainerArguments") or [])]
        return command or ["train"]

    def _move(self, secondary: str, text: str) -> None:
        """Enter a secondary status; the service shows the whole way a job went."""
        moment = utcnow()
        steps = self.facts.setdefault("SecondaryStatusTransitions", [])
        if steps:
            steps[-1]["EndTime"] = moment
        steps.append({"Status": secondary, "StartTime": moment, "StatusMessage": text})
        self.facts["SecondaryStatus"] = secondary

    def launch(self, opt_ml: Path) -> container.Container:
        self._move("Downloading", "Downloading input data")
        for channel, uri in self._channels():
            self.download(uri, opt_ml / "input/data" / channel["ChannelName"])
        for folder in ("model", "output/data"):
            (opt_ml / folder).mkdir(parents=True)
        config = opt_ml / "input/config"
        write_json(config / "hyperparameters.json", self.request.get("HyperParameters") or {})
        write_json(config / "resourceconfig.json", self._resources())
        write_json(config / "inputdataconfig.json", {c["ChannelName"]: _channel(c) for c, _ in self._channels()})
        self._move("Training", "Training image download completed. Training in progress.")
        environment = self.environment(self.request.get("Environment"))
        image = self.request["AlgorithmSpecification"]["TrainingImage"]
        if self._is_remote_function():
            # The image of such a function is one of the user's with the SDK and the client's Python in it.
            environment["PATH"] = f"{images.sdk_environment()}:/usr/local/bin:/usr/bin:/bin"
            if libraries := images.libraries(image):
                environment["PYTHONPATH"] = str(libraries)
        return container.Container(image, opt_ml, self._command(), environment)

    def collect(self, opt_ml: Path) -> None:
        self._move("Uploading", "Uploading generated training model")
        upload = opt_ml / "upload"
        upload.mkdir()
        jobfiles.pack(opt_ml / "model", upload / "model.tar.gz")
        if any((opt_ml / "output/data").iterdir()):
            jobfiles.pack(opt_ml / "output/data", upload / "output.tar.gz")
        self.upload(upload, self.facts["ModelArtifacts"]["S3ModelArtifacts"].rpartition("/")[0])

    def keep(self, opt_ml: Path) -> None:
        if any((opt_ml / "model").iterdir()):
            self.collect(opt_ml)

    def failure(self, opt_ml: Path, code: int) -> str:
        return f"AlgorithmError: {message(opt_ml, 'failure')[:1000]}, exit code: {code}"

    def ending(self, status: str) -> dict[str, Any]:
        secondary = self._stop_reason if status == "Stopped" else status
        self._move(secondary, f"Training job {status.lower()}")
        if final := self.metrics.final():
            self.facts["FinalMetricDataList"] = final
        ended = utcnow()
        self.facts["SecondaryStatusTransitions"][-1]["EndTime"] = ended
        seconds = max(1, int((ended - self.facts.get("TrainingStartTime", ended)).total_seconds()))  # never less
        return {"TrainingEndTime": ended, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}


def _channel(channel: dict[str, Any]) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    return {
        "ContentType": channel.get("ContentType", ""),
        "TrainingInputMode": channel.get("InputMode", "File"),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }


def install() -> None:
    """Put real jobs in place of moto's handlers."""
    for job_class in (ProcessingJob, TrainingJob):
        install_kind(job_class)


def install_kind(job_class: type[Job]) -> None:
    """Let Create, Describe and Stop of a kind of job work on real ones."""
    responses: Any = SageMakerResponse
    kind = job_class.kind
    snake, key = xform_name(kind), f"{kind}JobName"
    lower = snake.replace("_", " ")

    def store(self: Any) -> dict[str, Job]:
        jobs: dict[str, Job] = getattr(self.sagemaker_backend, f"{snake}_jobs")
        return jobs

    def find(self: Any) -> Job:
        name = self._get_param(key)
        if name not in store(self):
            backend = self.sagemaker_backend
            arn = arn_formatter(f"{snake.replace('_', '-')}-job", name, backend.account_id, backend.region_name)
            raise ValidationError(f"Requested resource not found: Could not find {lower} job '{arn}'.")
        return store(self)[name]

    def create(self: Any) -> ActionResult:
        job = job_class(self.sagemaker_backend, dict(self.params))
        if job.name in store(self):
            raise ResourceInUseException(
                f"{kind} job names must be unique within an AWS account and region, and a {lower} job with this name "
                f"already exists ({job.arn})"
            )
        job.check()
        store(self)[job.name] = job
        job.start()
        return ActionResult({f"{kind}JobArn": job.arn})

    def describe(self: Any) -> ActionResult:
        return ActionResult(find(self).describe())

    def stop(self: Any) -> ActionResult:
        job = find(self)
        if job.finished.is_set():
            raise ValidationError(f"The request was rejected because the {lower} job is in status {job.status}.")
        job.stop()
        return EmptyResult()

    for verb, handler in (("create", create), ("describe", describe), ("stop", stop)):
        setattr(responses, f"{verb}_{snake}_job", handler)

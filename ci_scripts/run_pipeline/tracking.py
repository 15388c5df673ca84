"""Each training as a run of an MLflow experiment: in GitLab's model experiments, or on an MLflow server of the team.

Called by command.py and run.py where the input `experiment` names one. GitLab answers MLflow's own client:
https://docs.gitlab.com/user/project/ml/experiment_tracking/mlflow_client/. Whether the server takes runs is known
before the training starts; what it refuses afterwards is said in the log, and is no reason for a training to fail.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ci_scripts import errors, job, merge_request, settings, text
from ci_scripts.run_pipeline import report

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ci_scripts.aws import Aws
    from ci_scripts.run_pipeline.records import Run

URI, TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"
_AUTHORITIES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
# MLflow repeats for minutes by itself, and a training is not to wait for a server that is gone. What it warns of are
# other places where it may run.
_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}

# What GitLab keeps of a text: app/models/ml/candidate_param.rb and candidate_metadata.rb of its source. MLflow: more.
_LONGEST_PARAMETER, _LONGEST_TAG = 250, 5000
_MOST_PARAMETERS, _MOST_METRICS = 100, 1000  # of one request: https://mlflow.org/docs/latest/rest-api.html#log-batch
_REFUSED_IN_NAMES = re.compile(r"[^\w.\-/ ]")
_NEWEST = 200  # GitLab gives these when asked for runs, whatever they are called
_STATUS = {"Succeeded": "FINISHED", "Stopped": "KILLED"}


class Server(NamedTuple):
    """Where experiments are, by the job's variables."""

    uri: str
    page: str = ""
    """The address of GitLab's own experiments, to which the id of one is added; empty for any other server."""

    def __str__(self) -> str:
        return f"{urlsplit(self.uri).hostname or self.uri}" if not self.page else "GitLab"


class Experiment(NamedTuple):
    """An experiment that takes runs."""

    name: str
    id: str
    server: Server
    client: MlflowClient

    @property
    def url(self) -> str:
        """The page of the experiment where it is known."""
        return f"{self.server.page}/{self.id}" if self.server.page else ""


def server(environ: Mapping[str, str]) -> Server:
    """The MLflow server that MLFLOW_TRACKING_URI names, or else the model experiments of the job's own project.

    Raises ExperimentUnavailable where there is neither, no token for GitLab, or no MLflow in the job's image.
    """
    if find_spec("mlflow") is None:
        raise errors.ExperimentUnavailable(
            "the job's image has no MLflow client",
            hint="Install mlflow-skinny beside `sagemaker-ci`, or set `sagemaker_sdk: v3`, whose image has it.",
        )
    if uri := settings.value(environ, URI):
        return Server(uri)
    api, project = environ.get("CI_API_V4_URL", ""), environ.get("CI_PROJECT_ID", "")
    if not (api and project):
        raise errors.ExperimentUnavailable(
            f"{URI} is not set, and this is no job of GitLab, which has experiments, too"
        )
    if not settings.value(environ, TOKEN):
        raise errors.ExperimentUnavailable(
            f"{TOKEN} is not set: GitLab takes no runs with the token of a job",
            hint=f"Set the CI/CD variable {TOKEN}, masked, to a project access token with the role Developer and the "
            "scope api.",
        )
    return Server(f"{api}/projects/{project}/ml/mlflow", f"{environ.get('CI_PROJECT_URL', '')}/-/ml/experiments")


def begin(name: str, place: Server, environ: MutableMapping[str, str] = os.environ) -> Experiment:
    """The experiment, made if there is none of its name. Raises ExperimentUnavailable where the server refuses."""
    token = environ.get(TOKEN, "").strip()
    if not text.fits_header(token):
        raise errors.ExperimentUnavailable(
            f"{TOKEN} {text.UNFIT}", hint="Set the CI/CD variable anew, as one line, masked."
        )
    if token:
        environ[TOKEN] = token
    for variable, value in _MANNERS.items():
        environ.setdefault(variable, value)
    if place.page and (authorities := environ.get("CI_SERVER_TLS_CA_FILE")):
        environ.setdefault(_AUTHORITIES, authorities)

    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    try:
        experiment = client.get_experiment_by_name(name)
        identity = experiment.experiment_id if experiment else _created(client, name)
    except MlflowException as error:
        raise errors.ExperimentUnavailable(
            f"{place} does not take runs of the experiment {name!r}: {_words(error)}"
        ) from error
    job.say(f"experiment {name}, in {place}")
    return Experiment(name, str(identity), place, client)


def _created(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.create_experiment(name))
    except MlflowException:
        experiment = client.get_experiment_by_name(name)  # another job may have been quicker
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def record(aws: Aws, experiment: Experiment, run: Run, packages: Sequence[str]) -> dict[str, str]:
    """Keep an execution that has ended as a run: one for each execution, however often its job is retried.

    Returns the page of its experiment, by a label, where that is known.
    """
    from mlflow.exceptions import MlflowException

    name = run.result.arn.rpartition("/")[2]
    try:
        identity = _earlier(experiment, name) or _started(experiment, name, run)
        _log(experiment.client, identity, aws, run, packages)
        status = _STATUS.get(run.result.status, "FAILED")
        experiment.client.set_terminated(identity, status, _milliseconds(datetime.now(UTC)))
    except MlflowException as error:
        job.say(f"warning: {experiment.server} did not take the run {name} of {experiment.name}: {_words(error)}")
        return {}
    job.say(f"run {name} of the experiment {experiment.name} is kept in {experiment.server}")
    return {f"Experiment {experiment.name}": experiment.url} if experiment.url else {}


def _earlier(experiment: Experiment, name: str) -> str:
    """The run that an earlier attempt of this job has begun."""
    runs = experiment.client.search_runs(
        [experiment.id], filter_string=f"attributes.run_name = '{name}'", max_results=_NEWEST
    )
    return next((str(each.info.run_id) for each in runs if each.info.run_name == name), "")


def _started(experiment: Experiment, name: str, run: Run) -> str:
    began = run.result.began or datetime.now(UTC)
    created = experiment.client.create_run(
        experiment.id, start_time=_milliseconds(began), tags=_tags(run, experiment.server), run_name=name
    )
    return str(created.info.run_id)


def _tags(run: Run, place: Server) -> dict[str, str]:
    where = run.where
    tags = {
        "GitLabProject": where.project_path,
        "GitLabRef": where.ref,
        "GitLabJob": where.url,
        "PipelineExecutionArn": run.result.arn,
        "mlflow.source.git.commit": where.commit,
        "mlflow.source.name": where.project_url,
        "mlflow.user": where.person,
        # By this one, GitLab shows the job beside the run.
        "gitlab.CI_JOB_ID": where.id if place.page else "",
    }
    return {key: value[:_LONGEST_TAG] for key, value in tags.items() if value}


def _log(client: MlflowClient, identity: str, aws: Aws, run: Run, packages: Sequence[str]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    parameters = [(key, str(value)[:_LONGEST_PARAMETER]) for key, value in run.parameters.items()]
    moment = _milliseconds(datetime.now(UTC))
    client.log_batch(
        identity,
        metrics=[Metric(key, value, moment, 0) for key, value in _metrics(aws, run).items()][:_MOST_METRICS],
        params=[Param(_name(key), value) for key, value in parameters if value][:_MOST_PARAMETERS],
        tags=[RunTag("ModelPackageArn", " ".join(packages)[:_LONGEST_TAG])] if packages else [],
    )


def _metrics(aws: Aws, run: Run) -> dict[str, float]:
    """What conditions measured, and the last values of the training jobs' own metrics."""
    values = dict(report.measured(run.conditions))
    for step in run.result.steps.values():
        answer: Any = run.facts.training_of(aws.sagemaker, step)
        for metric in (answer.get("FinalMetricDataList") or []) if isinstance(answer, Mapping) else []:
            values.setdefault(f"{step.name}/{metric['MetricName']}", float(metric["Value"]))
    return {_name(key): value for key, value in values.items() if math.isfinite(value)}


def _name(key: str) -> str:
    """`key` as MLflow takes names of metrics and parameters: `validation:rmse` becomes `validation_rmse`."""
    return _REFUSED_IN_NAMES.sub("_", key)[:_LONGEST_PARAMETER]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _words(error: Exception) -> str:
    """What went wrong, in one line without secrets, such as those of an address `https://user:password@...`."""
    return merge_request.masked([text.line(re.sub(r"//[^/@\s]+@", "//", str(error)), 400)])[0]

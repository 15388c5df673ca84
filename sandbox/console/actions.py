"""What a person does by clicking: each through the same API call as any client, and a sentence about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from gitlab.exceptions import GitlabError

from sandbox.console import repositories
from sandbox.console.links import path_of
from sandbox.console.place import Seen
from sandbox.world import people

Form = Mapping[str, str]


class Outcome(NamedTuple):
    """A sentence for the person, and where to go next if not where they are; `good` says whether it was done."""

    text: str
    go: str = ""
    good: bool = True


def perform(place: Seen, name: str, form: Form) -> Outcome:
    """Do it. What GitLab or AWS refuse is an outcome, too. Raises LookupError for an action that there is not."""
    action = ACTIONS[name]
    try:
        return action(place, form)
    except GitlabError as error:
        return Outcome(f"GitLab refused: {error.error_message}", good=False)
    except ClientError as error:
        return Outcome(f"AWS refused: {error.response['Error']['Message']}", good=False)


def _approve(place: Seen, form: Form) -> Outcome:
    people.approve(place, form["arn"])
    return Outcome(f"Approved {_version(form)}. The deploy pipeline starts within seconds.")


def _reject(place: Seen, form: Form) -> Outcome:
    people.reject(place, form["arn"])
    return Outcome(f"Rejected {_version(form)}. It will not be deployed.")


def _version(form: Form) -> str:
    return form["arn"].rpartition("model-package/")[2]


def _job(place: Seen, form: Form) -> Any:
    project = place.gitlab().projects.get(form["project"], lazy=True)
    return project.jobs.get(int(form["job"]))


def _play(place: Seen, form: Form) -> Outcome:
    job = _job(place, form)
    job.play()
    return Outcome(f"Started {job.name}.")


def _retry(place: Seen, form: Form) -> Outcome:
    job = _job(place, form)
    return Outcome(f"Started {job.name} again.", f"/{form['project']}/-/jobs/{job.retry()['id']}")


def _roll_back(place: Seen, form: Form) -> Outcome:
    """What the buttons of an environment do in GitLab: they retry the job of that deployment."""
    job = _job(place, form)
    job.retry()
    return Outcome(f"Started {job.name} of pipeline {job.pipeline['id']} again.")


def _play_schedule(place: Seen, form: Form) -> Outcome:
    schedule = place.gitlab().projects.get(form["project"], lazy=True).pipelineschedules.get(int(form["schedule"]))
    name = schedule.description  # what GitLab answers takes the place of what is known of it
    schedule.play()
    return Outcome(f"Started the schedule {name}.")


def _cancel(place: Seen, form: Form) -> Outcome:
    job = _job(place, form)
    job.cancel()
    return Outcome(f"Cancelled {job.name}.")


def _run_pipeline(place: Seen, form: Form) -> Outcome:
    project = place.gitlab().projects.get(form["project"])
    pipeline = project.pipelines.create({"ref": project.default_branch})
    return Outcome(f"Started pipeline {pipeline.id}.", path_of(pipeline.web_url))


def _commit(place: Seen, form: Form) -> Outcome:
    project = place.gitlab().projects.get(form["project"])
    branch = form["branch"].strip() or project.default_branch
    came = repositories.commit_file(project, form["path"], form["content"], form["message"].strip(), branch)
    return Outcome(f"Committed {form['path']} to {branch}.", came)


def _merge(place: Seen, form: Form) -> Outcome:
    project = place.gitlab().projects.get(form["project"])
    project.mergerequests.get(int(form["number"])).merge()
    return Outcome("Merged.")


def _predict(place: Seen, form: Form) -> Outcome:
    answer = place.aws("sagemaker-runtime").invoke_endpoint(
        EndpointName=form["endpoint"], ContentType=form.get("content_type", "text/csv"), Body=form["body"]
    )
    return Outcome(answer["Body"].read().decode("utf-8", "replace").strip())


ACTIONS: dict[str, Callable[[Seen, Form], Outcome]] = {
    "approve": _approve,
    "reject": _reject,
    "play": _play,
    "retry": _retry,
    "roll-back": _roll_back,
    "play-schedule": _play_schedule,
    "cancel": _cancel,
    "run-pipeline": _run_pipeline,
    "commit": _commit,
    "merge": _merge,
    "predict": _predict,
}

"""What goes on in a place, a line for each change: printed by `sandbox up` while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from gitlab.exceptions import GitlabError
from requests.exceptions import RequestException

from sandbox.world.people import STAGES, Place, Say

_SHOWN = {"running", "success", "failed", "canceled", "manual"}
_WORDS = {"success": "passed", "manual": "waits for you (▶)", "PendingManualApproval": "needs approval"}


class Watch:
    """Compares what is with what was at the last look."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._gitlab = place.gitlab()
        self._sagemaker = place.aws("sagemaker")
        self._seen: dict[str, str] = {}

    def look(self) -> list[str]:
        """A line for every job, model version and endpoint whose state is another one than before."""
        lines = []
        for what, state in self._states():
            if self._seen.get(what) != state:
                self._seen[what] = state
                lines.append(f"{what}: {_WORDS.get(state, state)}")
        return lines

    def _states(self) -> list[tuple[str, str]]:
        states = []
        for path in (self._place.build_repository, self._place.deploy_repository):
            project = self._gitlab.projects.get(path)
            rows = project.jobs.list(per_page=50, page=1, get_all=False)
            states += [
                (f"{project.path} pipeline {row.pipeline['id']} {row.name} (job {row.id})", _ended(row))
                for row in reversed(rows)
                if row.status in _SHOWN
            ]
        groups = self._sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        for name in [row["ModelPackageGroupName"] for row in groups if row["ModelPackageGroupName"]]:
            rows = self._sagemaker.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]
            states += [(f"model version {name}/{row['ModelPackageVersion']}", row["ModelApprovalStatus"])
                      for row in reversed(rows)]  # fmt: skip
        names = {self._place.endpoint(stage) for stage in STAGES}
        rows = self._sagemaker.list_endpoints()["Endpoints"]
        states += [(f"endpoint {row['EndpointName']}", row["EndpointStatus"]) for row in rows
                  if row["EndpointName"] in names]  # fmt: skip
        return states


def _ended(job: Any) -> str:
    return f"passed in {job.duration:.0f} s" if job.status == "success" and job.duration else str(job.status)


def tell(place: Place, say: Say, stop: threading.Event, seconds: float = 1.0) -> None:
    """Say every change until `stop` is set; what cannot be asked at one look is asked at the next."""
    watch: Watch | None = None
    while not stop.wait(seconds):
        try:
            watch = watch or Watch(place)
            lines = watch.look()
        except (GitlabError, ClientError, BotoCoreError, RequestException):
            continue
        for line in lines:
            say(line)


def telling(place: Place, say: Say) -> Callable[[], None]:
    """Start to tell, in the background; what is returned ends it."""
    stop = threading.Event()
    thread = threading.Thread(target=tell, args=(place, say, stop), daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end

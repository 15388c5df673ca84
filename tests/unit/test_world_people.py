"""What a person sees of a job's log in the demo: whole, or as GitLab's page shows it with its sections folded."""

from __future__ import annotations

from sandbox.world import people

LOG = """Running with gitlab-runner
section_start:1:get_sources\r\x1b[0K\x1b[0K\x1b[36;1mGetting source\x1b[0;m
Checking out 1234
section_end:1:get_sources\r\x1b[0K
section_start:1:step_script\r\x1b[0K\x1b[0K\x1b[36;1mExecuting "step_script"\x1b[0;m
\x1b[32;1m$ sagemaker-ci deploy\x1b[0;m
endpoint: abalone-prod
\x1b[0Ksection_start:2:stack_events\r\x1b[0K\x1b[1mStack events\x1b[0m
07:07:56 CREATE_COMPLETE
\x1b[0Ksection_end:3:stack_events\r\x1b[0K
deployed
section_end:4:step_script\r\x1b[0K
section_start:4:upload_artifacts_on_success\r\x1b[0K\x1b[36;1mUploading artifacts\x1b[0;m
./: found 3 files
section_end:4:upload_artifacts_on_success\r\x1b[0K"""


def test_of_a_folded_log_titles_stay_and_what_stands_outside_of_sections() -> None:
    assert people._folded(LOG.split("\n")) == [
        "$ sagemaker-ci deploy",
        "endpoint: abalone-prod",
        "▸ Stack events",
        "deployed",
    ]

"""The calls that look for drift."""

from __future__ import annotations

from moto.core.responses import ActionResult

from sandbox.aws.cloudformation import drift
from sandbox.aws.cloudformation.describe_calls import DescribeCalls
from sandbox.aws.cloudformation.errors import ValidationError
from sandbox.aws.cloudformation.request import client_factory

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/detect-drift-stack.html
_LOOKED_AT = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED")


class DriftCalls(DescribeCalls):
    def detect_stack_drift(self) -> ActionResult:
        self._require_known_parameters()
        stack = self._existing("Stack [{}] does not exist")
        if stack.status not in _LOOKED_AT:
            raise ValidationError(
                f"Drift detection cannot be performed on stack [{stack.id}] while it is in [{stack.status}] state"
            )
        connect, credentials = client_factory(self.region), self._credentials(None)
        detection = drift.begin(stack, lambda service: connect(credentials, service))
        return ActionResult({"StackDriftDetectionId": detection.id})

    def describe_stack_drift_detection_status(self) -> ActionResult:
        detection_id = self._get_param("StackDriftDetectionId")
        detection = drift.DETECTIONS.get(detection_id)
        if detection is None:
            raise ValidationError(f"Drift detection {detection_id} does not exist")
        answer = {
            "StackId": detection.stack.id,
            "StackDriftDetectionId": detection.id,
            "DetectionStatus": detection.status,
            "Timestamp": detection.started,
        }
        if detection.status != "DETECTION_IN_PROGRESS":
            answer |= {
                "StackDriftStatus": detection.stack_status,
                "DetectionStatusReason": detection.reason,
                "DriftedStackResourceCount": detection.drifted,
            }
        return ActionResult(answer)

    def describe_stack_resource_drifts(self) -> ActionResult:
        stack = self._existing("Stack [{}] does not exist")
        detection, statuses = drift.latest(stack), self._get_param("StackResourceDriftStatusFilters")
        drifts = [
            each
            for each in (detection.drifts.values() if detection else [])
            if not statuses or each["StackResourceDriftStatus"] in statuses
        ]
        page, token = self._page(drifts, int(self._get_param("MaxResults") or 100))
        return ActionResult({"StackResourceDrifts": page, "NextToken": token})

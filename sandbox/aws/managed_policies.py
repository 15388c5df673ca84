"""IAM refuses to delete a policy that is attached to anything or has older versions, which moto overlooks.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html
"""

from __future__ import annotations

from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend


def install() -> None:
    delete = IAMBackend.delete_policy

    def delete_unused(self: IAMBackend, policy_arn: str) -> None:
        policy = self.get_policy(policy_arn)
        if policy.attachment_count:
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        delete(self, policy_arn)

    IAMBackend.delete_policy = delete_unused

"""Every expected failure of `sagemaker-ci`, each a class with a stable code. Raised where the cause is known.

The codes are what users search for and what `docs/reference/errors.md` lists: they are never renumbered, nor reused.
1xx settings and usage · 2xx AWS access · 3xx pipelines and training · 4xx model registry and stage configurations ·
5xx CloudFormation · 6xx endpoints · 7xx tests against an endpoint · 8xx installing the AWS side ·
9xx GitLab's API.
"""

from __future__ import annotations

PAGE = "https://gitlab.com/mlops/sagemaker-components/-/blob/HEAD/docs/reference/errors.md"
"""Where the errors are described: the address `Errors` of the package's project.urls. Codes never change their meaning,
so that the newest page tells of every version."""


def address(code: str) -> str:
    """Where a code is described."""
    return f"{PAGE}#{code.lower()}"


class SagemakerCiError(Exception):
    """An expected failure: one line of what happened, one line of what to do, exit code 1.

    `code` and `hint` are class attributes of the subclasses; a raise may pass a hint that fits its case better.
    """

    code = "SMCI-000"
    hint = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint


# --- 1xx: settings and usage ---------------------------------------------------------------------------------------


class InvalidSettings(SagemakerCiError):
    """CI/CD variables or options that a command needs are missing or malformed; all of them are named at once."""

    code = "SMCI-101"
    hint = "Set them in GitLab under Settings > CI/CD > Variables, or as inputs of the component."


class InvalidOption(SagemakerCiError):
    """An option's value cannot be used (for example text that is not JSON)."""

    code = "SMCI-102"
    hint = "See `sagemaker-ci COMMAND --help`."


class JobCancelled(SagemakerCiError):
    """The GitLab job was cancelled, or the command was interrupted at a terminal."""

    code = "SMCI-103"
    hint = "Retry the job to pick up where it stopped."


class InvalidReport(SagemakerCiError):
    """A dotenv report would break GitLab's limits (5 KiB, 20 variables, one line each)."""

    code = "SMCI-104"
    hint = (
        "GitLab refuses such a report; see https://docs.gitlab.com/ci/yaml/artifacts_reports/#artifactsreportsdotenv."
    )


class VersionMismatch(SagemakerCiError):
    """This `sagemaker-ci` is not of the version of the component whose job runs it."""

    code = "SMCI-105"
    hint = (
        "Leave out the input `image`, or give it the tag of the component's version; with `install_from`, an image "
        "without sagemaker-ci."
    )


class OutsideRepository(SagemakerCiError):
    """A path that a command reads or writes leads out of the repository, or something else has the name of its file."""

    code = "SMCI-106"
    hint = "Use a file or folder of the repository itself, not a link to another place, and no path that leads out."


class DoctorFoundProblems(SagemakerCiError):
    """`sagemaker-ci doctor` found something that keeps the jobs from working; each is a line above the error."""

    code = "SMCI-110"
    hint = "Do what the lines that start with FAILED say, then run it again."


# --- 2xx: AWS access -----------------------------------------------------------------------------------------------


class NoCredentials(SagemakerCiError):
    """No AWS credentials were found."""

    code = "SMCI-201"
    hint = (
        "Set AWS_ROLE_ARN to a role that trusts this GitLab project (OIDC, preferred), "
        "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    )


class ExpiredCredentials(SagemakerCiError):
    """The AWS credentials or the GitLab ID token have expired."""

    code = "SMCI-202"
    hint = "Retry the job. If it runs longer than its token lives, raise the component's `timeout` input."


class RoleRefused(SagemakerCiError):
    """AWS refused to exchange the GitLab ID token for credentials of the role."""

    code = "SMCI-203"
    hint = "Compare the role's trust policy (aud, sub) with this project, its ref and the `oidc_audience` input."


class AccessDenied(SagemakerCiError):
    """The credentials are valid but may not do this."""

    code = "SMCI-204"
    hint = "Grant the action named above to the role of this job; `infra/` holds the policies that suffice."


class AwsUnreachable(SagemakerCiError):
    """No connection to the AWS endpoint: wrong region name, no route, or a proxy in between."""

    code = "SMCI-205"
    hint = "Check AWS_REGION, the runner's network and AWS_ENDPOINT_URL if it is set."


class AwsRefused(SagemakerCiError):
    """AWS refused a request for a reason that no other code covers."""

    code = "SMCI-206"
    hint = "The message is the service's own. The CI/CD variable SMCI_DEBUG=true shows the traceback."


class InvalidCredentials(SagemakerCiError):
    """AWS does not know the access key, or its signature does not match."""

    code = "SMCI-207"
    hint = "Replace AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or move to OIDC with AWS_ROLE_ARN."


class OtherIdentity(SagemakerCiError):
    """AWS takes the job for another identity than the role or the key that its variables announce."""

    code = "SMCI-208"
    hint = (
        "Remove from the runner, or from the image, what brings other credentials: a profile in ~/.aws, AWS_PROFILE, "
        "or a role of the machine; `aws sts get-caller-identity` in the job shows whose they are."
    )


class InvalidAwsConfiguration(SagemakerCiError):
    """The AWS configuration of the machine (a profile, ~/.aws/config, ~/.aws/credentials) cannot be used."""

    code = "SMCI-209"
    hint = (
        "Correct AWS_PROFILE or unset it, and look at the files that AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE "
        "name (~/.aws/config and ~/.aws/credentials). A job in GitLab needs none of them: set AWS_ROLE_ARN."
    )


# --- 3xx: pipelines and training -----------------------------------------------------------------------------------


class PipelineModuleNotFound(SagemakerCiError):
    """The pipeline module does not exist in the repository."""

    code = "SMCI-301"
    hint = "Set `pipeline_module` (--module) as Python imports it from the repository, like pipelines.abalone.pipeline."


class PipelineModuleFailed(SagemakerCiError):
    """The pipeline module raised an error while it was imported."""

    code = "SMCI-302"
    hint = "Import it yourself (`python -c 'import MODULE'`). The CI/CD variable SMCI_DEBUG=true shows the traceback."


class GetPipelineMissing(SagemakerCiError):
    """The pipeline module has no function `get_pipeline`."""

    code = "SMCI-303"
    hint = "Define get_pipeline(...) in the module; it returns a SageMaker SDK pipeline or a definition."


class GetPipelineFailed(SagemakerCiError):
    """`get_pipeline` raised an error, or the pipeline that it returned did when it was compiled."""

    code = "SMCI-304"
    hint = "Call it on your machine with the same arguments. The CI/CD variable SMCI_DEBUG=true shows the traceback."


class GetPipelineArguments(SagemakerCiError):
    """`get_pipeline` does not take an argument that --kwargs gives, or needs one that nobody gives."""

    code = "SMCI-305"
    hint = "Compare `pipeline_kwargs` (--kwargs) with the signature of get_pipeline."


class NotAPipeline(SagemakerCiError):
    """What `get_pipeline` returned is no pipeline."""

    code = "SMCI-306"
    hint = "Return a pipeline of the SageMaker SDK (anything with definition()), or the definition as a dict or JSON."


class InvalidDefinition(SagemakerCiError):
    """The pipeline's definition cannot run; every problem is named."""

    code = "SMCI-307"
    hint = "Correct the steps named above; `sagemaker-ci run-pipeline --check` starts nothing."


class InvalidPipelineParameter(SagemakerCiError):
    """A pipeline parameter is unknown, missing, or not of its type; all of them are named."""

    code = "SMCI-308"
    hint = "Compare `pipeline_parameters` (--parameter) with the parameters that the pipeline declares."


class SagemakerSdkMissing(SagemakerCiError):
    """The pipeline module needs the SageMaker Python SDK, which is not installed here."""

    code = "SMCI-309"
    hint = "Run the job in the training image of this project, or install `sagemaker-ci[training]`."


_AFTER_A_FAILED_STEP = (
    "If your code failed, push the correction: that starts a new execution. If AWS did (capacity, throttling), retry "
    "the job: it resumes this execution where it failed, with the same code."
)


class PipelineExecutionFailed(SagemakerCiError):
    """The pipeline execution ended as Failed; the steps that failed are named with their reasons."""

    code = "SMCI-310"
    hint = _AFTER_A_FAILED_STEP


class PipelineExecutionStopped(SagemakerCiError):
    """The pipeline execution ended as Stopped: not by this job, but by a person or another program."""

    code = "SMCI-311"
    hint = "Retry the job to resume the execution where it stopped."


class PipelineExecutionIncomplete(SagemakerCiError):
    """The pipeline execution ended as CompletedWithFailures: some steps failed, others went on."""

    code = "SMCI-312"
    hint = _AFTER_A_FAILED_STEP


class BucketMissing(SagemakerCiError):
    """`get_pipeline` works with an S3 bucket that does not exist; the SageMaker SDK would have created it."""

    code = "SMCI-313"
    hint = "Correct ARTIFACT_BUCKET, which get_pipeline gets as `default_bucket`, or create the bucket; no job does."


class UploadRefused(SagemakerCiError):
    """`get_pipeline` uploads to a place that the role of the training job may not write to; a check sees it first."""

    code = "SMCI-314"
    hint = (
        "Leave bucket, `code_location` and `output_path` to the SDK's session, or let them begin with "
        "`s3://{default_bucket}/{pipeline_name}/`. If the role may write elsewhere, the CI/CD variable UPLOAD_PLACES "
        "says where."
    )


class CheckIncomplete(SagemakerCiError):
    """A check cannot follow `get_pipeline` any further: it needs what the check has held back."""

    code = "SMCI-315"
    hint = "Let get_pipeline use what it has in hand; a check uploads nothing and creates nothing."


class StepImageMissing(SagemakerCiError):
    """An `@step` function has no image, and the SageMaker SDK has none for this job's version of Python."""

    code = "SMCI-316"
    hint = "Name an image with `@step(image_uri=...)`."


class QuotaExceeded(SagemakerCiError):
    """A step or an endpoint needs more of SageMaker than a service quota of the account allows (ResourceLimitExceeded).

    Of a deployment, too.
    """

    code = "SMCI-317"
    hint = "Ask for more under Service Quotas > Amazon SageMaker, or use an instance type that the account has."


class NoMergeRequest(SagemakerCiError):
    """A job that trains in a merge request, or cleans up after one, is not in the pipeline of a merge request."""

    code = "SMCI-318"
    hint = (
        "Let the job run in pipelines of merge requests alone, as the component does; at a terminal, name its number."
    )


class RegistersElsewhere(SagemakerCiError):
    """A merge request's pipeline would register its model beside those of the default branch; nothing is started."""

    code = "SMCI-319"
    hint = (
        "Let get_pipeline take `model_package_group_name` and register there: a merge request has a group of its own, "
        "whose approvals deploy nothing."
    )


class StepKindNotAllowed(SagemakerCiError):
    """The pipeline has steps of types that its role may not run; nothing is started."""

    code = "SMCI-320"
    hint = "Set the parameters of infra/gitlab-oidc.yml and infra/steps.yml that grant them."


class UnknownStep(SagemakerCiError):
    """The pipeline has no step of the name from which it is to run."""

    code = "SMCI-321"
    hint = "Correct `from_step` (--from-step), or leave it empty to run the whole pipeline."


class NoReferenceExecution(SagemakerCiError):
    """The pipeline is to run from one step on, and there is no execution to take the outputs of the others from."""

    code = "SMCI-322"
    hint = "Run the whole pipeline once: leave `from_step` (--from-step) empty."


class FilesNotRemoved(SagemakerCiError):
    """S3 keeps files of a merge request's training that were to be removed; each is named with S3's reason."""

    code = "SMCI-323"
    hint = "Let the role AWS_MERGE_REQUEST_ROLE_ARN delete them, as infra/merge-requests.yml does, and retry the job."


class ImageSourcesUnusable(SagemakerCiError):
    """The folder of an image, its Dockerfile, or a file of it is missing or cannot be read."""

    code = "SMCI-324"
    hint = "Set `image_context` (--context) to the folder, and `image_dockerfile` (--dockerfile) to the file in it."


class ImageRepositoryMissing(SagemakerCiError):
    """ECR has no repository for the images of the project."""

    code = "SMCI-325"
    hint = (
        "Deploy infra/images.yml, in the project template with the field Build Images: it makes repository and rights."
    )


class BuilderMissing(SagemakerCiError):
    """BuildKit is not in the image of the job."""

    code = "SMCI-326"
    hint = "Leave out the input `image`: the component's own holds BuildKit. Else put its programs into yours."


class ImageBuildFailed(SagemakerCiError):
    """BuildKit could not build the image, or could not push it; its own last words are the message."""

    code = "SMCI-327"
    hint = (
        "The section `Build the image` of the log has all that BuildKit said. Correct the Dockerfile, and push again."
    )


class ImageNotAsBuilt(SagemakerCiError):
    """What ECR holds under the tag of an image is not what BuildKit says it has pushed."""

    code = "SMCI-328"
    hint = (
        "Somebody else pushes to the repository: let nobody but this job's role do that, and let its tags be "
        "immutable, as infra/images.yml does. Delete the tag in ECR, then retry the job."
    )


class ImageNotUsable(SagemakerCiError):
    """An image in ECR is of a type that SageMaker does not run: an index of several images, or one in OCI's format."""

    code = "SMCI-329"
    hint = "Delete the tag in ECR and retry the job, which builds the image in Docker's format, version 2."


class ImageVulnerable(SagemakerCiError):
    """ECR's scan has found something in the image that is as severe as the job must not let pass."""

    code = "SMCI-330"
    hint = (
        "Take a newer base image and newer packages: the worst findings are named above, the page in ECR that the "
        "job links has them all. The image stays in ECR, and nothing is trained with it."
    )


class ImageNotScanned(SagemakerCiError):
    """The job must not let severe findings pass, and nobody can say whether the image has any."""

    code = "SMCI-331"
    hint = (
        "Let the repository scan on push, as infra/images.yml does, and wait longer with `image_scan_seconds`; or set "
        "`image_fail_on` to none."
    )


class ExperimentUnavailable(SagemakerCiError):
    """The training is to be a run of an MLflow experiment, and no server takes it; nothing is started."""

    code = "SMCI-332"
    hint = "Correct MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN, or leave `experiment` (--experiment) empty."


# --- 4xx: model registry and stage configurations ------------------------------------------------------------------


class ModelPackageNotFound(SagemakerCiError):
    """No model package has this ARN."""

    code = "SMCI-401"
    hint = "Copy the ARN from the Model Registry; it must be in the account and region of this project."


class ModelPackageOfOtherGroup(SagemakerCiError):
    """The model package exists but belongs to another model package group than the project's."""

    code = "SMCI-402"
    hint = "Start the deploy pipeline of the project that this model package belongs to."


class ModelPackageNotApproved(SagemakerCiError):
    """The model package is Rejected or still waits for approval."""

    code = "SMCI-403"
    hint = "Approve this version in the Model Registry, or start a pipeline for one that is Approved."


class NoApprovedModelPackage(SagemakerCiError):
    """The project's model package group holds no approved version."""

    code = "SMCI-404"
    hint = "Train a model in the model-build repository, then approve it in the Model Registry: that starts a pipeline."


class TooManyProperties(SagemakerCiError):
    """A model package has no room left for the properties that say where it comes from."""

    code = "SMCI-405"
    hint = "A model package holds at most 50 customer metadata properties; register it with fewer."


class InvalidStageConfig(SagemakerCiError):
    """Stage configurations or the endpoint template have problems; every one of them is listed above the error."""

    code = "SMCI-406"
    hint = "Each line above is `file: path: problem`; fix them all and push again."


class InvalidExport(SagemakerCiError):
    """A stage's export is missing or is not what this version of build writes for this project."""

    code = "SMCI-407"
    hint = "Let this job take the artifacts of a build job of the same pipeline and component version."


class ExportChanged(SagemakerCiError):
    """A stage's export differs from the one that the build job of this pipeline announced."""

    code = "SMCI-408"
    hint = "Deploy what build exported: remove what changes the file in between, or run a new pipeline."


class ExportNotAnnounced(SagemakerCiError):
    """The job was not told the hash of the export that build wrote, so nobody can say whether it is that one."""

    code = "SMCI-409"
    hint = (
        "The hash comes with build's dotenv report: let the job take the artifacts of build (`dependencies` or "
        "`needs`), and let nobody set the variable."
    )


class TemplateExists(SagemakerCiError):
    """The repository has a CloudFormation template for this kind of hosting already, perhaps a changed one."""

    code = "SMCI-410"
    hint = "Commit it, then write the packaged one over it with `--force` and let `git diff` show what is different."


class ShiftOutlivesJob(SagemakerCiError):
    """The shift to the new version may take longer than the job, and with it its credentials, has left."""

    code = "SMCI-411"
    hint = "Set the component's input `timeout` higher, or wait less in `Deployment` of the stage configuration."


class AlarmUnusable(SagemakerCiError):
    """An alarm that `Deployment` names does not exist, or is on already and would take every version back."""

    code = "SMCI-412"
    hint = (
        "Correct `Deployment.Alarms.Names` of the stage configuration, or what the alarm tells of. Nothing was changed."
    )


class ShiftTakenBack(SagemakerCiError):
    """An alarm fired while the new version took the requests over: SageMaker gave them back to the old one."""

    code = "SMCI-413"
    hint = (
        "The version before answers all requests again. Look at the new one's log in CloudWatch Logs, group "
        "/aws/sagemaker/Endpoints/<endpoint name>, and deploy another version, or correct the alarm's limit."
    )


class ApprovalsTableMissing(SagemakerCiError):
    """The table in which the trigger keeps what became of each approval is not there, so `build` cannot claim one."""

    code = "SMCI-415"
    hint = (
        "The stack of infra/trigger.yml makes it: update the stack, in this region. The input `approval_number` is the "
        "trigger's; leave it empty in a pipeline that you start yourself."
    )


class InvalidPrices(SagemakerCiError):
    """The list prices, or the price list of AWS that they are made of, cannot be read."""

    code = "SMCI-418"
    hint = (
        "Make prices.json anew: `sagemaker-ci prices` reads AWS's price list of SageMaker from standard input, see "
        "docs/guides/host-a-stage.md."
    )


# --- 5xx: CloudFormation -------------------------------------------------------------------------------------------


class StackNotDeployable(SagemakerCiError):
    """The stack is in a state out of which only a person should lead it."""

    code = "SMCI-501"
    hint = "See the stack's events in the CloudFormation console, bring it to an end state there, then retry the job."


class ChangeSetFailed(SagemakerCiError):
    """CloudFormation could not work out what to change; the stack was not touched."""

    code = "SMCI-502"
    hint = "The reason is CloudFormation's own: correct the template or the stage configuration and push again."


class StackFailed(SagemakerCiError):
    """CloudFormation started the deployment and it failed, or another caller ended it; the message names the cause."""

    code = "SMCI-503"
    hint = "Fix the cause named above and run the job again; all stack events are in the job log."


class StackNotDeleted(SagemakerCiError):
    """A stack could not be deleted: by `teardown`, or because a failed first deployment had left it."""

    code = "SMCI-504"
    hint = "Remove what blocks the deletion, delete the stack in the CloudFormation console, then retry the job."


class PipelineOvertaken(SagemakerCiError):
    """A newer pipeline has deployed to the stack: this job would take back what it brought."""

    code = "SMCI-505"
    hint = (
        "To go back on purpose, run `sagemaker-ci rollback`, or GitLab's Rollback on a deployment that succeeded. To "
        "deploy this version for the first time, start a new pipeline with its ARN as model_package_arn."
    )


class StackContended(SagemakerCiError):
    """Each time between the making of a change set and its execution, another deployment changed the stack."""

    code = "SMCI-506"
    hint = (
        "Nothing of this job was deployed. Find out what else deploys to the stack (its events tell), and run the job "
        "again when that is over."
    )


class VersionTakenBack(SagemakerCiError):
    """The stage was rolled back from this version after this pipeline began, and nobody has deployed it anew since."""

    code = "SMCI-507"
    hint = (
        "If it shall serve all the same, start a new pipeline for this version (Build > Pipelines > New pipeline, its "
        "ARN as model_package_arn), or roll back to it by name: `sagemaker-ci rollback --to VERSION`."
    )


class HistoryUnreachable(SagemakerCiError):
    """The records of deployments in S3 cannot be read, and without them nobody knows what may be deployed."""

    code = "SMCI-508"
    hint = (
        "Nothing was changed. The job's role has to list, read and write below that address: deploy "
        "`infra/gitlab-oidc.yml` of this version, whose roles do, or grant it to yours, and to the key of the bucket."
    )


class RecordNotWritten(SagemakerCiError):
    """The stage is as it was asked for, and the record that tells of it could not be written."""

    code = "SMCI-509"
    hint = (
        "What was asked for is done. Remove the cause and run the job again: it changes nothing and writes the record."
    )


class NewerRecord(SagemakerCiError):
    """The records of deployments were written by a newer version of sagemaker-ci."""

    code = "SMCI-510"
    hint = "Use the version of the component that wrote it, or a newer one."


class InvalidRecord(SagemakerCiError):
    """An object among the records of deployments is none, or was changed."""

    code = "SMCI-511"
    hint = (
        "Records are never changed. If the bucket keeps versions, restore the object's first one; else move it away, "
        "and the record before it counts as the newest."
    )


class NothingToRollBackTo(SagemakerCiError):
    """Nothing that is recorded can take the place of what serves, or nothing recorded is what was asked for."""

    code = "SMCI-512"
    hint = "`sagemaker-ci history` lists what has served. Deploy another version with a pipeline of its own."


class AlreadyRolledBack(SagemakerCiError):
    """The newest deployment is a rollback itself: going back once more has to be asked for by name."""

    code = "SMCI-513"
    hint = "If that is not enough, name the version: `sagemaker-ci rollback --to VERSION`, see `sagemaker-ci history`."


class DeployedMeanwhile(SagemakerCiError):
    """Another deployment of the stage was recorded while this job was under way, and what it brought counts."""

    code = "SMCI-514"
    hint = "See `sagemaker-ci history`. If this version shall serve, run the job again."


class DeployFreeze(SagemakerCiError):
    """The GitLab project is in a deploy freeze: production gets nothing new until it is over."""

    code = "SMCI-515"
    hint = (
        "Run the job again after the freeze (Settings > CI/CD > Deploy freezes). Going back to what has served stays "
        "possible: GitLab's Rollback, or `sagemaker-ci rollback`."
    )


# --- 6xx: endpoints ------------------------------------------------------------------------------------------------


class EndpointMissing(SagemakerCiError):
    """The stack is complete, but there is no endpoint of the expected name."""

    code = "SMCI-601"
    hint = "Name it ${SageMakerProjectName}-${StageName} in endpoint-config-template.yml."


class EndpointNotInService(SagemakerCiError):
    """The endpoint ended in another status than InService."""

    code = "SMCI-602"
    hint = "See the endpoint's log in CloudWatch Logs, group /aws/sagemaker/Endpoints/<endpoint name>."


class EndpointRolledBack(SagemakerCiError):
    """SageMaker put the endpoint back to its previous configuration although the stack update succeeded."""

    code = "SMCI-603"
    hint = (
        "See in CloudWatch Logs, group /aws/sagemaker/Endpoints/<endpoint name>, why the new containers failed, then "
        "deploy another version or configuration: CloudFormation takes this one for done, a retry changes nothing."
    )


class EndpointServesOtherModel(SagemakerCiError):
    """The endpoint is InService, but a production variant serves another model than the deployed one."""

    code = "SMCI-604"
    hint = "Let the model in endpoint-config-template.yml use the parameter ModelPackageName."


class EndpointBeyondRepair(SagemakerCiError):
    """The endpoint is in a state in which SageMaker refuses every update."""

    code = "SMCI-605"
    hint = "Delete the stack, which deletes the endpoint, then run this job again."


class EndpointNotConvertible(SagemakerCiError):
    """The endpoint is hosted in a way from which there is none to the deployed one while it serves."""

    code = "SMCI-608"
    hint = (
        "Nothing was changed. To have it deleted and made anew, run this job once more with the variable "
        "REPLACE_ENDPOINT set to true; until it is InService again it answers nobody."
    )


class BatchTransformNotAsDeployed(SagemakerCiError):
    """The pipeline of a batch transform is not there, or it runs another model than the deployed one."""

    code = "SMCI-609"
    hint = (
        "Name the pipeline ${SageMakerProjectName}-${StageName} in your template, and let its one transform step use "
        "the model of the parameter ModelPackageName."
    )


class BatchTransformFailed(SagemakerCiError):
    """A run of the batch transform on a few rows failed, or wrote something else than a line for each."""

    code = "SMCI-610"
    hint = "See the transform job's log in CloudWatch Logs, group /aws/sagemaker/TransformJobs."


class InferenceComponentsUnseen(SagemakerCiError):
    """A production variant has inference components instead of a model, and what they serve cannot be seen."""

    code = "SMCI-607"
    hint = (
        "Let the job's role list and describe inference components (`infra/gitlab-oidc.yml` does), or let the variant "
        "name a model (ModelName) in endpoint-config-template.yml."
    )


class InvocationFailed(SagemakerCiError):
    """The endpoint did not answer a request with a prediction."""

    code = "SMCI-606"
    hint = "See the endpoint's log in CloudWatch Logs, group /aws/sagemaker/Endpoints/<endpoint name>."


# --- 7xx: tests against an endpoint --------------------------------------------------------------------------------


class InvalidQuality(SagemakerCiError):
    """quality.yml is missing or breaks its schema; all problems are named at once."""

    code = "SMCI-701"
    hint = "The README of the `test-staging` component shows every field of quality.yml."


class HeldOutDataMissing(SagemakerCiError):
    """The held-out data that quality.yml names is not there, or may not be read."""

    code = "SMCI-702"
    hint = "Check `data` in quality.yml, and that the pipeline which registered this version kept its test split."


class HeldOutDataInvalid(SagemakerCiError):
    """The held-out data cannot be read as CSV with one numeric label in every row."""

    code = "SMCI-703"
    hint = "Compare the data with `label_column` and `header` in quality.yml."


class InvalidPredictions(SagemakerCiError):
    """The endpoint answered something else than one prediction for every row, in a format that is known."""

    code = "SMCI-704"
    hint = "Check `request` in quality.yml against what the model's container accepts and answers."


class RequestTooLarge(SagemakerCiError):
    """A single row exceeds what InvokeEndpoint takes in one request (6 MiB)."""

    code = "SMCI-705"
    hint = (
        "Test with smaller rows; no job can test by asynchronous inference or batch transform, which take larger ones."
    )


class MetricUndefined(SagemakerCiError):
    """A metric of quality.yml has no value for this held-out data."""

    code = "SMCI-706"
    hint = "Choose a metric that fits the labels: see the README of the `test-staging` component."


class NothingTested(SagemakerCiError):
    """Not one test or threshold ran: a gate that checks nothing must not be green."""

    code = "SMCI-707"
    hint = "Add tests to the `tests` folder or thresholds to quality.yml, or correct the inputs `tests` and `quality`."


class TestsFailed(SagemakerCiError):
    """Tests or quality thresholds failed against the endpoint; this version must not go further."""

    code = "SMCI-708"
    hint = "Open report.html among the job's artifacts, or the pipeline's Tests tab."


class TransformFailed(SagemakerCiError):
    """A function that quality.yml names (`request.transform`, `transform_answer`) failed or returned something else."""

    code = "SMCI-709"
    hint = (
        "`transform(rows)` returns the body and its content type; `transform_answer(answer, rows)` one prediction for "
        "each row. See the README of the `test-staging` component."
    )


class ChampionNotAsked(SagemakerCiError):
    """The version that quality.yml compares with (`compare`) could not be asked for its predictions."""

    code = "SMCI-710"
    hint = "Leave `compare` out of quality.yml where there is no endpoint to compare with."


class ConfigurationDrifted(SagemakerCiError):
    """A stage is not as it was deployed: its stack or its endpoint was changed by hand, or replaced."""

    code = "SMCI-711"
    hint = (
        "Open drift.html among the job's artifacts. Deploy the stage's version again, so that it is what was tested,"
        " or make the change in the repository."
    )


class DataDrifted(SagemakerCiError):
    """What callers send to an endpoint, or what it answers them, is distributed otherwise than the held-out data."""

    code = "SMCI-712"
    hint = (
        "Open drift.html among the job's artifacts: it shows each column before and now. Correct whoever sends the "
        "requests, or train a new version with newer data."
    )


class CaptureUnreadable(SagemakerCiError):
    """The captured requests of an endpoint may not be read, or are in no form that `drift` knows."""

    code = "SMCI-713"
    hint = (
        "Reading them takes the stack of infra/drift.yml (of a project of SageMaker Studio, its field Watch for Drift)."
        " Requests are read as CSV, JSON and JSON lines."
    )


class StageUnrecorded(SagemakerCiError):
    """There is a stack of the stage, and no record of what was deployed to it: nothing says how it ought to be."""

    code = "SMCI-714"
    hint = "Deploy to the stage once with this version of sagemaker-ci: deployments are recorded from then on."


class DriftNotDetected(SagemakerCiError):
    """CloudFormation cannot compare a stack with its template now, or may not be asked to."""

    code = "SMCI-715"
    hint = "CloudFormation compares stacks that are complete and at rest: see the stack's events."


# --- 8xx: offering projects ----------------------------------------------------------------------------------------


class SourceMissing(SagemakerCiError):
    """`bootstrap` was not run in a clone of the component project, or in one that does not fit this version."""

    code = "SMCI-801"
    hint = "Clone the component project at the tag of this version, then run it in that folder or give --source."


class BucketUnusable(SagemakerCiError):
    """The bucket for templates, code and seeds does not exist, is another account's, or is in another region."""

    code = "SMCI-802"
    hint = "Create one in the region of the projects, private and encrypted: `aws s3 mb s3://NAME --region REGION`."


class ArchiveNotBuilt(SagemakerCiError):
    """The archive of a Lambda function or a seed could not be built."""

    code = "SMCI-803"
    hint = "pip downloads the function's libraries and checks their hashes: see that it reaches its package index."


class OfferFixed(SagemakerCiError):
    """The stack offers the project template the other way, and its projects live by the launch role of that way."""

    code = "SMCI-804"
    hint = "Offer it this way, too, from a stack of its own: give another --stack-name."


class IdentityProviderUnusable(SagemakerCiError):
    """The account's identity provider of this GitLab does not accept ID tokens that are made for AWS."""

    code = "SMCI-805"
    hint = "Let it accept them, with `aws iam add-client-id-to-open-id-connect-provider`; then run bootstrap again."


class RegionLacksPart(SagemakerCiError):
    """Something that every project needs does not exist in the region."""

    code = "SMCI-806"
    hint = "Choose another region. The lists are AWS's as of this version's release, and may lag behind AWS."


class GitLabAddressUnusable(SagemakerCiError):
    """AWS takes GitLab for an identity provider, and its repositories for a project's, at https on port 443 alone."""

    code = "SMCI-807"
    hint = (
        "Put a reverse proxy with https on port 443 before GitLab and make that its external URL, or set the "
        "repositories up by hand with static access keys."
    )


# --- 9xx: GitLab's API ---------------------------------------------------------------------------------------------


class GitLabUnreachable(SagemakerCiError):
    """GitLab's API gave no answer, or what answered is not GitLab."""

    code = "SMCI-901"
    hint = "Check the address of the API (CI_API_V4_URL in a job), and whether this network reaches it."


class GitLabDenied(SagemakerCiError):
    """The token may not see or do this, or it does not exist: GitLab answers 404 to both."""

    code = "SMCI-902"
    hint = "Check the token's scopes, its owner's role in the project and its expiry date, and the name of the project."


class GitLabRefused(SagemakerCiError):
    """GitLab refused a request, or failed at it, in its own words."""

    code = "SMCI-903"
    hint = "GitLab's message names the cause. For an answer of 500 or more, see GitLab's status and try again later."

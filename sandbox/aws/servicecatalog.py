"""Service Catalog beyond moto's portfolios and products: versions, who may see what, launch roles, provisioning.

`install()` adds the calls that infra/product.yml and a person in Studio make. As in AWS, a version is a copy of its
template in a bucket of the service's own, and a product is provisioned by a stack that the launch role creates.
"""

from __future__ import annotations

import json
import secrets
import string
from typing import Any
from urllib.parse import urlsplit

import boto3
from moto.core.responses import ActionResult, EmptyResult
from moto.servicecatalog.exceptions import ResourceNotFoundException
from moto.servicecatalog.responses import ServiceCatalogResponse

from sandbox.aws.access import identity
from sandbox.aws.ground import ACCOUNT, REGION, ROOT_KEYS

_TEMPLATES = f"sc-templates-{REGION}"
"""The service's bucket. A launch role reads its objects by their tag, which no other bucket's have."""
_TAG = "servicecatalog:provisioning=true"
_artifacts: dict[str, list[dict[str, Any]]] = {}  # by product
_portfolios: dict[str, set[str]] = {}  # by product
_principals: dict[str, set[str]] = {}  # by portfolio
_constraints: dict[str, dict[str, Any]] = {}


def install() -> None:
    responses: Any = ServiceCatalogResponse
    moto_product, moto_description = responses.create_product, responses.describe_product

    def create_product(self: Any) -> ActionResult:
        answer: ActionResult = moto_product(self)
        content: dict[str, Any] = answer.result
        product = content["ProductViewDetail"]["ProductViewSummary"]["ProductId"]
        detail = _add_artifact(self, product, _request(self)["ProvisioningArtifactParameters"])
        return ActionResult(content | {"ProvisioningArtifactDetail": detail})

    def describe_product(self: Any) -> ActionResult:
        content: dict[str, Any] = moto_description(self).result
        return ActionResult(
            content | {"ProvisioningArtifacts": _artifacts.get(content["ProductViewSummary"]["ProductId"], [])}
        )

    responses.create_product = create_product
    responses.describe_product = describe_product
    for function in (
        create_provisioning_artifact, delete_provisioning_artifact, associate_product_with_portfolio,
        disassociate_product_from_portfolio, associate_principal_with_portfolio, disassociate_principal_from_portfolio,
        list_principals_for_portfolio, create_constraint, delete_constraint, provision_product,
    ):  # fmt: skip
        setattr(responses, function.__name__, function)


def _request(self: Any) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(self.body)
    return request


def _id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(13))


def _session(keys: dict[str, str]) -> boto3.Session:
    return boto3.Session(
        keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys.get("AWS_SESSION_TOKEN"), region_name=REGION
    )


def _add_artifact(self: Any, product: str, parameters: dict[str, Any]) -> dict[str, Any]:
    number, url = _id("pa-"), parameters["Info"]["LoadTemplateFromURL"]
    bucket, key = urlsplit(url).netloc.split(".s3.")[0], urlsplit(url).path.lstrip("/")
    caller = _session(identity.caller_credentials(self.access_key)).client("s3")
    template = caller.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3 = _session(ROOT_KEYS).client("s3")
    if not any(each["Name"] == _TEMPLATES for each in s3.list_buckets()["Buckets"]):
        s3.create_bucket(Bucket=_TEMPLATES, CreateBucketConfiguration={"LocationConstraint": REGION})  # type: ignore[typeddict-item]
    s3.put_object(Bucket=_TEMPLATES, Key=f"{product}/{number}.template", Body=template, Tagging=_TAG)
    detail = {"Id": number, "Name": parameters.get("Name", ""), "Description": parameters.get("Description", "")}
    copy = f"https://{_TEMPLATES}.s3.{REGION}.amazonaws.com/{product}/{number}.template"
    _artifacts.setdefault(product, []).append(
        detail
        | {
            "_url": copy,
        }
    )
    return detail


def create_provisioning_artifact(self: Any) -> ActionResult:
    request = _request(self)
    return ActionResult(
        {"ProvisioningArtifactDetail": _add_artifact(self, request["ProductId"], request["Parameters"])}
    )


def delete_provisioning_artifact(self: Any) -> EmptyResult:
    request = _request(self)
    remaining = [each for each in _artifacts[request["ProductId"]] if each["Id"] != request["ProvisioningArtifactId"]]
    _artifacts[request["ProductId"]] = remaining
    return EmptyResult()


def associate_product_with_portfolio(self: Any) -> ActionResult:
    request = _request(self)
    _portfolios.setdefault(request["ProductId"], set()).add(request["PortfolioId"])
    return ActionResult({})


def disassociate_product_from_portfolio(self: Any) -> ActionResult:
    request = _request(self)
    _portfolios.get(request["ProductId"], set()).discard(request["PortfolioId"])
    return ActionResult({})


def associate_principal_with_portfolio(self: Any) -> ActionResult:
    request = _request(self)
    _principals.setdefault(request["PortfolioId"], set()).add(request["PrincipalARN"])
    return ActionResult({})


def disassociate_principal_from_portfolio(self: Any) -> ActionResult:
    request = _request(self)
    _principals.get(request["PortfolioId"], set()).discard(request["PrincipalARN"])
    return ActionResult({})


def list_principals_for_portfolio(self: Any) -> ActionResult:
    principals = sorted(_principals.get(_request(self)["PortfolioId"], set()))
    return ActionResult({"Principals": [{"PrincipalARN": arn, "PrincipalType": "IAM"} for arn in principals]})


def create_constraint(self: Any) -> ActionResult:
    request = _request(self)
    if request["PortfolioId"] not in _portfolios.get(request["ProductId"], set()):
        raise ResourceNotFoundException(f"Product {request['ProductId']} is not in portfolio {request['PortfolioId']}.")
    number = _id("cons-")
    _constraints[number] = request
    return ActionResult({"ConstraintDetail": {"ConstraintId": number, "Type": request["Type"]}, "Status": "AVAILABLE"})


def delete_constraint(self: Any) -> EmptyResult:
    _constraints.pop(_request(self)["Id"], None)
    return EmptyResult()


def provision_product(self: Any) -> ActionResult:
    """A stack SC-<account>-<provisioned product>, created by the launch constraint's role."""
    request = _request(self)
    artifacts = {each["Id"]: each for each in _artifacts.get(request["ProductId"], [])}
    artifact = artifacts.get(request.get("ProvisioningArtifactId", ""))
    roles = [
        json.loads(each["Parameters"])["RoleArn"]
        for each in _constraints.values()
        if (each["ProductId"], each["Type"]) == (request["ProductId"], "LAUNCH")
    ]
    if artifact is None or not roles:
        raise ResourceNotFoundException(f"Product {request['ProductId']} has no such version, or no launch role.")
    provisioned = _id("pp-")
    keys = identity.service_credentials(roles[0], "servicecatalog.amazonaws.com", "servicecatalog")
    _session(keys).client("cloudformation").create_stack(
        StackName=f"SC-{ACCOUNT}-{provisioned}",
        TemplateURL=artifact["_url"],
        Parameters=[
            {"ParameterKey": each["Key"], "ParameterValue": each["Value"]}
            for each in request.get("ProvisioningParameters", [])
        ],
        Tags=request.get("Tags", []),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    detail = {"ProvisionedProductId": provisioned, "ProductId": request["ProductId"], "Status": "CREATED"}
    return ActionResult({"RecordDetail": detail})

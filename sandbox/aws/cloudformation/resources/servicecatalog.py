"""The Service Catalog resource types of CloudFormation, as infra/product.yml uses them."""

from __future__ import annotations

import json

from sandbox.aws.cloudformation.resources.handler import (
    Call,
    Handler,
    PhysicalResource,
    Properties,
    handles,
    names,
    without,
)

_SERVICE = "servicecatalog"


@handles("AWS::ServiceCatalog::Portfolio")
class Portfolio(Handler):
    changeable = names("")  # moto has no UpdatePortfolio

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        portfolio = call.client(_SERVICE).create_portfolio(**properties)["PortfolioDetail"]
        return PhysicalResource(portfolio["Id"], {"PortfolioName": portfolio["DisplayName"], "Id": portfolio["Id"]})

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client(_SERVICE).delete_portfolio(Id=physical.id)


@handles("AWS::ServiceCatalog::CloudFormationProduct")
class Product(Handler):
    """Versions are matched by name and address: one that the template no longer has is taken away.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-servicecatalog-cloudformationproduct.html
    """

    changeable = names("ProvisioningArtifactParameters")

    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        request = without(properties, "ProvisioningArtifactParameters")
        [first] = properties["ProvisioningArtifactParameters"]
        answer = call.client(_SERVICE).create_product(
            ProductType="CLOUD_FORMATION_TEMPLATE", ProvisioningArtifactParameters=first, **request
        )
        summary = answer["ProductViewDetail"]["ProductViewSummary"]
        return PhysicalResource(summary["ProductId"], {"ProductName": summary["Name"]})

    def update(self, call: Call, physical: PhysicalResource, old: Properties, new: Properties) -> PhysicalResource:
        service, product = call.client(_SERVICE), physical.id
        before = service.describe_product(Id=product)["ProvisioningArtifacts"]
        artifacts = [(each.get("Name"), each["Info"]) for each in new["ProvisioningArtifactParameters"]]
        old_artifacts = [(each.get("Name"), each["Info"]) for each in old["ProvisioningArtifactParameters"]]
        for each in new["ProvisioningArtifactParameters"]:
            if (each.get("Name"), each["Info"]) not in old_artifacts:
                service.create_provisioning_artifact(ProductId=product, Parameters=each)
        removed = {name for name, info in old_artifacts if (name, info) not in artifacts}
        for each in before:
            if each["Name"] in removed:
                service.delete_provisioning_artifact(ProductId=product, ProvisioningArtifactId=each["Id"])
        return physical

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client(_SERVICE).delete_product(Id=physical.id)


@handles("AWS::ServiceCatalog::PortfolioProductAssociation")
class ProductInPortfolio(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        call.client(_SERVICE).associate_product_with_portfolio(**properties)
        return PhysicalResource(f"{properties['ProductId']}|{properties['PortfolioId']}")

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client(_SERVICE).disassociate_product_from_portfolio(**properties)


@handles("AWS::ServiceCatalog::LaunchRoleConstraint")
class LaunchRole(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        role = json.dumps({"RoleArn": properties["RoleArn"]})
        answer = call.client(_SERVICE).create_constraint(
            Type="LAUNCH", Parameters=role, **without(properties, "RoleArn")
        )
        return PhysicalResource(answer["ConstraintDetail"]["ConstraintId"])

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client(_SERVICE).delete_constraint(Id=physical.id)


@handles("AWS::ServiceCatalog::PortfolioPrincipalAssociation")
class PrincipalOfPortfolio(Handler):
    def create(self, call: Call, properties: Properties) -> PhysicalResource:
        call.client(_SERVICE).associate_principal_with_portfolio(**properties)
        return PhysicalResource(f"{properties['PrincipalARN']}|{properties['PortfolioId']}")

    def delete(self, call: Call, physical: PhysicalResource, properties: Properties) -> None:
        call.client(_SERVICE).disassociate_principal_from_portfolio(**without(properties, "PrincipalType"))

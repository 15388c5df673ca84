"""The Service Catalog resource types of CloudFormation, as infra/product.yml uses them."""

from __future__ import annotations

import json

from sandbox.aws.cloudformation.handlers import Call, Failed, Handler, Made, Properties, handles, without

_SERVICE = "servicecatalog"


@handles("AWS::ServiceCatalog::Portfolio")
class Portfolio(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        found = call.client(_SERVICE).create_portfolio(**properties)["PortfolioDetail"]
        return Made(found["Id"], {"PortfolioName": found["DisplayName"], "Id": found["Id"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        return made  # only tags change in what we deploy, and moto has no call for them

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client(_SERVICE).delete_portfolio(Id=made.physical_id)


@handles("AWS::ServiceCatalog::CloudFormationProduct")
class Product(Handler):
    """A changed template becomes a further version; the old ones stay unless ReplaceProvisioningArtifacts says so."""

    def create(self, call: Call, properties: Properties) -> Made:
        given = without(properties, "ReplaceProvisioningArtifacts", "ProvisioningArtifactParameters")
        [first] = properties["ProvisioningArtifactParameters"]
        answer = call.client(_SERVICE).create_product(
            ProductType="CLOUD_FORMATION_TEMPLATE", ProvisioningArtifactParameters=first, **given
        )
        summary = answer["ProductViewDetail"]["ProductViewSummary"]
        return Made(summary["ProductId"], {"ProductName": summary["Name"]})

    def update(self, call: Call, made: Made, old: Properties, new: Properties) -> Made:
        if new.get("ReplaceProvisioningArtifacts"):
            raise Failed("replacing the versions of a product is not known here")
        for each in new["ProvisioningArtifactParameters"]:
            if each not in old["ProvisioningArtifactParameters"]:
                call.client(_SERVICE).create_provisioning_artifact(ProductId=made.physical_id, Parameters=each)
        return made

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client(_SERVICE).delete_product(Id=made.physical_id)


@handles("AWS::ServiceCatalog::PortfolioProductAssociation")
class ProductInPortfolio(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        call.client(_SERVICE).associate_product_with_portfolio(**properties)
        return Made(f"{properties['ProductId']}|{properties['PortfolioId']}")

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client(_SERVICE).disassociate_product_from_portfolio(**properties)


@handles("AWS::ServiceCatalog::LaunchRoleConstraint")
class LaunchRole(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        role = json.dumps({"RoleArn": properties["RoleArn"]})
        answer = call.client(_SERVICE).create_constraint(
            Type="LAUNCH", Parameters=role, **without(properties, "RoleArn")
        )
        return Made(answer["ConstraintDetail"]["ConstraintId"])

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client(_SERVICE).delete_constraint(Id=made.physical_id)


@handles("AWS::ServiceCatalog::PortfolioPrincipalAssociation")
class PrincipalOfPortfolio(Handler):
    def create(self, call: Call, properties: Properties) -> Made:
        call.client(_SERVICE).associate_principal_with_portfolio(**properties)
        return Made(f"{properties['PrincipalARN']}|{properties['PortfolioId']}")

    def delete(self, call: Call, made: Made, properties: Properties) -> None:
        call.client(_SERVICE).disassociate_principal_from_portfolio(**without(properties, "PrincipalType"))

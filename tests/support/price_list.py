"""AWS's price list of SageMaker in the form in which AWS publishes it."""

from __future__ import annotations

from typing import Any

REGION = "eu-west-1"
Product = tuple[dict[str, Any], dict[str, Any]]


def product(usage: str, price: str, unit: str = "Hrs", region: str = REGION) -> Product:
    """A product and its terms."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": price}, "beginRange": "0", "endRange": "Inf"}
    terms = {"TERM": {"priceDimensions": {"TERM.RATE": dimension}, "termAttributes": {}}}
    return {"productFamily": "ML", "attributes": {"usagetype": usage, "regionCode": region}}, terms


def offer(*products: Product) -> dict[str, Any]:
    """An offer file: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list.html."""
    numbered = {f"SKU{number}": each for number, each in enumerate(products)}
    return {
        "formatVersion": "v1.0",
        "offerCode": "AmazonSageMaker",
        "version": "20260901000000",
        "publicationDate": "2026-09-01T12:00:00Z",
        "products": {sku: each for sku, (each, _) in numbered.items()},
        "terms": {"OnDemand": {sku: terms for sku, (_, terms) in numbered.items()}},
    }

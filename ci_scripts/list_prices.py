"""What a stage costs by AWS's list prices: prices.json read and made, and the sentence that says it.

Called by `build` and `prices`.

AWS's price list is megabytes for one region, and no role of the jobs may ask for it; so a repository keeps the few
prices that matter, with their date. https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
A price that is not there is said to be missing, never guessed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from ci_scripts import documents, repository, schemas, text
from ci_scripts.errors import InvalidPrices

FILE = "prices.json"
"""Where the prices are looked for; the file may be missing."""

HOURS = 730
"""Of a month, as AWS's own calculator counts."""

MONTH, RUN, REQUEST = "a month", "for each hour of a run", "for each second of a request, and nothing while nobody asks"
"""For what a price is paid."""

_OFFER = "AmazonSageMaker"
_USAGE = re.compile(r"(?:.*-)?((?:Host|AsyncInf|Tsform):ml\.[a-z0-9.-]+|ServerlessInf:Mem-[0-9]+GB)")
"""A usage type, behind its region: EU-Host:ml.m5.large."""
_UNITS = {"hrs", "hours", "hour", "second", "seconds"}
_LARGEST = 1_000_000  # bytes of prices.json
_OLD_DAYS = 365


class Usage(NamedTuple):
    """One thing that a stage pays for."""

    what: str
    """For people: `ml.m5.large`."""
    key: str
    """Its usage type without the region: `Host:ml.m5.large`; empty where AWS's is not known."""
    least: int = 1
    most: int = 1
    paid: str = MONTH


class Prices(NamedTuple):
    """Of AWS's list."""

    file: str
    source: str
    date: str
    """As YYYY-MM-DD."""
    currency: str
    regions: Mapping[str, Mapping[str, float]]
    """Of an hour or, for serverless endpoints, a second; by region and usage type."""


def load(name: str, folder: Path) -> Prices | None:
    """The prices of a file in `folder`; None when it is the usual one, and is not there. Raises InvalidPrices."""
    if name == FILE and not os.path.lexists(folder / name):
        return None
    try:
        content = documents.parse_json(repository.read(folder / name, _LARGEST, folder).decode())
    except (repository.Unreadable, UnicodeDecodeError) as error:
        raise InvalidPrices(f"{name} {error}") from None
    except documents.Malformed as error:
        raise InvalidPrices(documents.about(name, error)) from None
    problems = [": ".join(part for part in each if part) for each in schemas.problems(content, schema())]
    if not problems:
        try:
            date.fromisoformat(content["Date"])
        except ValueError:
            problems = [f"Date: {content['Date']} is no day"]
    if problems:
        raise InvalidPrices(f"{name}: {'; '.join(problems[:5])}")
    return Prices(name, content["Source"], content["Date"], content["Currency"], content["Regions"])


def schema() -> dict[str, Any]:
    """The JSON Schema of prices.json."""
    from importlib.resources import files

    content: dict[str, Any] = json.loads(files(__package__).joinpath("prices.schema.json").read_text("utf-8"))
    return content


# --- from AWS's list -----------------------------------------------------------------------------------------------


def of_offer(offer: Any, regions: Collection[str], file: str = FILE) -> Prices:
    """The prices that stages pay, of AWS's offer file for SageMaker; `regions`: those to keep, all when it is empty.

    Raises InvalidPrices for what is no such file, or has none of these prices.
    """
    if not isinstance(offer, Mapping) or offer.get("offerCode") != _OFFER:
        raise InvalidPrices("the text is not AWS's price list of SageMaker (offerCode AmazonSageMaker)")
    by_region: dict[str, dict[str, float]] = {}
    try:
        for region, usage, price in _priced(offer):
            if not regions or region in regions:
                of_region = by_region.setdefault(region, {})
                of_region[usage] = max(price, of_region.get(usage, 0.0))  # free tiers are listed, too
        published, version = str(offer["publicationDate"])[:10], str(offer["version"])
        date.fromisoformat(published)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise InvalidPrices(f"AWS's price list is not of the form that is known: {error!r}") from error
    if missing := sorted(set(regions) - set(by_region)):
        raise InvalidPrices(f"AWS's price list has no prices of endpoints in {', '.join(missing)}")
    if not by_region:
        raise InvalidPrices("AWS's price list has no prices of endpoints")
    ordered = {region: dict(sorted(by_region[region].items())) for region in sorted(by_region)}
    return Prices(file, f"AWS price list {_OFFER}, version {version}", published, "USD", ordered)


def _priced(offer: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Region, usage type and price of what is paid on demand."""
    for number, product in offer["products"].items():
        attributes = product["attributes"]
        usage = _USAGE.fullmatch(attributes.get("usagetype", ""))
        terms = offer["terms"]["OnDemand"].get(number)
        if usage is None or not terms or not attributes.get("regionCode"):
            continue
        dimensions = next(iter(terms.values()))["priceDimensions"].values()
        for dimension in dimensions:
            if str(dimension["unit"]).lower() in _UNITS and "USD" in dimension["pricePerUnit"]:
                yield attributes["regionCode"], usage[1], float(dimension["pricePerUnit"]["USD"])


def to_bytes(prices: Prices) -> bytes:
    """The content of prices.json."""
    content = {
        "Source": prices.source,
        "Date": prices.date,
        "Currency": prices.currency,
        "Regions": prices.regions,
    }
    return (json.dumps(content, indent=2) + "\n").encode()


# --- what a stage costs --------------------------------------------------------------------------------------------


def in_words(usages: Sequence[Usage], prices: Prices | None, region: str) -> str:
    """What all of it costs, in one sentence; what cannot be said says why."""
    things = ", ".join(map(_thing, usages))
    if not usages:
        return "not known: no parameter of the template says what runs"
    if prices is None:
        return f"not known for {things}: there is no {FILE}, which `sagemaker-ci prices` makes"
    rates = prices.regions.get(region, {})
    if missing := [each.key or each.what for each in usages if each.key not in rates]:
        return f"not known for {things}: {prices.file} has no price of {', '.join(missing)} in {region}"
    amounts = []
    for paid in dict.fromkeys(each.paid for each in usages):
        of_kind = [each for each in usages if each.paid == paid]
        hours = HOURS if paid == MONTH else 1
        least, most = (
            sum(rates[each.key] * count * hours for each, count in zip(of_kind, counts, strict=True))
            for counts in ([each.least for each in of_kind], [each.most for each in of_kind])
        )
        amounts.append(f"{_amount(least, paid)}{f' to {_amount(most, paid)}' if most > least else ''}")
        amounts[-1] += f" {prices.currency} {paid}"
    return (
        f"{' and '.join(amounts)} for {things}, by AWS's list prices of {prices.date}; storage, data and "
        "your discounts are not in it"
    )


def outdated(prices: Prices, today: date) -> str:
    """That prices are old, in one sentence; empty when they are not."""
    days = (today - date.fromisoformat(prices.date)).days
    if days <= _OLD_DAYS:
        return ""
    return f"{text.cell(prices.file)} is {days:,} days old: AWS may have changed its prices since"


def _thing(usage: Usage) -> str:
    if usage.paid == REQUEST:
        return usage.what
    count = f"{usage.least} to {usage.most}" if usage.most > usage.least else str(usage.most)
    return f"{count} {usage.what}"


def _amount(value: float, paid: str) -> str:
    return f"{value:,.2f}" if paid == MONTH else f"{value:.7f}".rstrip("0").rstrip(".")

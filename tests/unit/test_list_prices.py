"""List prices: what is kept of AWS's price list, and the sentence that says what a stage costs."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ci_scripts import cli, hosting, list_prices
from ci_scripts.errors import InvalidPrices
from ci_scripts.list_prices import Prices
from tests.support.price_list import REGION, offer, product

LISTED = {
    "Host:ml.m5.large": 0.1,
    "AsyncInf:ml.m5.large": 0.2,
    "Tsform:ml.m5.large": 0.3,
    "ServerlessInf:Mem-2GB": 0.00004,
}
PRICES = Prices("prices.json", "AWS price list AmazonSageMaker, version 1", "2026-09-01", "USD", {REGION: LISTED})
INSTANCE = {"EndpointInstanceType": "ml.m5.large", "EndpointInstanceCount": "2"}


AWS = offer(
    product("EU-Host:ml.m5.large", "0.1280000000"),
    product("EU-Host:ml.m5.large", "0.0000000000"),  # a free tier
    product("EU-Train:ml.m5.large", "0.1280000000"),
    product("EU-ServerlessInf:Mem-2GB", "0.0000400000", "seconds"),
    product("EU-ServerlessInf:Mem-2GB", "0.016", "GB"),
    product("Host:ml.t2.medium", "0.056", region="us-east-1"),
)


def test_of_aws_list_the_usage_types_of_stages_are_kept() -> None:
    prices = list_prices.of_offer(AWS, [])
    assert (prices.date, prices.source) == ("2026-09-01", "AWS price list AmazonSageMaker, version 20260901000000")
    assert prices.regions == {
        REGION: {"Host:ml.m5.large": 0.128, "ServerlessInf:Mem-2GB": 0.00004},
        "us-east-1": {"Host:ml.t2.medium": 0.056},
    }
    assert set(list_prices.of_offer(AWS, [REGION]).regions) == {REGION}


@pytest.mark.parametrize(
    ("content", "regions", "message"),
    [
        ([], [], "is not AWS's price list of SageMaker"),
        (AWS | {"offerCode": "AmazonEC2"}, [], "is not AWS's price list of SageMaker"),
        (AWS, ["mars-north-1", REGION], "no prices of endpoints in mars-north-1"),
        (offer(), [], "no prices of endpoints"),
        (AWS | {"publicationDate": "yesterday"}, [], "not of the form that is known"),
        (AWS | {"terms": {}}, [], "not of the form that is known: KeyError"),
    ],
)
def test_what_is_no_such_list_is_told(content: Any, regions: list[str], message: str) -> None:
    with pytest.raises(InvalidPrices, match=message):
        list_prices.of_offer(content, regions)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    assert list_prices.load("prices.json", tmp_path) is None
    (tmp_path / "prices.json").write_bytes(list_prices.to_bytes(PRICES))
    assert list_prices.load("prices.json", tmp_path) == PRICES
    with pytest.raises(InvalidPrices, match=r"other\.json is missing"):
        list_prices.load("other.json", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Date": "2026-13-01"}, "Date: 2026-13-01 is no day"),
        ({"Currency": "dollars"}, "Currency"),
        ({"Regions": {REGION: {"Host:ml.m5.large": -1}}}, "Regions.eu-west-1"),
        ({"Discount": 1}, "Discount"),
    ],
)
def test_prices_of_another_shape_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = json.loads(list_prices.to_bytes(PRICES)) | change
    (tmp_path / "prices.json").write_text(json.dumps(content))
    with pytest.raises(InvalidPrices, match=rf"prices\.json: .*{message}"):
        list_prices.load("prices.json", tmp_path)


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        ("real-time", INSTANCE, "146.00 USD a month for 2 ml.m5.large, by AWS's list prices of 2026-09-01; "),
        (
            "real-time",
            INSTANCE | {"MinInstanceCount": "1", "MaxInstanceCount": "4"},
            "73.00 to 292.00 USD a month for 1 to 4 ml.m5.large, by",
        ),
        (
            "real-time",
            INSTANCE | {"ChallengerModelPackageName": "arn:x"},
            "292.00 USD a month for 2 ml.m5.large, 2 ml.m5.large of the challenger, by",
        ),
        (
            "asynchronous",
            INSTANCE | {"MinInstanceCount": "0", "MaxInstanceCount": "1"},
            "0.00 to 146.00 USD a month for 0 to 1 ml.m5.large, by",
        ),
        (
            "serverless",
            {"MemorySizeInMB": "2048", "ProvisionedConcurrency": "0"},
            "0.00004 USD for each second of a request, and nothing while nobody asks for 2GB of memory, by",
        ),
        (
            "batch-transform",
            {"TransformInstanceType": "ml.m5.large", "TransformInstanceCount": "2"},
            "0.6 USD for each hour of a run for 2 ml.m5.large, by",
        ),
        (
            "real-time",
            INSTANCE | {"EndpointInstanceType": "ml.p5.48xlarge"},
            "not known for 2 ml.p5.48xlarge: prices.json has no price of Host:ml.p5.48xlarge in eu-west-1",
        ),
        (
            "serverless",
            {"MemorySizeInMB": "2048", "ProvisionedConcurrency": "3"},
            "not known for 2GB of memory, 3 of provisioned concurrency: prices.json has no price of 3 of provisioned",
        ),
        ("real-time", {}, "not known: no parameter of the template says what runs"),
    ],
)
def test_what_a_stage_costs_is_one_sentence(kind: str, parameters: dict[str, str], sentence: str) -> None:
    assert list_prices.in_words(hosting.of(kind).usages(parameters), PRICES, REGION).startswith(sentence)


def test_without_prices_none_is_made_up() -> None:
    usages = hosting.DEFAULT.usages(INSTANCE)
    sentence = "not known for 2 ml.m5.large: there is no prices.json, which `sagemaker-ci prices` makes"
    assert list_prices.in_words(usages, None, REGION) == sentence
    assert "no price of Host:ml.m5.large in us-east-1" in list_prices.in_words(usages, PRICES, "us-east-1")


def test_old_prices_are_told_to_be_old() -> None:
    assert list_prices.outdated(PRICES, date(2027, 9, 1)) == ""
    assert list_prices.outdated(PRICES, date(2027, 9, 2)).startswith(
        "prices.json is 366 days old: AWS may have changed"
    )


def test_a_terminal_that_sends_no_list_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert cli.main(["prices"]) == 1
    stderr = capsys.readouterr().err
    assert "error SMCI-418: no price list comes in by standard input" in stderr
    assert "sagemaker-ci prices` reads AWS's price list" in stderr

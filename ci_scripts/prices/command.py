"""`sagemaker-ci prices`: keep of AWS's price list what stages pay, in prices.json.

The list comes in by standard input, as AWS publishes it: the command itself asks nobody.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

_MOST_BYTES = 500_000_000
_MOST_VALUES = 50_000_000  # of the list of all regions


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="REGION",
        help="a region to keep, may be repeated; default: all",
    )
    parser.add_argument("--output", default="prices.json", metavar="PATH", help="file to write (default: prices.json)")


def run(arguments: Namespace) -> None:
    import sys
    from pathlib import Path

    from ci_scripts import documents, job, list_prices, repository
    from ci_scripts.errors import InvalidPrices

    repository.require(arguments.output)
    if sys.stdin.isatty():
        raise InvalidPrices("no price list comes in by standard input")
    content = sys.stdin.buffer.read(_MOST_BYTES)
    try:
        offer = documents.parse_json(content.decode(), most_values=_MOST_VALUES)
    except (UnicodeDecodeError, documents.Malformed) as error:
        raise InvalidPrices(documents.about("AWS's price list", error)) from None
    prices = list_prices.of_offer(offer, arguments.region, arguments.output)
    repository.write(Path(arguments.output), list_prices.to_bytes(prices), Path.cwd())
    counts = ", ".join(f"{len(of_region)} of {region}" for region, of_region in prices.regions.items())
    job.say(f"{arguments.output}: prices of {prices.date}, {counts}")

"""Lists in pages, and collections of records declared in a few lines. Used by the modules in `rest/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Response, jsonify, request

from sandbox.gitlab.records.store import GUEST, MAINTAINER
from sandbox.gitlab.rest.api import Api
from sandbox.gitlab.rest.parameters import Json, bad_parameter, choice, integer, lacking, not_found, parameters

_LARGEST_PAGE = 100


def page_of(items: list[Any], show: Callable[[Any], Json], *, counted: bool = True) -> Response:
    """One page of `items`, with the headers by which clients find the others.

    `counted=False` is for the lists whose totals GitLab never sends. https://docs.gitlab.com/api/rest/#pagination
    """
    number, size = integer(request.args, "page", 1) or 1, integer(request.args, "per_page", 20)
    if size == 0:
        raise bad_parameter("per_page has a value not allowed")
    if request.args.get("pagination") == "keyset":
        raise lacking("keyset pagination")
    number, size = max(1, number), min(_LARGEST_PAGE, max(1, size or 20))
    pages = max(1, -(-len(items) // size))
    response = jsonify([show(item) for item in items[(number - 1) * size : number * size]])
    around = {"prev": number - 1 if number > 1 else None, "next": number + 1 if number < pages else None}
    links = {**around, "first": 1, "last": pages if counted else None}
    response.headers["Link"] = ", ".join(f'<{_url(page, size)}>; rel="{name}"' for name, page in links.items() if page)
    response.headers["X-Page"], response.headers["X-Per-Page"] = str(number), str(size)
    if counted:
        response.headers["X-Total"], response.headers["X-Total-Pages"] = str(len(items)), str(pages)
    response.headers["X-Prev-Page"] = str(around["prev"] or "")
    response.headers["X-Next-Page"] = str(around["next"] or "")
    return response


def _url(page: int, size: int) -> str:
    return f"{request.base_url}?{urlencode({**request.args, 'page': page, 'per_page': size})}"


def in_order(items: list[Any], fields: Mapping[str, Callable[[Any], Any]], order_by: str, sort: str) -> list[Any]:
    """`items` by the request's `order_by` (one of `fields`) and `sort`; given are the endpoint's defaults."""
    order = choice(request.args, "order_by", fields, order_by)
    down = choice(request.args, "sort", ("asc", "desc"), sort) == "desc"
    return sorted(items, key=fields[order], reverse=down)


@dataclass(frozen=True)
class Resource:
    """A collection below a project or group: `path` serves the list, `path/:key` each item.

    `items(scope)` gives all of them; `create(scope, data)`, `update(item, data)` and `delete(scope, item)` exist where
    the API has them. `read` and `write` are the access levels needed.
    """

    path: str
    name: str
    items: Callable[[Any], list[Any]]
    show: Callable[[Any], Json]
    key: str = "id"
    find: Callable[[list[Any], str], Any] | None = None
    all_items: Callable[[Any], list[Any]] | None = None  # where the list is filtered by the query
    show_one: Callable[[Any], Json] | None = None  # where one item tells more than its row in the list
    create: Callable[[Any, Json], Any] | None = None
    show_created: Callable[[Any], Json] | None = None  # where the answer to POST tells more, such as a token's value
    update: Callable[[Any, Json], None] | None = None
    update_method: str = "PUT"
    delete: Callable[[Any, Any], None] | None = None
    read: int = GUEST
    write: int = MAINTAINER


def add_resource(api: Api, resource: Resource) -> None:
    """Register the routes of a resource."""
    item_path = f"{resource.path}/:key"
    show_one = resource.show_one or resource.show

    def item_of(scope: Any, key: str) -> Any:
        items = (resource.all_items or resource.items)(scope)
        if resource.find:
            item = resource.find(items, key)
        else:
            item = next((item for item in items if str(getattr(item, resource.key)) == key), None)
        if item is None:
            raise not_found(resource.name)
        return item

    def scope_of(arguments: dict[str, Any]) -> Any:
        return next(iter(arguments.values()), None)

    @api.action("GET", resource.path, resource.read)
    def list_items(**scope: Any) -> Response:
        return page_of(resource.items(scope_of(scope)), resource.show)

    @api.action("GET", item_path, resource.read)
    def get_item(key: str, **scope: Any) -> Json:
        return show_one(item_of(scope_of(scope), key))

    if create := resource.create:

        @api.action("POST", resource.path, resource.write, status=201)
        def create_item(**scope: Any) -> Json:
            with api.store.lock:
                created = create(scope_of(scope), parameters())
                return (resource.show_created or show_one)(created)

    if update := resource.update:

        @api.action(resource.update_method, item_path, resource.write)
        def update_item(key: str, **scope: Any) -> Json:
            with api.store.lock:
                item = item_of(scope_of(scope), key)
                update(item, parameters())
                return show_one(item)

    if delete := resource.delete:

        @api.action("DELETE", item_path, resource.write)
        def delete_item(key: str, **scope: Any) -> None:
            with api.store.lock:
                delete(scope_of(scope), item_of(scope_of(scope), key))

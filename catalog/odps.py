"""Data products of the Open Data Product Standard.

Takes: a document that fits, and the contracts of its domain. Gives: a `Product`. Never joins
several contracts into one product, and never reads a key that the standard does not have: in a
product file there is no room for a vendor, so our own settings stand in the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.documents import Document
from catalog.model import Product
from catalog.odcs import Contract, contract_of, quality_rules, service_levels
from catalog.problems import Problems, nearest


def product_of(
    document: Document, domain: str, contracts: Mapping[str, Document], problems: Problems
) -> Product | None:
    """The product with the tables of its contract; None where there is no such contract."""
    content = document.content
    if content["domain"] != domain:
        problems.add(
            document.place("domain"), "misplaced",
            f"is {content['domain']!r} in the folder of {domain!r}",
            "a domain's files speak of its own products only",
        )
        return None
    found = _contract_id(document, contracts, problems)
    if found is None:
        return None
    contract = contract_of(contracts[found], f"{domain}.{content['name']}", problems)
    _check_contract(contract, document, problems)
    return _product(document, contract, domain)


def _contract_id(
    document: Document, contracts: Mapping[str, Document], problems: Problems
) -> str | None:
    ports = document.content["outputPorts"]
    named = dict.fromkeys(str(one["contractId"]) for one in ports)
    if len(named) > 1:
        problems.add(
            document.place("outputPorts"), "invalid_value", "the ports name several contracts",
            "make a product for each contract; one contract may have many tables",
        )
    first = next(iter(named))
    if first in contracts:
        return first
    problems.add(
        document.place("outputPorts", 0, "contractId"), "unknown_contract",
        f"there is no contract {first} in its domain",
        nearest(first, contracts) or "write it to contracts/",
    )
    return None


def _check_contract(contract: Contract, document: Document, problems: Problems) -> None:
    own, product = contract.content, document.content
    for key, wanted in (("domain", product["domain"]), ("dataProduct", product["name"])):
        if own.get(key) not in (None, wanted):
            problems.add(
                contract.document.place(key), "misplaced",
                f"is {own[key]!r} in a contract of {product['domain']}.{product['name']}",
                f"write {wanted}, or leave it out",
            )
    if not _owners(product):
        problems.add(
            document.place("team"), "missing_owner", "the product has no owner",
            "list its people under team.members, one of them with the role owner",
        )


def _owners(content: Mapping[str, Any]) -> tuple[str, ...]:
    members = (content.get("team") or {}).get("members") or []
    return tuple(
        one["username"] for one in members
        if str(one.get("role", "")).casefold() == "owner" and not one.get("dateOut")
    )


def _product(document: Document, contract: Contract, domain: str) -> Product:
    content = document.content
    description = content.get("description") or {}
    tags = [content, contract.content, *content["outputPorts"]]
    return Product(
        domain=domain, name=content["name"], version=content["version"], status=content["status"],
        source=f"{domain}.{contract.source}" if contract.source else "",
        tables=contract.tables,
        contract_id=str(contract.content["id"]), default_table=contract.default_table,
        purpose=_text(description.get("purpose")),
        description=_description(description, contract.content),
        tags=frozenset(tag for one in tags for tag in one.get("tags") or ()),
        owners=_owners(content),
        support=tuple(one["url"] for one in content.get("support") or []),
        service_levels=service_levels(contract.content), quality=quality_rules(contract.content),
        place=document.place(),
    )


def _description(own: Mapping[str, Any], contract: Mapping[str, Any]) -> str:
    return _text(own.get("purpose") or (contract.get("description") or {}).get("purpose"))


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()

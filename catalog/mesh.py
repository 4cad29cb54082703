"""A mesh folder becomes a `Mesh`.

Takes: a folder (DESIGN 8). Gives: a `Mesh`, or a `MeshError` that holds every problem found, each
with file, line, path and remedy. Never opens a database, never keeps half a mesh.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.documents import Document, Problem, check_schema, read_documents
from catalog.model import (
    Domain,
    Grant,
    Mesh,
    Place,
    Policy,
    Product,
    Purpose,
    Table,
    Taxonomy,
    User,
)
from catalog.odcs import custom, quality_rules, service_levels, tables_of
from catalog.policy import (
    domain_of,
    grant_of,
    policy_of,
    purposes_of,
    taxonomy_of,
    users_of,
)
from catalog.schemas import SCHEMAS, validator_of

_READ = frozenset({".yaml", ".yml", ".toml"})


class MeshError(Exception):
    """A mesh that cannot be served; `problems` are all that were found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = problems


@dataclass(slots=True)
class _Parts:
    """What has been read so far."""

    problems: list[Problem] = field(default_factory=list)
    domains: list[Domain] = field(default_factory=list)
    products: list[tuple[str, Document]] = field(default_factory=list)
    contracts: dict[tuple[str, str], Document] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    purposes: tuple[Purpose, ...] = ()
    taxonomy: Taxonomy = Taxonomy()
    join_groups: tuple[str, ...] = ()
    users: tuple[User, ...] = ()


def load_mesh(folder: Path) -> Mesh:
    """Read and check a whole mesh; raises MeshError."""
    parts = _Parts()
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _READ or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        if path.suffix != ".toml" and "tests" not in path.relative_to(folder).parts:
            _read(name, content, parts)
    if not (folder / "gateway.toml").is_file() and not parts.domains:
        parts.problems.append(
            Problem(Place("."), "is no mesh folder: there is no domain", "run `sqluice init DIR`")
        )
    products = tuple(
        made
        for domain, document in parts.products
        if (made := _product(domain, document, parts)) is not None
    )
    _cross_check(parts, products)
    if parts.problems:
        raise MeshError(tuple(parts.problems))
    return Mesh(
        revision=digest.hexdigest(),
        domains=tuple(parts.domains),
        products=products,
        grants=tuple(parts.grants),
        policies=tuple(parts.policies),
        purposes=parts.purposes,
        taxonomy=parts.taxonomy,
        users=parts.users,
        join_groups=parts.join_groups,
    )


def _read(name: str, content: bytes, parts: _Parts) -> None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        parts.problems.append(Problem(Place(name), "is not UTF-8", "save it as UTF-8"))
        return
    for document in read_documents(name, text, parts.problems):
        kind = document.content.get("kind")
        if kind != "DataContract" and kind not in SCHEMAS:
            known = ", ".join(["DataContract", *SCHEMAS])
            parts.problems.append(
                Problem(
                    document.place("kind"), f"the kind {kind!r} is not known", f"kinds are {known}"
                )
            )
        elif check_schema(document, validator_of(str(kind)), parts.problems):
            _take(str(kind), document, parts)


def _take(kind: str, document: Document, parts: _Parts) -> None:
    domain = _domain_of_file(document.file)
    content = document.content
    match kind:
        case "Domain":
            made = domain_of(document)
            if domain is not None and made.name != domain:
                parts.problems.append(
                    Problem(
                        document.place("name"),
                        f"is {made.name!r} in the folder of {domain!r}",
                        "give folder and domain one name",
                    )
                )
            parts.domains.append(made)
        case "DataProduct":
            parts.products.append((domain or content["domain"], document))
        case "DataContract":
            parts.contracts[domain or "", str(content["id"])] = document
        case "Policy":
            parts.policies.append(policy_of(document, domain))
        case "Grant" if domain is not None:
            parts.grants.append(grant_of(document, domain))
        case "Taxonomy":
            parts.taxonomy, parts.join_groups = taxonomy_of(content)
        case "Purposes":
            parts.purposes = purposes_of(content)
        case "Identities":
            parts.users = users_of(content)
        case _:
            parts.problems.append(
                Problem(
                    document.place("kind"),
                    "a grant stands outside the folder of a domain",
                    "move it to domains/<domain>/grants",
                )
            )


def _domain_of_file(file: str) -> str | None:
    parts = file.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "domains" else None


def _product(domain: str, document: Document, parts: _Parts) -> Product | None:
    content = document.content
    if content["domain"] != domain:
        parts.problems.append(
            Problem(
                document.place("domain"),
                f"is {content['domain']!r} in the folder of {domain!r}",
                "a domain's files speak of its own products only",
            )
        )
        return None
    port = content["outputPorts"][0]
    contract = parts.contracts.get((domain, port["contractId"]))
    if contract is None:
        parts.problems.append(
            Problem(
                document.place("outputPorts", 0, "contractId"),
                f"there is no contract {port['contractId']} in {domain}",
                "write it to contracts/, or correct the id",
            )
        )
        return None
    source = custom(contract.content, "source")
    tables = tables_of(contract, parts.problems)
    default = custom(content, "defaultTable")
    _check_product(document, contract, tables, default, parts)
    team = content.get("team") or {}
    description = content.get("description") or {}
    return Product(
        domain=domain,
        name=content["name"],
        version=content["version"],
        status=content["status"],
        source=f"{domain}.{source}"
        if isinstance(source, str) and "." not in source
        else str(source),
        tables=tables,
        contract_id=port["contractId"],
        default_table=default,
        purpose=description.get("purpose", ""),
        description=_description(description, contract),
        tags=frozenset(content.get("tags") or ()) | frozenset(contract.content.get("tags") or ()),
        owners=tuple(one["username"] for one in team.get("members") or []),
        support=tuple(one.get("url") or one["channel"] for one in content.get("support") or []),
        service_levels=service_levels(contract.content),
        quality=quality_rules(contract.content),
        place=document.place(),
    )


def _description(description: Mapping[str, Any], contract: Document) -> str:
    inner = contract.content.get("description") or {}
    return str(description.get("purpose") or inner.get("purpose") or "").strip()


def _check_product(
    document: Document,
    contract: Document,
    tables: tuple[Table, ...],
    default: object,
    parts: _Parts,
) -> None:
    if not tables:
        parts.problems.append(Problem(contract.place("schema"), "the contract has no table"))
    if default is not None and default not in {one.name for one in tables}:
        parts.problems.append(
            Problem(
                document.place("customProperties"),
                f"the default table {default!r} does not exist",
                "name a table of the contract",
            )
        )
    if not (document.content.get("team") or {}).get("members"):
        parts.problems.append(
            Problem(
                document.place(), "the product has no owner", "list its people under team.members"
            )
        )
    if not isinstance(custom(contract.content, "source"), str):
        parts.problems.append(
            Problem(
                contract.place("customProperties"),
                "the contract names no source",
                "add {property: source, value: <name>, vendor: sqluice}",
            )
        )


def _cross_check(parts: _Parts, products: tuple[Product, ...]) -> None:
    """What only the whole mesh can tell; an unknown word is a problem (DESIGN 5, rule 12)."""
    sources = {one.identity: one for domain in parts.domains for one in domain.sources}
    problems = parts.problems
    for product in products:
        if product.domain not in {one.name for one in parts.domains}:
            problems.append(
                _at(product.place, f"there is no domain {product.domain}", "write its domain.yaml")
            )
        elif product.source not in sources or not product.source.startswith(f"{product.domain}."):
            problems.append(
                _at(
                    product.place,
                    f"there is no source {product.source} in its domain",
                    "declare it in domain.yaml",
                )
            )
        for table in product.tables:
            _check_words(product, table, parts)
    _check_references(parts, products)
    _check_duplicates(parts, products)


def _at(place: Place | None, message: str, remedy: str = "") -> Problem:
    return Problem(place or Place("."), message, remedy)


def _check_words(product: Product, table: Table, parts: _Parts) -> None:
    for name, tags in [("", product.tags | table.tags)] + [(c.name, c.tags) for c in table.columns]:
        for tag in sorted(tags - parts.taxonomy.tags):
            parts.problems.append(
                _at(
                    table.place,
                    f"the tag {tag!r}{f' of {name}' if name else ''} is not in the taxonomy",
                    "correct it, or let the governance group add it",
                )
            )
    for column in table.columns:
        if column.classification not in (None, *parts.taxonomy.classifications):
            parts.problems.append(
                _at(
                    table.place,
                    f"the classification {column.classification!r} of {column.name} is not in the "
                    "taxonomy",
                    "correct it, or let the governance group add it",
                )
            )


def _check_references(parts: _Parts, products: tuple[Product, ...]) -> None:
    known_products = {(one.domain, one.name): one for one in products}
    purposes = {one.name for one in parts.purposes}
    for grant in parts.grants:
        product = known_products.get((grant.domain, grant.product))
        if product is None:
            parts.problems.append(
                _at(
                    grant.place,
                    f"{grant.id}: {grant.domain} has no product {grant.product}",
                    "a domain grants its own products only",
                )
            )
        elif grant.tables is not None:
            for name in sorted(grant.tables - {one.name for one in product.tables}):
                parts.problems.append(_at(grant.place, f"{grant.id}: there is no table {name}"))
        _check_purposes(grant.id, grant.purposes, purposes, grant.place, parts)
    for policy in parts.policies:
        _check_purposes(policy.id, policy.purposes, purposes, policy.place, parts)
        _check_policy(policy, parts, {one.address for one in products})


def _check_purposes(
    name: str, used: frozenset[str], known: set[str], place: Place | None, parts: _Parts
) -> None:
    for purpose in sorted(used - known):
        parts.problems.append(
            _at(
                place,
                f"{name}: the purpose {purpose!r} is not known",
                "correct it, or let the governance group add it to purposes.yaml",
            )
        )


def _check_policy(policy: Policy, parts: _Parts, addresses: set[str]) -> None:
    for tag in sorted(policy.match.tags - parts.taxonomy.tags):
        parts.problems.append(
            _at(policy.place, f"{policy.id}: the tag {tag!r} is not in the taxonomy", "correct it")
        )
    for name in sorted(policy.match.classifications - set(parts.taxonomy.classifications)):
        parts.problems.append(
            _at(
                policy.place,
                f"{policy.id}: the classification {name!r} is not in the taxonomy",
                "correct it",
            )
        )
    group = policy.mask.join_group if policy.mask is not None else None
    if (
        policy.mask is not None
        and policy.mask.kind == "pseudonym"
        and group not in parts.join_groups
    ):
        parts.problems.append(
            _at(
                policy.place,
                f"{policy.id}: the join group {group!r} is not in the taxonomy",
                "add it to joinGroups",
            )
        )
    if policy.domain is not None:
        outside = policy.match.domain not in (None, policy.domain)
        product = policy.match.product or ""
        if outside or ("." in product and not product.startswith(f"{policy.domain}.")):
            parts.problems.append(
                _at(
                    policy.place,
                    f"{policy.id}: a domain restricts its own products only",
                    "remove it, or ask the governance group",
                )
            )
    elif "." in (policy.match.product or "") and policy.match.product not in addresses:
        parts.problems.append(
            _at(
                policy.place,
                f"{policy.id}: there is no product {policy.match.product}",
                "correct it",
            )
        )


def _check_duplicates(parts: _Parts, products: tuple[Product, ...]) -> None:
    ids = Counter([one.id for one in parts.policies] + [one.id for one in parts.grants])
    places = [(one.id, one.place) for one in parts.policies]
    places += [(one.id, one.place) for one in parts.grants]
    for name, place in places:
        if ids[name] > 1:
            parts.problems.append(_at(place, f"the id {name} stands twice", "keep one"))
    versions = Counter((one.domain, one.name.casefold(), one.major) for one in products)
    for product in products:
        if versions[product.domain, product.name.casefold(), product.major] > 1:
            parts.problems.append(
                _at(
                    product.place,
                    f"{product.address} stands twice in major {product.major}",
                    "keep one",
                )
            )

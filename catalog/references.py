"""What only the whole mesh can tell: every word and every name refers to something that exists.

Takes: all values of a mesh. Gives: problems. Never forgives an unknown word: a tag, a product or
a group that nobody declared would make a policy match nothing (DESIGN 5, rule 12). What refers to
a file that could not be read is not told again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from catalog.access_references import check_access
from catalog.documents import Document
from catalog.model import (
    Column,
    Domain,
    Grant,
    Match,
    Place,
    Policy,
    Product,
    Relationship,
    Table,
)
from catalog.problems import nearest
from catalog.values import Parts

# `p_` and 26 characters.
PSEUDONYM_LENGTH = 28
RESERVED = frozenset({"mesh"})

Tables = list[tuple[Product, Table]]


def check_references(parts: Parts) -> None:
    """Everything that refers to something else."""
    _check_unique(parts)
    domains = {one.name: one for one in parts.domains}
    tables = {
        f"{product.address}.{table.name}": table
        for product in parts.products for table in product.tables
    }
    for product in parts.products:
        _check_source(product, domains, parts)
        for table in product.tables:
            if "governance" not in parts.lost:
                _check_words(product, table, parts)
            for one in table.relationships:
                _check_relationship(one, table, tables, parts)
    by_domain: dict[str, list[Product]] = {}
    for product in parts.products:
        by_domain.setdefault(product.domain, []).append(product)
    for grant, document in parts.grants:
        _check_grant(grant, document, by_domain, parts)
    for policy, document in parts.policies:
        _check_policy(policy, document, parts)
    _check_ceilings(parts)
    check_access(parts)


def _check_ceilings(parts: Parts) -> None:
    """They match as policies do that concern columns."""
    for one, document in parts.ceilings:
        shadow = Policy(one.id, "hide", one.match, purposes=one.purposes)
        _check_policy(shadow, document, parts)


def _check_unique(parts: Parts) -> None:
    named: list[tuple[str, str, Place | None]] = [
        ("domain", one.name.casefold(), one.place) for one in parts.domains
    ]
    named += [
        (f"major {one.major} of product", one.address.casefold(), one.place)
        for one in parts.products
    ]
    held = (parts.policies, parts.grants, parts.exceptions, parts.ceilings)
    named += [("id", one.id, document.place("id")) for kind in held for one, document in kind]
    named += [
        ("entitlement", one.id.casefold(), document.place("id"))
        for one, document in parts.entitlements
    ]
    counts = Counter((what, name) for what, name, _ in named)
    for what, name, place in named:
        if counts[what, name] > 1:
            parts.problems.add(place, "duplicate", f"the {what} {name} stands twice", "keep one")
    for domain in parts.domains:
        if domain.name.casefold() in RESERVED and not parts.may_be_reserved:
            parts.problems.add(
                domain.place, "invalid_name", f"the domain {domain.name} is the gateway's own",
                "choose another name",
            )


def _check_source(product: Product, domains: Mapping[str, Domain], parts: Parts) -> None:
    if not parts.is_whole(product.domain):
        return
    domain = domains.get(product.domain)
    if domain is None:
        parts.problems.add(
            product.place, "unknown_domain", f"there is no domain {product.domain}",
            "write its domain.yaml",
        )
        return
    known = [one.identity for one in domain.sources]
    if product.source and product.source not in known:
        parts.problems.add(
            product.place, "unknown_source",
            f"there is no source {product.source} in its domain",
            nearest(product.source, known) or "declare it in domain.yaml",
        )


def _check_relationship(
    one: Relationship, table: Table, tables: Mapping[str, Table], parts: Parts
) -> None:
    own = {column.name for column in table.columns}
    for name in sorted(set(one.columns) - own):
        parts.problems.add(
            one.place, "unknown_column",
            f"a relationship names {name}, which {table.name} does not have", nearest(name, own),
        )
    _check_target(one, tables, parts)


def _check_target(one: Relationship, tables: Mapping[str, Table], parts: Parts) -> None:
    if not parts.is_whole(one.target.split(".", maxsplit=1)[0]):
        return
    target = tables.get(one.target)
    if target is None:
        parts.problems.add(
            one.place, "unknown_table",
            f"a relationship refers to {one.target}, which does not exist",
            nearest(one.target, tables) or "correct it",
        )
        return
    known = {column.name for column in target.columns}
    for name in sorted(set(one.target_columns) - known):
        parts.problems.add(
            one.place, "unknown_column",
            f"a relationship refers to {one.target}.{name}, which does not exist",
            nearest(name, known),
        )


def _check_words(product: Product, table: Table, parts: Parts) -> None:
    _check_tags(product.tags, product.place, parts)
    _check_tags(table.tags, table.place, parts)
    for column in table.columns:
        _check_tags(column.tags, column.place, parts)
        if column.classification is not None:
            _check_classifications([column.classification], column.place, parts)


def _check_tags(tags: Iterable[str], place: Place | None, parts: Parts) -> None:
    for tag in sorted(set(tags) - parts.taxonomy.tags):
        parts.problems.add(
            place, "unknown_tag", f"the tag {tag!r} is not in the taxonomy",
            nearest(tag, parts.taxonomy.tags) or "let the governance group add it",
        )


def _check_classifications(names: Iterable[str], place: Place | None, parts: Parts) -> None:
    for name in sorted(set(names) - set(parts.taxonomy.classifications)):
        parts.problems.add(
            place, "unknown_classification", f"the classification {name!r} is not in the taxonomy",
            nearest(name, parts.taxonomy.classifications) or "let the governance group add it",
        )


def _check_purposes(names: frozenset[str], place: Place | None, parts: Parts) -> None:
    known = {one.name for one in parts.purposes}
    if "governance" in parts.lost:
        return
    for name in sorted(names - known):
        parts.problems.add(
            place, "unknown_purpose", f"the purpose {name!r} is not in purposes.yaml",
            nearest(name, known) or "let the governance group add it",
        )


def _check_grant(
    grant: Grant, document: Document, own: Mapping[str, list[Product]], parts: Parts
) -> None:
    _check_purposes(grant.purposes, document.place("purposes"), parts)
    if not parts.is_whole(grant.domain):
        return
    versions = [one for one in own.get(grant.domain, ()) if one.name == grant.product]
    if not versions:
        parts.problems.add(
            document.place("product"), "unknown_product",
            f"{grant.domain} has no product {grant.product}; a domain grants its own products only",
            nearest(grant.product, [one.name for one in own.get(grant.domain, ())]),
        )
        return
    products = [one for one in versions if grant.major in (None, one.major)]
    if not products:
        parts.problems.add(
            document.place("major"), "unknown_product",
            f"there is no major {grant.major} of {grant.product}",
            nearest(str(grant.major), [str(one.major) for one in versions]),
        )
        return
    tables = [table for one in products for table in one.tables]
    names = {one.name for one in tables}
    for name in sorted((grant.tables or frozenset()) - names):
        parts.problems.add(
            document.place("tables"), "unknown_table", f"there is no table {name}",
            nearest(name, names),
        )
    granted = [one for one in tables if grant.tables is None or one.name in grant.tables]
    _check_columns(grant.columns or frozenset(), granted, document.place("columns"), parts)


def _check_columns(
    columns: frozenset[str], tables: list[Table], place: Place, parts: Parts
) -> None:
    if not columns or not tables:
        return
    known = {column.name for table in tables for column in table.columns}
    for column in sorted(columns - known):
        parts.problems.add(
            place, "unknown_column", f"there is no column {column}", nearest(column, known)
        )


def _check_policy(policy: Policy, document: Document, parts: Parts) -> None:
    _check_purposes(policy.purposes, document.place("purposes"), parts)
    if "governance" not in parts.lost:
        match = policy.match
        _check_tags(match.tags, document.place("match", "tags"), parts)
        place = document.place("match", "classification")
        _check_classifications(match.classifications, place, parts)
        group = policy.mask.join_group if policy.mask is not None else None
        if group is not None and group not in parts.join_groups:
            parts.problems.add(
                document.place("effect", "mask", "joinGroup"), "unknown_join_group",
                f"the join group {group!r} is not in the taxonomy",
                nearest(group, parts.join_groups) or "add it to joinGroups",
            )
    foreign = _foreign(policy)
    if foreign is not None:
        parts.problems.add(
            document.place("match", foreign), "misplaced",
            f"{policy.domain} restricts its own products only",
            "remove it, or ask the governance group",
        )
    elif parts.is_whole(policy.domain or policy.match.domain):
        matched = _matched(policy, document, parts)
        if policy.mask is not None and policy.mask.kind == "pseudonym":
            _check_room(policy, matched, parts)


def _foreign(policy: Policy) -> str | None:
    """The key by which a domain's policy speaks of another domain."""
    domain, match = policy.domain, policy.match
    if domain is None:
        return None
    if match.domain not in (None, domain):
        return "domain"
    # A table may be written as `table` or in full, a product as `product` or in full.
    for key, name, dots in (("product", match.product, 1), ("table", match.table, 2)):
        if name is not None and name.count(".") >= dots and not name.startswith(f"{domain}."):
            return key
    return None


def _matched(policy: Policy, document: Document, parts: Parts) -> Tables:
    """The tables that a policy names; a name that is nobody's is a problem."""
    match, problems = policy.match, parts.problems
    domain = policy.domain or match.domain
    found = [
        (product, table) for product in parts.products for table in product.tables
        if domain in (None, product.domain)
    ]
    domains = {one.name for one in parts.domains}
    if match.domain is not None and match.domain not in domains:
        problems.add(
            document.place("match", "domain"), "unknown_domain",
            f"there is no domain {match.domain}", nearest(match.domain, domains),
        )
        return []
    for key, wanted in (("product", match.product), ("table", match.table)):
        if wanted is None:
            continue
        known = {name for one in found for name in _names(key, *one)}
        found = [one for one in found if wanted in _names(key, *one)]
        if not found:
            problems.add(
                document.place("match", key), f"unknown_{key}", f"there is no {key} {wanted}",
                nearest(wanted, known),
            )
            return []
    _check_region(match.region, document, parts)
    tables = [table for _, table in found]
    _check_columns(match.columns, tables, document.place("match", "columns"), parts)
    return found


def _check_region(wanted: str | None, document: Document, parts: Parts) -> None:
    regions = {source.region for one in parts.domains for source in one.sources if source.region}
    if wanted is not None and wanted not in regions:
        parts.problems.add(
            document.place("match", "region"), "unknown_region",
            f"no source is in {wanted}", nearest(wanted, regions),
        )


def _names(key: str, product: Product, table: Table) -> tuple[str, ...]:
    if key == "product":
        return product.name, product.address
    return table.name, f"{product.address}.{table.name}"


def _check_room(policy: Policy, matched: Tables, parts: Parts) -> None:
    for product, table in matched:
        for column in table.columns:
            short = column.length is not None and column.length < PSEUDONYM_LENGTH
            if short and column.masked_type is None and _concerns(
                policy.match, column, table.tags | product.tags
            ):
                parts.problems.add(
                    column.place, "no_room",
                    f"{column.name} has room for {column.length} characters, the pseudonym of "
                    f"{policy.id} has {PSEUDONYM_LENGTH}",
                    "declare the custom property maskedType: VARCHAR (vendor sqluice)",
                )


def _concerns(match: Match, column: Column, outer: frozenset[str]) -> bool:
    tags = column.tags | outer
    return (
        (not match.columns or column.name in match.columns)
        and (not match.classifications or column.classification in match.classifications)
        and (not match.tags or any(f"{tag}.".startswith(f"{one}.") for one in match.tags
                                   for tag in tags))
    )

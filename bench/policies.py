"""How long policies take: a decision, cold and remembered, and a large mesh loaded.

Takes: nothing; makes a mesh of its own. Gives: figures on standard output, beside the bounds that
DESIGN sets. Never asks a source, never decides whether a machine is too busy to be measured.

    python -m bench.policies
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from catalog.mesh import collector_at_rest, load_mesh
from catalog.model import (
    Column,
    Domain,
    Grant,
    Mask,
    Match,
    Mesh,
    Policy,
    Product,
    Purpose,
    Source,
    Subjects,
    Table,
    Taxonomy,
)
from gateway.authorize import authorize_tables
from gateway.policies.compile import compile_policies
from gateway.request import Principal
from gateway.resolve import Address

COLUMNS, POLICIES, PRODUCTS, DOMAINS, ROUNDS = 40, 300, 1000, 20, 3000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS = Address("d", "p", "t")
KINDS = ("null", "pseudonym", "partial", "constant")


def policy(number: int) -> Policy:
    """One of the policies that all concern the table: filters, limits, and masks by tag."""
    group = frozenset({f"g{number % 60}"})
    subjects = (Subjects(groups=group),) if number % 3 else ()
    unless = (Subjects(groups=frozenset({f"office{number % 7}"})),)
    base = Policy(f"p{number}", "mask", Match(), subjects=subjects, unless=unless)
    if number % 10 == 0:
        return replace(
            base, effect="filter", match=Match(domain="d"), filter="c1 IN (subject.areas)",
            subjects=(Subjects(groups=group),),
        )  # fmt: skip
    if number % 10 == 1:
        return replace(
            base, effect="limit", match=Match(product="p"), settings={"rows": 1000 + number}
        )
    kind = KINDS[number % 4]
    mask = Mask(kind, value="x", join_group="g", keep_last=2)
    return replace(base, match=Match(tags=frozenset({f"t.{number % COLUMNS}"})), mask=mask)


def one_table() -> Mesh:
    """A table of 40 columns under 300 policies, each of which may concern it."""
    columns = tuple(
        Column(f"c{n}", "VARCHAR", f"c{n}", tags=frozenset({f"t.{n}"})) for n in range(COLUMNS)
    )
    product = Product("d", "p", "1.0.0", "active", "d.s", (Table("t", "t", columns),), "c")
    domain = Domain("d", "", ("x",), (Source("d", "s", "duckdb"),))
    grants = tuple(
        Grant(f"grant{n}", "d", "p", (Subjects(groups=frozenset({f"g{n}"})),)) for n in range(20)
    )
    policies = tuple(policy(n) for n in range(POLICIES))
    return Mesh(
        "r", (domain,), (product,), grants, policies, (Purpose("why"),), Taxonomy(), (), ("g",)
    )


def timed(work: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """Microseconds of one call: median and 99th percentile."""
    took = []
    for number in range(rounds):
        start = time.perf_counter_ns()
        work(number)
        took.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(took), sorted(took)[int(len(took) * 0.99)]


def decisions() -> list[tuple[str, float, float, str]]:
    """A cold decision (each at another time, so that none is remembered), and a remembered one."""
    index = compile_policies(one_table())
    ada = Principal(
        "ada", frozenset({"g1", "g7", "g13", "office3", "staff"}),
        attributes={"areas": ("EU", "US")},
    )  # fmt: skip

    def cold(number: int) -> object:
        index.decisions.clear()
        return authorize_tables((ADDRESS,), ada, None, NOW + timedelta(seconds=number), index)

    def known(_: int) -> object:
        return authorize_tables((ADDRESS,), ada, None, NOW, index)

    def another_session(_: int) -> object:
        return authorize_tables((ADDRESS,), sessions[_ % 50], None, NOW, index)

    sessions = [replace(ada) for _ in range(50)]
    timed(cold, 200)
    first = ("decision, cold, 40 columns, 300 policies", *timed(cold, ROUNDS), "100")
    index.decisions.clear()
    timed(known, 100)
    second = ("decision, remembered", *timed(known, ROUNDS), "2")
    timed(another_session, 100)
    third = ("decision, remembered, of an equal principal", *timed(another_session, ROUNDS), "2")
    return [first, second, third]


CONTRACT = """
apiVersion: v3.2.0
kind: DataContract
id: "{id}"
version: 1.0.0
status: active
customProperties: [{{property: source, value: s, vendor: sqluice}}]
schema:
  - name: rows
    physicalName: rows
    logicalType: object
    properties:
{columns}
"""
PRODUCT = """
apiVersion: v1.0.0
kind: DataProduct
id: "{id}-product"
name: p{number}
version: 1.0.0
status: active
domain: d{domain}
outputPorts: [{{name: rows, version: 1.0.0, contractId: "{id}"}}]
team: {{members: [{{username: olga, role: owner}}]}}
"""
DOMAIN = """
kind: Domain
name: d{domain}
description: One of many.
owners: [olga]
sources: {{s: {{connector: duckdb, settings: {{path: d{domain}.duckdb}}}}}}
"""


def write_large(folder: Path) -> None:
    """A thousand products of ten columns, a grant each, under 300 policies."""
    texts = _governance()
    for domain in range(DOMAINS):
        texts |= _domain(domain)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _governance() -> dict[str, str]:
    tags = ", ".join(f"t.{n}: x" for n in range(40))
    return {
        "gateway.toml": "",
        "governance/taxonomy.yaml": f"kind: Taxonomy\njoinGroups: {{g: x}}\ntags: {{{tags}}}\n",
        "governance/policies/all.yaml": "\n---\n".join(_policy_text(n) for n in range(POLICIES)),
    }


def _domain(domain: int) -> dict[str, str]:
    columns = "\n".join(
        f"      - {{name: c{n}, logicalType: string, physicalType: text, tags: [t.{n}]}}"
        for n in range(10)
    )
    here = f"domains/d{domain}"
    texts = {f"{here}/domain.yaml": DOMAIN.format(domain=domain)}
    for number in range(PRODUCTS // DOMAINS):
        name = f"urn:example:{domain}-{number}"
        texts[f"{here}/contracts/p{number}.odcs.yaml"] = CONTRACT.format(id=name, columns=columns)
        texts[f"{here}/p{number}.odps.yaml"] = PRODUCT.format(id=name, number=number, domain=domain)
        texts[f"{here}/grants/p{number}.yaml"] = (
            f"{{kind: Grant, id: g{domain}.{number}, product: p{number}, "
            'subjects: [{groups: [staff]}], scope: "c0 IN (subject.areas)"}\n'
        )
    return texts


def _policy_text(number: int) -> str:
    effect = "{mask: {kind: \"null\"}}"
    match = f"tags: [t.{number % 40}]"
    if number % 10 == 0:
        effect, match = "{filter: \"c1 IN (subject.areas)\"}", f"domain: d{number // 10 % DOMAINS}"
    return (
        f"{{kind: Policy, id: p{number}, match: {{{match}}}, "
        f"unless: [{{groups: [office{number % 7}]}}], effect: {effect}}}"
    )


def loading() -> list[tuple[str, float, float, str]]:
    """Seconds of processor time: the files, the policies, both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_large(folder)
        files, policies = [], []
        for _ in range(3):
            with collector_at_rest():
                start = time.process_time()
                mesh = load_mesh(folder)
                middle = time.process_time()
                compile_policies(mesh)
                files.append(middle - start)
                policies.append(time.process_time() - middle)
    both = [one + other for one, other in zip(files, policies, strict=True)]
    return [
        ("files of 1,000 products read and checked", min(files), max(files), ""),
        ("300 policies compiled for them", min(policies), max(policies), ""),
        ("both", min(both), max(both), "3"),
    ]


def main() -> None:
    """Print the figures."""
    write = sys.stdout.write
    write("| what | median us | p99 us | bound us |\n|---|---:|---:|---:|\n")
    for what, middle, late, bound in decisions():
        write(f"| {what} | {middle:.1f} | {late:.1f} | {bound} |\n")
    write("\n| what | best s | worst s | bound s |\n|---|---:|---:|---:|\n")
    for what, middle, late, bound in loading():
        write(f"| {what} | {middle:.2f} | {late:.2f} | {bound} |\n")


if __name__ == "__main__":
    main()

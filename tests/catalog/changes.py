"""A mesh with something changed in it.

Takes: the folder `shop` and a case of `broken.yaml` or `fine.yaml`. Gives: a copy with the change.
Never changes the folder itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOP = Path(__file__).parent / "shop"


def changed(case: Mapping[str, Any], folder: Path) -> Path:
    """The mesh of a case."""
    mesh = folder / "mesh"
    shutil.copytree(SHOP, mesh)
    for file, pairs in case.get("replace", {}).items():
        text = (mesh / file).read_text(encoding="utf-8")
        for old, new in pairs:
            assert text.count(old) == 1, (file, old)
            text = text.replace(old, new)
        (mesh / file).write_text(text, encoding="utf-8")
    for file, text in case.get("append", {}).items():
        with (mesh / file).open("a", encoding="utf-8") as opened:
            opened.write(text)
    for file, text in case.get("write", {}).items():
        (mesh / file).parent.mkdir(parents=True, exist_ok=True)
        (mesh / file).write_text(text, encoding="utf-8")
    for file in case.get("remove", []):
        (mesh / file).unlink()
    return mesh

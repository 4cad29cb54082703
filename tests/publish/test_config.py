"""gateway.toml and the environment become settings, or problems with their lines."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import pytest
import yaml

from gateway.config import embedded_folder, load_config, mesh_folder
from gateway.errors import InvalidConfig

CASES = yaml.safe_load((Path(__file__).parent / "config.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_settings(case: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(str(case["text"]), encoding="utf-8")
    if "says" in case:
        with pytest.raises(InvalidConfig) as caught:
            load_config(tmp_path, {})
        for words in list(case["says"]):  # type: ignore[call-overload]  # a list in every case
            assert words in caught.value.message
        assert str(tmp_path) not in caught.value.message
        return
    config = load_config(tmp_path, {})
    for path, value in dict(case["settings"]).items():  # type: ignore[call-overload]  # a mapping
        assert reduce(getattr, path.split("."), config) == value, path


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('[paths]\ndata = "../data"\n[state]\nurl = "sqlite:////a"')
    plain = load_config(tmp_path, {})
    assert (plain.data, plain.state) == (tmp_path.parent / "data", "sqlite:////a")
    assert plain.secrets == tmp_path.parent / "data" / "secrets"
    elsewhere = {"SQLUICE_DATA": str(tmp_path / "else"), "SQLUICE_STATE": "postgresql://host/db"}
    config = load_config(None, {**elsewhere, "SQLUICE_CONF": str(tmp_path)})
    assert (config.folder, config.data) == (tmp_path, tmp_path / "else")
    assert config.state == "postgresql://host/db"
    assert config.heads.parent == tmp_path / "else"


def test_state_lies_below_the_data_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").touch()
    config = load_config(tmp_path, {"SQLUICE_DATA": str(tmp_path / "data")})
    assert config.state == f"sqlite:///{tmp_path / 'data' / 'gateway' / 'state.sqlite'}"


def test_a_folder_that_is_not_there_is_named_without_its_place(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(tmp_path / "nowhere", {})
    assert "'nowhere'" in caught.value.message and str(tmp_path) not in caught.value.message


def test_the_sample_mesh_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mesh_folder(None, {}) == embedded_folder()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "gateway.toml").touch()
    assert mesh_folder(None, {}) == tmp_path / "conf"

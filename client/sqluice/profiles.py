"""Where somebody is signed in: a file for each profile, in the folder of his settings.

    $XDG_CONFIG_HOME/sqluice/profiles/default.json        else ~/.config, or the platform's own

Takes: a name. Gives: addresses, a user, a token of the gateway's. Never holds a password; never
trusts a file that others may read or have made.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import click

from sqluice.errors import DatabaseError, InterfaceError, rebuilt

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ROOM = "See that the folder is yours and its disk has room, or set XDG_CONFIG_HOME to another."
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sign-in leaves behind; '' is what it does not know.

    `token` signs in at both addresses until `expires_at`; `certificates`, `certificate` and `key`
    are paths.
    """

    url: str
    http_url: str = ""
    user: str = ""
    token: str = field(default="", repr=False)
    token_id: str = ""
    expires_at: str = ""
    plaintext: bool = False
    certificates: str = ""
    certificate: str = ""
    key: str = ""


def file_of(name: str) -> Path:
    """The file of a profile, whether there is one or not."""
    if not _NAME.fullmatch(name):
        raise InterfaceError(
            "The name of a profile has 1 to 64 letters, digits, dots, - and _, and begins with a "
            "letter or digit."
        )
    return _folder() / "profiles" / f"{name}.json"


def read_profile(name: str) -> Profile | None:
    """A profile; None where there is none."""
    path = file_of(name)
    try:
        with path.open(encoding="utf-8") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise _unreadable(path) from None
    return _profile(content, path)


def keep(name: str, profile: Profile) -> Path:
    """Write a profile down, whole or not at all; gives its file."""
    path = file_of(name)
    made = ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Such a file is its owner's alone from its first moment on.
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", delete=False, encoding="utf-8"
        ) as file:
            made = file.name
            json.dump(asdict(profile), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except OSError as error:
        if made:
            Path(made).unlink(missing_ok=True)
        raise _unusable(f"{path} cannot be written: {error.strerror or error}.", _ROOM) from None
    return path


def forget(name: str) -> bool:
    """Remove the file of a profile, whatever it holds; False where there is none."""
    path = file_of(name)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(f"{path} cannot be removed: {error.strerror or error}.", _ROOM) from None
    return True


def _folder() -> Path:
    """That of the variable where it names one; a relative path names none."""
    own = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if own.is_absolute():
        return own / "sqluice"
    if sys.platform in ("darwin", "win32"):
        return Path(click.get_app_dir("sqluice"))
    return Path.home() / ".config" / "sqluice"


def _check_owner(path: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return
    if found.st_uid not in (os.geteuid(), 0):
        raise _unusable(f"{path} belongs to somebody else.", "Remove it, and sign in again.")
    if found.st_mode & _OTHERS:
        raise _unusable(
            f"Others may read {path}, which signs you in.",
            f"Sign out with `sqluice logout` and in again, or chmod 600 {path}",
        )


def _profile(content: object, path: Path) -> Profile:
    """What a file holds; what a newer client wrote beside that is left alone."""
    if not isinstance(content, dict):
        raise _unreadable(path)
    kinds = {one.name: bool if one.name == "plaintext" else str for one in fields(Profile)}
    known = {name: content[name] for name in kinds if name in content}
    if "url" not in known or any(type(one) is not kinds[name] for name, one in known.items()):
        raise _unreadable(path)
    return Profile(**known)


def _unreadable(path: Path) -> DatabaseError:
    return _unusable(f"{path} does not hold a profile.")


def _unusable(
    message: str, remedy: str = "Remove it with `sqluice logout`, and sign in again."
) -> DatabaseError:
    return rebuilt({"code": "invalid_config", "message": message, "remedy": remedy})

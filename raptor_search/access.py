"""Who may do what: a principal with a role, asked by the library before each action, and the file that gives roles.

Whoever runs a command has the archive's key, and so may do everything. On a page with a login nobody may do anything
until the settings file (`access.toml` beside the key, or `RAPTOR_ACCESS_FILE`) names them or a group of theirs:

    [users]
    "ada@clinic.example" = "admin"

    [groups]
    "radiology" = "viewer"

    [indexing]
    roots = ["/data/scans"]      # folders that runs may be started on from the page
"""

import getpass
import ipaddress
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from raptor_search.errors import AccessError, UsageError
from raptor_search.keys import key_path

__all__ = [
    "ACCESS_FILE_VARIABLE",
    "NEEDED",
    "ROLES",
    "AccessSettings",
    "Action",
    "Principal",
    "Role",
    "access_path",
    "account",
    "is_loopback",
    "local_principal",
]

ACCESS_FILE_VARIABLE = "RAPTOR_ACCESS_FILE"

Role = Literal["viewer", "researcher", "curator", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""

Action = Literal["view", "search", "export", "evaluate", "label", "identify", "index", "remove", "erase", "audit"]

NEEDED: Mapping[Action, Role] = {
    "view": "viewer",
    "search": "viewer",
    "export": "researcher",
    "evaluate": "researcher",
    "label": "curator",
    "identify": "curator",
    "index": "admin",
    "remove": "admin",
    "erase": "admin",
    "audit": "admin",
}
"""The least role for each action. "identify" is to see where a scan lies, and the UIDs in its header."""

WORDS: Mapping[Action, str] = {
    "view": "see this archive",
    "search": "search",
    "export": "take results away",
    "evaluate": "evaluate labels",
    "label": "decide about labels",
    "identify": "see where a scan came from",
    "index": "index scans",
    "remove": "remove scans",
    "erase": "erase scans",
    "audit": "read the audit log",
}


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whoever acts.

    Attributes:
        name: what the audit log calls them: an account, or the e-mail address of a login.
        role: None may do nothing.
        roots: folders below which they may index; None means any.
    """

    name: str
    role: Role | None = None
    roots: tuple[Path, ...] | None = ()

    def may(self, action: Action) -> bool:
        """Whether the role suffices."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(NEEDED[action])

    def require(self, action: Action) -> None:
        """Refuse an action that the role does not suffice for.

        Raises:
            AccessError: then.
        """
        if not self.may(action):
            has = f"has the role {self.role}" if self.role else "has no role here"
            raise AccessError(
                f"to {WORDS[action]} takes the role {NEEDED[action]}, and {self.name} {has}: ask the administrator, "
                "who gives roles in access.toml"
            )

    def require_root(self, path: Path) -> Path:
        """The folder or file to index, without links, where it lies below an allowed one.

        Raises:
            AccessError: the role does not suffice, or it lies elsewhere.
        """
        self.require("index")
        real = path.expanduser().resolve()
        if self.roots is None or any(real.is_relative_to(root.expanduser().resolve()) for root in self.roots):
            return real
        named = ", ".join(map(str, self.roots)) or "none: add it to roots in [indexing] of access.toml"
        raise AccessError(f"{path} may not be indexed from here; allowed: {named}")


def is_loopback(address: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def local_principal() -> Principal:
    """Whoever runs the program: they have the key, and so may do everything."""
    return Principal(name=account(), role="admin", roots=None)


def account() -> str:
    """The name of the account that runs the program."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}"


def access_path() -> Path:
    """Where roles are looked for: `RAPTOR_ACCESS_FILE`, else access.toml beside the key."""
    named = os.environ.get(ACCESS_FILE_VARIABLE)
    return Path(named).expanduser().absolute() if named else key_path().with_name("access.toml")


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """What the file says; nobody is anything unless it says so.

    Attributes:
        users: role by e-mail address, in lower case.
        groups: role by group.
        groups_claim: the claim of the login that lists groups.
        roots: folders below which indexing may be started from the page.
    """

    users: Mapping[str, Role] = field(default_factory=dict)
    groups: Mapping[str, Role] = field(default_factory=dict)
    groups_claim: str = "groups"
    roots: tuple[Path, ...] = ()

    @classmethod
    def load(cls, path: Path | None = None) -> "AccessSettings":
        """Read the file.

        Args:
            path: of the file; None means `access_path()`.

        Raises:
            UsageError: it is not there, or is not as described.
        """
        path = path or access_path()
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise UsageError(
                f"no roles at {path} ({error.strerror}): nobody may log in; name the file by {ACCESS_FILE_VARIABLE}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is no TOML file: {error}") from error
        unknown = document.keys() - {"users", "groups", "indexing", "groups_claim"}
        if unknown:
            raise UsageError(f"{path}: {min(unknown)} is unknown; expected users, groups, groups_claim and indexing")
        claim = document.get("groups_claim", "groups")
        if not isinstance(claim, str):
            raise UsageError(f"{path}: groups_claim is to be a word, such as groups")
        return cls(
            users={name.strip().lower(): role for name, role in _roles(path, document, "users").items()},
            groups=_roles(path, document, "groups"),
            groups_claim=claim,
            roots=_roots(path, document),
        )

    def principal(self, claims: Mapping[str, Any]) -> Principal:
        """Whom the claims of a login name, with the highest role that they or their groups were given.

        Args:
            claims: of an identity token that was verified already. An e-mail address that the provider calls
                unverified counts for nothing.
        """
        email = claims.get("email")
        verified = isinstance(email, str) and "@" in email and claims.get("email_verified") is not False
        name = str(email).strip().lower() if verified else f"login {str(claims.get('sub', 'unknown'))[:64]}"
        found = [self.users[name]] if verified and name in self.users else []
        found += [self.groups[group] for group in _words(claims.get(self.groups_claim)) if group in self.groups]
        role = max(found, key=ROLES.index, default=None)
        return Principal(name=name, role=role, roots=self.roots)


def _roles(path: Path, document: Mapping[str, Any], table: str) -> dict[str, Role]:
    found = document.get(table, {})
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {table} is to be a table of names and roles")
    for name, role in found.items():
        if role not in ROLES:
            raise UsageError(f"{path}: {name} in [{table}] has the role {role!r}; expected one of {', '.join(ROLES)}")
    return found


def _roots(path: Path, document: Mapping[str, Any]) -> tuple[Path, ...]:
    table = document.get("indexing", {})
    roots = table.get("roots", []) if isinstance(table, dict) else None
    if not isinstance(roots, list) or not all(isinstance(root, str) and Path(root).is_absolute() for root in roots):
        raise UsageError(f"{path}: roots in [indexing] is to be a list of absolute paths")
    return tuple(map(Path, roots))


def _words(claim: object) -> Iterable[str]:
    if isinstance(claim, str):
        return [claim]
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list | tuple) else []

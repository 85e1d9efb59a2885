"""Roles: who they are given to, what they suffice for, and that the library asks before it acts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raptor_search.access import (
    NEEDED,
    ROLES,
    AccessSettings,
    Action,
    Principal,
    Role,
    access_path,
    is_loopback,
    local_principal,
)
from raptor_search.archive import Archive
from raptor_search.assessing import assess
from raptor_search.deciding import accept_many, label_many, undo_many
from raptor_search.errors import AccessError, UsageError
from raptor_search.labelling import LabelProposal, LabelProposals, accept, reject, store, undo
from tests.archives import DrawnArchive, draw, drawn_archive

FILE = """
[users]
"Ada@Clinic.example" = "admin"
"bob@clinic.example" = "viewer"

[groups]
radiology = "researcher"
"label team" = "curator"

[indexing]
roots = ["/data/scans"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> AccessSettings:
    file = tmp_path / "access.toml"
    file.write_text(FILE)
    return AccessSettings.load(file)


def test_a_role_may_do_what_those_below_it_may_and_no_role_nothing() -> None:
    may = {role: {action for action in NEEDED if Principal(name="x", role=role).may(action)} for role in ROLES}
    assert may["viewer"] == {"view", "search"}
    assert may["researcher"] - may["viewer"] == {"export", "evaluate"}
    assert may["curator"] - may["researcher"] == {"label", "identify"}
    assert may["admin"] - may["curator"] == {"index", "remove", "erase", "audit"}
    assert may["admin"] == set(NEEDED)
    assert not any(Principal(name="x").may(action) for action in NEEDED)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "ada@clinic.example"}, "admin"),
        ({"email": " ADA@clinic.EXAMPLE", "email_verified": True}, "admin"),
        ({"email": "ada@clinic.example", "email_verified": False}, None),
        ({"email": "bob@clinic.example", "groups": ["radiology", "others"]}, "researcher"),
        ({"email": "bob@clinic.example", "groups": "label team"}, "curator"),
        ({"email": "eve@clinic.example", "groups": ["Radiology", "admin"]}, None),
        ({"email": "eve@clinic.example", "groups": {"radiology": True}}, None),
        ({"email": ["ada@clinic.example"], "sub": "ada@clinic.example"}, None),
        ({"sub": "7", "groups": ["radiology"]}, "researcher"),
        ({}, None),
    ],
)
def test_a_login_has_the_highest_role_that_its_address_or_groups_were_given(
    settings: AccessSettings, claims: dict[str, Any], role: Role | None
) -> None:
    assert settings.principal(claims).role == role


def test_a_principal_is_named_by_a_verified_address_else_by_the_providers_number(settings: AccessSettings) -> None:
    assert settings.principal({"email": "Bob@clinic.example"}).name == "bob@clinic.example"
    unverified = {"email": "ada@clinic.example", "email_verified": False, "sub": "4711"}
    assert settings.principal(unverified).name == "login 4711"


def test_another_claim_may_hold_the_groups(tmp_path: Path) -> None:
    file = tmp_path / "access.toml"
    file.write_text('groups_claim = "roles"\n[groups]\nreaders = "viewer"\n')
    found = AccessSettings.load(file)
    assert found.principal({"roles": ["readers"]}).role == "viewer"
    assert found.principal({"groups": ["readers"]}).role is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('[users]\n"a@b" = "owner"', "has the role 'owner'; expected one of viewer"),
        ("[user]\n", "user is unknown"),
        ("users = 3", "users is to be a table"),
        ('[indexing]\nroots = ["scans"]', "absolute paths"),
        ('[indexing]\nroots = "/data"', "absolute paths"),
        ("indexing = 1", "absolute paths"),
        ("groups_claim = 1", "groups_claim is to be a word"),
        ("[users", "is no TOML file"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused(tmp_path: Path, text: str, match: str) -> None:
    file = tmp_path / "access.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=match):
        AccessSettings.load(file)


def test_the_file_lies_beside_the_key_or_where_the_variable_says_and_without_it_nobody_may_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.delenv("RAPTOR_ACCESS_FILE", raising=False)
    assert access_path() == tmp_path / "access.toml"
    with pytest.raises(UsageError, match="nobody may log in"):
        AccessSettings.load()
    monkeypatch.setenv("RAPTOR_ACCESS_FILE", str(tmp_path / "roles.toml"))
    (tmp_path / "roles.toml").write_text("")
    assert AccessSettings.load().principal({"email": "a@b"}).role is None


def test_only_folders_below_an_allowed_one_may_be_indexed_links_followed(tmp_path: Path) -> None:
    allowed, other = tmp_path / "scans", tmp_path / "scans-of-others"
    (allowed / "ct").mkdir(parents=True)
    other.mkdir()
    (allowed / "link").symlink_to(other)
    admin = Principal(name="ada", role="admin", roots=(allowed,))
    assert admin.require_root(allowed / "ct") == (allowed / "ct").resolve()
    for path in (other, allowed / "link", allowed / ".." / other.name, tmp_path, Path("/")):
        with pytest.raises(AccessError, match="may not be indexed from here"):
            admin.require_root(path)
    with pytest.raises(AccessError, match="none: add it to roots"):
        Principal(name="ada", role="admin").require_root(allowed)
    with pytest.raises(AccessError, match="takes the role admin"):
        Principal(name="bob", role="curator", roots=None).require_root(allowed)
    assert local_principal().require_root(other) == other.resolve()


@pytest.fixture
def drawn(tmp_path: Path) -> Iterator[tuple[Archive, DrawnArchive]]:
    made = drawn_archive(tmp_path / "home")
    made.add(draw(0, 12))
    made.publish()
    with Archive(made.home, made.catalog.key, made.catalog) as archive:
        yield archive, made


PROPOSAL = LabelProposal(volume_id=1, value="a", confidence=1.0, speak_for=(), speak_against=(), abstained=None)
NONE = LabelProposals(items=(), classes=(), confidence_kind="votes", labelled=0, subjects=0, notes=())

ACTS: tuple[tuple[Action, Callable[[Archive], object]], ...] = (
    ("search", lambda archive: archive.search(1)),
    ("search", lambda archive: archive.answer(archive.ask(1))),
    ("evaluate", lambda archive: archive.draw_map()),
    ("evaluate", lambda archive: assess(archive, "modality")),
    ("label", lambda archive: accept(archive, "kind", [PROPOSAL], author="x")),
    ("label", lambda archive: reject(archive, "kind", [PROPOSAL], author="x")),
    ("label", lambda archive: undo(archive, "kind", 1, author="x")),
    ("label", lambda archive: store(archive, "kind", NONE, method="knn", author="x")),
    ("label", lambda archive: accept_many(archive, "kind", [PROPOSAL], author="x")),
    ("label", lambda archive: label_many(archive, "kind", "a", [1], author="x")),
    ("label", lambda archive: undo_many(archive, "kind", [1], author="x")),
    ("identify", lambda archive: archive.locator(1)),
    ("index", lambda archive: archive.publish()),
    ("index", lambda archive: archive.rebuild()),
    ("index", lambda archive: archive.reproject(components=2)),
    ("remove", lambda archive: archive.meant(patient="patient-0")),
    ("remove", lambda archive: archive.remove(where="modality = 'CT'")),
    ("erase", lambda archive: archive.erase(patient="patient-0")),
    ("audit", lambda archive: archive.audits()),
)


@pytest.mark.parametrize(("action", "act"), ACTS)
def test_the_library_refuses_what_the_role_below_may_not_before_anything_happens(
    drawn: tuple[Archive, DrawnArchive], action: Action, act: Callable[[Archive], object]
) -> None:
    archive, _ = drawn
    theirs = archive.acting_as(Principal(name="eve", role="viewer"))
    below = ROLES.index(NEEDED[action]) - 1
    theirs.principal = Principal(name="eve", role=ROLES[below] if below >= 0 else None)
    before = archive.catalog.moment(1), archive.catalog.audits()
    with pytest.raises(AccessError, match=f"takes the role {NEEDED[action]}"):
        act(theirs)
    assert (archive.catalog.moment(1), archive.catalog.audits()) == before


def test_nobody_gets_an_archive_without_a_role_and_the_log_names_who_searched(
    drawn: tuple[Archive, DrawnArchive],
) -> None:
    archive, _ = drawn
    with pytest.raises(AccessError, match="to see this archive takes the role viewer, and eve has no role here"):
        archive.acting_as(Principal(name="eve"))
    bob = archive.acting_as(Principal(name="bob@clinic.example", role="viewer"))
    assert bob.search(1, k=2).hits
    assert archive.catalog.audits()[0].author == "bob@clinic.example"
    assert archive.principal == local_principal()
    curator = archive.acting_as(Principal(name="cleo", role="curator"))
    label_many(curator, "kind", "a", [1], author=curator.principal.name)
    assert curator.locator(1) == archive.catalog.locator(1)
    assert [row.author for row in archive.catalog.audits()[:2]] == ["cleo", "cleo"]


@pytest.mark.parametrize(
    ("address", "is_local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_addresses_are_known(address: str, is_local: bool) -> None:
    assert is_loopback(address) is is_local

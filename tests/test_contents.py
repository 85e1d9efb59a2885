import time
from pathlib import Path

import pytest

from raptor_search.contents import by_site, growth, space
from tests.archives import draw, drawn_archive


def test_growth_counts_the_scans_of_each_day_and_all_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = drawn_archive(tmp_path / "home")
    assert growth(made.catalog).days == ()
    for day, (first, number) in {20_000: (0, 3), 20_001: (3, 1), 20_033: (4, 6)}.items():
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda day=day: day * 86_400 + 86_399.5)
            made.add(draw(day, number), start=first)
    found = growth(made.catalog)
    assert found.days == ("2024-10-04", "2024-10-05", "2024-11-06")
    assert (found.added, found.total) == ((3, 1, 6), (3, 4, 10))
    assert by_site(made.catalog) == {"unknown": 10}
    made.catalog.close()


def test_space_is_told_apart_by_what_takes_it(tmp_path: Path) -> None:
    made = drawn_archive(tmp_path / "home")
    made.add(draw(0, 40))
    made.publish()
    (tmp_path / "home" / "older.backup").write_bytes(b"x" * 1000)
    (tmp_path / "home" / "link").symlink_to(tmp_path)
    found = space(tmp_path / "home")
    assert found.catalog == sum(path.stat().st_size for path in (tmp_path / "home").glob("catalog.db*"))
    assert found.indexes == sum(path.stat().st_size for path in (tmp_path / "home" / "indexes").iterdir())
    assert found.other >= 1000
    assert found.free > 0
    made.catalog.close()

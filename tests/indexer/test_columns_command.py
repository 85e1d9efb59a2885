"""`raptor columns`: what a filter may name."""

from pathlib import Path

from raptor_search.catalog.volumes import TYPED_COLUMNS
from tests.indexer.command import Raptor
from tests.labelled import labelled_archive


def test_columns_are_listed_with_types_and_values(raptor: Raptor, home: Path) -> None:
    labelled_archive(home)
    found = {one["name"]: one for one in raptor("columns", "--home", home, "--json").json["columns"]}
    assert set(found) == {*TYPED_COLUMNS, "finding", "size"}
    assert found["finding"]["type"] == "label"
    assert found["finding"]["values"] == {"adenoma": 30, "cyst": 30, "none": 30}
    assert (found["size"]["distinct"], len(found["size"]["values"])) == (90, 20)
    assert (found["spacing_s"]["lowest"], found["spacing_s"]["highest"]) == (2, 2)
    assert (found["age"]["type"], found["age"]["scans"], found["age"]["lowest"]) == ("number", 0, None)
    assert found["oriented"]["values"] == {"True": 120}


def test_the_table_has_what_scans_have_and_names_the_rest(raptor: Raptor, home: Path) -> None:
    labelled_archive(home)
    shown = raptor("columns", "--home", home).out
    assert "GE (60), Siemens (60)" in shown
    assert "and 85 more" in shown
    (rest,) = (line for line in shown.splitlines() if line.startswith("Without a value yet: "))
    assert "modality" in rest
    assert "manufacturer" not in rest


def test_every_column_of_the_readme_is_one_and_the_other_way_round() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (line,) = (part for part in readme.split("\n\n") if part.startswith("`--where` knows "))
    named = line.partition("(`raptor columns`")[0]
    assert {word for word in named.split("`")[1::2] if word != "--where"} == set(TYPED_COLUMNS)

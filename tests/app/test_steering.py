import pytest

from app.steering import boxes, parse_cases, parse_regions
from raptor_search.errors import QueryError
from raptor_search.searching.region import Region


def test_cases_are_read_once_each_in_order() -> None:
    assert parse_cases(" 7,3 7\t12 ") == (7, 3, 12)
    assert parse_cases("") == ()


@pytest.mark.parametrize("text", ["x", "-1", "3;4", "1.5", "9" * 19, "٣", " ".join(map(str, range(51)))])
def test_what_is_no_case_number_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse_cases(text)


def test_the_cells_of_a_drawn_box_become_the_region_that_holds_them() -> None:
    drawn = [(0, row, column) for row in (4, 5, 6) for column in (9, 10)] + [(2, 0, 15)]
    assert boxes(drawn) == "axial:4-6,9-10; sagittal:0-0,15-15"
    assert parse_regions(boxes(drawn)) == (Region(0, (4, 6), (9, 10)), Region(2, (0, 0), (15, 15)))
    assert parse_regions(" ; ") == ()

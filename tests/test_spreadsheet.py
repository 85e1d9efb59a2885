import pytest

from raptor_search.spreadsheet import plain_cell


@pytest.mark.parametrize("text", ["=1+1", "+SUM(A1)", "-2+3", "@cmd", "\t=1", "\r=1", "-1 mm"])
def test_a_formula_is_made_plain(text):
    assert plain_cell(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["", "T1w", "-1.5", "+2e3", -1.5, 3, None, True, "a=b"])
def test_other_cells_stay_as_they_are(cell):
    assert plain_cell(cell) is cell

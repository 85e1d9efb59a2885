"""Text for tables that people open in a spreadsheet, which runs a cell that looks like a formula."""

__all__ = ["plain_cell"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Text that a spreadsheet would take for a formula starts with one of these."""


def plain_cell(cell: object) -> object:
    """The cell; a text that a spreadsheet would run gets an apostrophe, a number in words does not."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""What `propagate` prints: what is proposed for which case, and what was decided."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from indexer.decisions import Decision
from indexer.plain_text import cell, say
from indexer.render_labels import interval
from raptor_search.diffusion import Comparison
from raptor_search.labelling import LabelProposal, LabelProposals
from raptor_search.report import number

__all__ = ["proposals", "to_dict"]

SHOWN_REASONS = 5
SHOWN_PROPOSALS = 20
SHOWN_DECISIONS = 20


def proposals(
    out: Console,
    found: LabelProposals,
    decided: Sequence[Decision],
    undone: int | None,
    compared: Comparison | None,
    notice: str | None,
) -> None:
    """How many values are proposed of each class, for which cases, why not for others, and what was decided."""
    if not found.items:
        say(out, f"Every scan has a value: nothing to propose. {found.labelled} scans of {found.subjects} subjects")
    elif all(item.abstained is not None for item in found.items):
        say(
            out,
            f"All {len(found.items)} proposals abstain; asked were {found.labelled} scans of {found.subjects} subjects",
        )
    else:
        out.print(_by_value(found))
    if found.items:
        out.print(_by_case(found))
    if len(found.items) > SHOWN_PROPOSALS:
        say(out, f"... and {len(found.items) - SHOWN_PROPOSALS} more: --out FILE.csv or --json has all")
    reasons = Counter(_kind(item.abstained) for item in found.items if item.abstained is not None)
    for reason, count in reasons.most_common(SHOWN_REASONS):
        say(out, f"{count} abstain: {reason}")
    if compared is not None:
        _comparison(out, compared)
    for decision in decided[:SHOWN_DECISIONS]:
        say(out, _decision(decision))
    if len(decided) > SHOWN_DECISIONS:
        say(out, f"... and {len(decided) - SHOWN_DECISIONS} more: --json has all")
    done = ", ".join(f"{count} {what}" for what, count in _counts(decided, undone).items() if count)
    if undone == 0:
        say(out, "There is no decision to take back")
    if done or (found.items and undone is None):
        say(out, done or "Nothing was decided: accept with --accept CONFIDENCE or --accept-case CASE")
    for note in (*found.notes, *(compared.notes if compared else ()), *((notice,) if notice else ())):
        say(out, note, "yellow")


def _comparison(out: Console, compared: Comparison) -> None:
    for gap in compared.differences:
        if gap.figure in ("AUROC", "balanced accuracy"):
            values = {one.name: one for one in compared.votes}, {one.name: one for one in compared.spreading}
            votes, spread = (number(side[gap.figure].value) for side in values)
            say(
                out,
                f"{gap.figure} on hidden labels: votes {votes}, diffusion {spread}, difference "
                f"{interval(gap.value, gap.low, gap.high)}",
            )


def to_dict(
    label: str,
    method: str,
    found: LabelProposals,
    decided: Sequence[Decision],
    undone: int | None,
    compared: Comparison | None,
) -> dict[str, Any]:
    """The same, with every proposal and decision."""
    comparison = None
    if compared is not None:
        comparison = {
            "votes": {one.name: one.value for one in compared.votes},
            "diffusion": {one.name: one.value for one in compared.spreading},
            "differences": [gap.__dict__ for gap in compared.differences],
            "subjects": compared.subjects,
            "notes": list(compared.notes),
        }
    return {
        "label": label,
        "method": method,
        "confidence": found.confidence_kind,
        "labelled": found.labelled,
        "subjects": found.subjects,
        "proposals": [item.__dict__ for item in found.items],
        "decided": _counts(decided, undone),
        "decisions": [
            {
                "volume_id": one.proposal.volume_id,
                "decision": one.what,
                "value": one.proposal.value,
                "confidence": one.proposal.confidence,
                "abstained": one.proposal.abstained,
            }
            for one in decided
        ],
        "comparison": comparison,
        "notes": list(found.notes),
    }


def _by_value(found: LabelProposals) -> Table:
    taken = [item for item in found.items if item.abstained is None]
    table = Table(title=f"Proposed by {found.labelled} scans of {found.subjects} subjects", title_justify="left")
    for name in ("value", "scans", f"mean confidence ({found.confidence_kind})"):
        table.add_column(name)
    for value in found.classes:
        some = [item.confidence for item in taken if item.value == value]
        if some:
            table.add_row(cell(value), str(len(some)), number(sum(some) / len(some), 2))
    return table


def _by_case(found: LabelProposals) -> Table:
    """The surest first, then those that abstained."""
    table = Table(title="Proposals by case", title_justify="left")
    for name in ("case", "value", "confidence", "abstained"):
        table.add_column(name, overflow="fold")
    order = sorted(found.items, key=lambda item: (item.abstained is not None, -item.confidence))
    for item in order[:SHOWN_PROPOSALS]:
        table.add_row(
            str(item.volume_id), cell(item.value or "-"), number(item.confidence, 2), cell(item.abstained or "")
        )
    return table


def _decision(decision: Decision) -> str:
    one: LabelProposal = decision.proposal
    though = f", though it abstained: {one.abstained}" if one.abstained is not None else ""
    return f"case {one.volume_id}: {one.value}, confidence {number(one.confidence, 2)}, {decision.what}{though}"


def _counts(decided: Sequence[Decision], undone: int | None) -> dict[str, int]:
    by_kind = Counter(one.what for one in decided)
    return {"accepted": by_kind["accepted"], "rejected": by_kind["rejected"], "undone": undone or 0}


def _kind(reason: str) -> str:
    """The reason without the figures of one scan, so that equal ones can be counted."""
    return reason.partition(":")[0] if not reason.startswith("confidence") else "confidence below the least asked"

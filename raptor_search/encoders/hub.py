"""Checkpoints from the model hub: out of its cache on this machine, else downloaded, else one sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from raptor_search.encoder_cards import EncoderCard
from raptor_search.errors import WeightsError

__all__ = ["hub_file"]

TIMEOUT = 10.0
"""Seconds after which the hub counts as out of reach."""

REASON_LENGTH = 100


def hub_file(card: EncoderCard, names: Sequence[str], *, mend: str) -> Path:
    """A file of the card's repository at the card's revision, the first of these names that is there.

    Raises:
        WeightsError: where it is neither in the cache nor to be downloaded; `mend` says what to do then.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    for name in names:
        try:
            return Path(hf_hub_download(card.source, name, revision=card.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise _out_of_reach(card, error, mend) from error
    # The hub's own error derives from the root error of its HTTP client, another library in each major version.
    refused = cast(tuple[type[Exception], ...], (OSError, ValueError, *HfHubHTTPError.__bases__))
    reason: Exception = FileNotFoundError("no such file")
    for name in names:
        try:
            # One quick question first: without a network the download itself would retry for half a minute.
            get_hf_file_metadata(hf_hub_url(card.source, name, revision=card.revision), timeout=TIMEOUT)
            return Path(hf_hub_download(card.source, name, revision=card.revision))
        except EntryNotFoundError as error:
            reason = error
        except refused as error:
            raise _out_of_reach(card, error, mend) from error
    raise _out_of_reach(card, reason, mend) from reason


def _out_of_reach(card: EncoderCard, error: Exception, mend: str) -> WeightsError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:REASON_LENGTH]
    return WeightsError(f"{card.name}: its weights are not here and could not be downloaded ({reason}); {mend}")

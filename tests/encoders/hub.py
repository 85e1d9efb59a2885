"""Where huggingface_hub looks for its hub, in a test."""

import pytest


def point_hub_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

import json

from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said


def test_the_page_counts_what_is_there(small: SmallArchive, page: OpenPage) -> None:
    app = page("archive")
    assert not app.exception
    numbers = {metric.label: metric.value for metric in app.metric}
    assert numbers == {"Scans": "37", "Patients": "13", "Labels": "2", "Quarantined": "1", "Index version": "1"}
    modality = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]
    assert modality["y"] == ["MR", "CT"]


def test_the_page_names_specs_index_versions_and_the_quarantine_with_reasons(
    small: SmallArchive, page: OpenPage
) -> None:
    app = page("archive")
    specs, versions, quarantine = (table.value for table in app.dataframe)
    assert specs["Encoder"].tolist() == ["efficientnet-lite0"]
    assert versions["Scans"].tolist() == [37]
    assert quarantine["Source"].tolist() == ["bad.zip"]  # neither the path nor the series' UID
    assert quarantine["Reason"].tolist() == ["4D with 120 volumes; expected 3D"]
    assert "not three dimensions" in said(app)

"""Two scans side by side: the voxels from where they lie, the score taken apart, and what stands in for either."""

import json
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.viewer import NO_WEBGL
from raptor_search.archive import Archive
from raptor_search.readers import read_file
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_login import claims  # noqa: F401 - a fixture
from tests.app.test_main import said
from tests.app.test_search_page import cases, hits, upload

AVERAGE = "Each cell is an average along its plane's normal"


def viewers(app: AppTest) -> list[tuple[dict[str, Any], dict[str, bytes]]]:
    """What each viewer on the page was given: plain values, and voxels."""
    protos = [one.proto for one in app.get("component_instance")]
    return [(json.loads(one.json_args), {arg.key: arg.bytes for arg in one.special_args}) for one in protos]


def pair(page: OpenPage, case: int, hit: int | str) -> AppTest:
    """The page opened by a link to two cases."""
    app = page("compare")
    app.query_params.update(case=str(case), hit=str(hit))
    return app.run()


def compared(app: AppTest, rank: int = 1) -> AppTest:
    app.button(key=f"compare {rank}").click()
    return app.run()


def test_without_a_pair_the_page_says_how_to_come_by_one(small: SmallArchive, page: OpenPage) -> None:
    app = page("compare")
    assert not app.exception
    assert "press Compare on a hit" in app.info[0].value
    assert viewers(app) == []


def test_an_upload_and_its_own_scan_lie_side_by_side_with_the_score_over_them(
    small: SmallArchive, page: OpenPage
) -> None:
    app = compared(upload(page(), small.scan))
    assert not app.exception
    assert not app.error
    assert "same bytes as the query" in said(app)
    assert "same patient" in said(app)
    ((plain, voxels),) = viewers(app)
    assert [scan["title"] for scan in plain["scans"]] == [small.scan.name, f"Case {small.scan_case}"]
    _, scan = read_file(small.scan)
    for name in ("voxels0", "voxels1"):
        image = nib.Nifti1Image.from_bytes(voxels[name])
        np.testing.assert_array_equal(image.get_fdata(), scan.volume.voxels)
        assert image.header.get_zooms() == pytest.approx(scan.volume.spacing)
    overlay = plain["overlay"]
    values = np.array(overlay["values"])
    assert values.size == 3 * overlay["rows"] * overlay["columns"] == len(overlay["colours"]) / 4
    assert values.sum() == pytest.approx(1, abs=2e-3)
    assert overlay["limit"] == pytest.approx(np.abs(values).max())
    assert "The score of 1.000 is a sum over the cells" in said(app)
    assert AVERAGE in said(app)
    assert hits(app)[0][:2] == ("1", "1.000")
    with Archive.open(small.home) as archive:
        assert [row.detail for row in archive.catalog.audits() if row.action == "view"] == [f"volume {small.scan_case}"]


def test_a_link_to_a_pair_of_cases_gives_the_score_of_the_search(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        result = archive.search(small.scan_case, k=3)
    for hit in result.hits:
        app = pair(page, small.scan_case, hit.volume_id)
        assert not app.exception
        assert f"Case {hit.volume_id} · {hit.score:.3f}" in [title.value for title in app.subheader]
    with Archive.open(small.home) as archive:
        assert len([row for row in archive.catalog.audits() if row.action == "compare"]) == 3


def test_a_source_that_is_gone_is_one_sentence_beside_the_stored_pictures(small: SmallArchive, page: OpenPage) -> None:
    app = pair(page, small.scan_case, 1)
    assert not app.exception
    (warning,) = app.warning
    assert "case 1 was read from is no longer there" in warning.value.replace("\\", "")
    assert "stored pictures" in warning.value
    assert "/scans/" not in said(app)
    assert viewers(app) == []
    assert len(app.get("plotly_chart")) == 2
    assert AVERAGE in said(app)
    other = page(case="1")
    other.toggle(key="look").set_value(True).run()
    assert not other.exception
    assert "no longer there" in other.warning[0].value
    assert len(hits(other)) == 10


def test_a_source_that_has_changed_is_not_shown_as_the_scan(small: SmallArchive, page: OpenPage) -> None:
    kept = small.scan.read_bytes()
    try:
        small.scan.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        app = pair(page, small.scan_case, small.scan_case)
        assert not app.exception
        assert len(app.warning) == 1
        assert viewers(app) == []
    finally:
        small.scan.write_bytes(kept)


def test_pictures_stand_in_for_the_viewer_and_follow_the_sliders(small: SmallArchive, page: OpenPage) -> None:
    app = compared(upload(page(), small.scan))
    app.toggle(key="compare as").set_value(True).run()
    assert not app.exception
    assert viewers(app) == []
    assert len(app.image) == 2
    assert [slider.label for slider in app.slider] == [
        "Axial plane at S (mm)",
        "Coronal plane at A (mm)",
        "Sagittal plane at R (mm)",
        "Overlay",
    ]
    before = [image.proto.imgs[0].url for image in app.image]
    assert before[0] == before[1]  # the same voxels
    app.slider(key="compare Axial").set_value(6.0).run()
    moved = [image.proto.imgs[0].url for image in app.image]
    assert moved[0] == moved[1] != before[0]
    app.selectbox(key="compare window 1").select("Whole range").run()
    assert app.image[0].proto.imgs[0].url != app.image[1].proto.imgs[0].url
    assert "Colours run from blue" in said(app)


def test_a_browser_without_webgl_gets_the_pictures_and_is_told_so(small: SmallArchive, page: OpenPage) -> None:
    app = page(case=str(small.scan_case))
    app.session_state[NO_WEBGL] = "this browser draws no WebGL 2, which the viewer needs"
    app.toggle(key="look").set_value(True).run()
    assert not app.exception
    assert viewers(app) == []
    assert "shown as pictures of slices: this browser draws no WebGL 2" in app.info[0].value


def test_an_upload_is_seen_before_it_is_embedded_and_later_on_request(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("app.viewer.nifti_bytes", lambda *voxels: seen.append("drawn") or b"")  # type: ignore[func-returns-value]
    monkeypatch.setattr("app.waiting.of_upload", lambda *all_: pytest.fail("embedded") if not seen else _stop())
    upload(page(), small.scan)
    assert seen == ["drawn"]


def _stop() -> None:
    raise LookupError("far enough")


def test_back_to_the_hits_is_the_same_search(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1", k="5", sex="F")
    before = cases(app)
    app = compared(app, 2)
    app = next(button for button in app.button if button.label == "Back to the hits").click().run()
    assert not app.exception
    assert cases(app) == before
    assert app.query_params == {"case": "1", "k": "5", "sex": "F"}


@pytest.mark.parametrize("hit", ["4711", "9" * 30])
def test_a_link_to_a_case_that_is_not_there_is_one_sentence(small: SmallArchive, page: OpenPage, hit: str) -> None:
    app = pair(page, 1, hit)
    assert not app.exception
    assert len(app.error) + len(app.info) == 1


def test_the_viewer_of_the_clinic_is_offered_where_it_is_named_and_the_role_suffices(
    small: SmallArchive,
    page: OpenPage,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, Any],  # noqa: F811
) -> None:
    def offered(user: str) -> bool:
        claims.update(email=f"{user}@clinic.example", exp=4e9)
        return "Open in your viewer" in [button.label for button in page(case="1").button]

    monkeypatch.delenv("RAPTOR_VIEWER_URL", raising=False)
    assert not offered("cleo")
    monkeypatch.setenv("RAPTOR_VIEWER_URL", "https://pacs.example/{study}")
    assert offered("cleo")
    assert not offered("vic")


def test_a_scan_without_uids_cannot_be_opened_there_and_says_so(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAPTOR_VIEWER_URL", "https://pacs.example/{study}")
    app = upload(page(), small.scan)
    app.button(key="own viewer 1").click().run()
    assert not app.exception
    assert "the scan is nifti, which has no UIDs" in app.error[0].value.replace("\\", "")
    monkeypatch.setenv("RAPTOR_VIEWER_URL", "https://pacs.example/")
    app = page(case="1")
    assert not app.exception
    assert "Open in your viewer" not in [button.label for button in app.button]
    assert "RAPTOR_VIEWER_URL" in said(app)


def test_a_query_alone_is_looked_at_with_its_windows_and_spacing(small: SmallArchive, page: OpenPage) -> None:
    app = page(case=str(small.scan_case))
    app.toggle(key="look").set_value(True).run()
    ((plain, voxels),) = viewers(app)
    assert plain["overlay"] is None
    assert list(voxels) == ["voxels0"]
    assert plain["scans"][0]["windows"][0][0] == "0.5 to 99.5 percentile"
    assert plain["scans"][0]["spacing"] == "20 x 24 x 18 voxels of 2.00 x 2.00 x 2.00 mm"

from collections import Counter

from indexer.demo.plan import DemoScan, plan


def by_source(scans: tuple[DemoScan, ...]) -> Counter[str]:
    return Counter(scan.source.name for scan in scans)


def test_the_demo_has_at_least_60_scans_of_at_least_8_sources() -> None:
    demo = plan(0)
    assert len(demo.archived) >= 60
    assert len(by_source(demo.archived)) >= 8
    assert min(by_source(demo.archived).values()) >= 5


def test_most_scans_are_nifti_and_some_are_dicom_of_every_modality_that_dicom_is_written_for() -> None:
    kinds = Counter(scan.kind for scan in plan(0).archived)
    assert kinds["nifti"] > 3 * kinds["dicom"] > 12
    assert {scan.source.modality for scan in plan(0).archived if scan.kind == "dicom"} == {"CT", "MR", "PT"}


def test_two_scans_are_held_out_and_their_sources_are_in_the_archive() -> None:
    demo = plan(0)
    held_out = [scan for scan in demo.scans if scan.held_out]
    assert [scan.kind for scan in held_out] == ["nifti", "dicom-zip"]
    assert {scan.source.name for scan in held_out} <= by_source(demo.archived).keys()
    assert all(scan.path.startswith("held-out/") for scan in held_out)


def test_about_a_sixth_of_the_sequences_is_left_open_and_every_source_keeps_some() -> None:
    demo = plan(0)
    labelled = tuple(scan for scan in demo.archived if scan.sequence)
    assert 1 / 8 < 1 - len(labelled) / len(demo.archived) < 1 / 4
    assert min(by_source(labelled).values()) >= 4
    assert all(scan.sequence == scan.source.sequence for scan in labelled)


def test_every_scan_has_a_place_of_its_own_that_gives_its_subject_and_session() -> None:
    demo = plan(0)
    assert len({scan.path for scan in demo.scans}) == len(demo.scans)
    assert len({(scan.subject.id, scan.session) for scan in demo.scans}) == len(demo.scans)
    for scan in demo.archived:
        assert scan.path.startswith(f"archive/{scan.subject.id}/ses-{scan.session:02d}/")


def test_one_source_is_one_subject() -> None:
    subjects = plan(0).subjects
    assert len({subject.id for subject in subjects}) == len({subject.source.name for subject in subjects})


def test_the_seed_decides_everything() -> None:
    assert plan(3) == plan(3)
    assert [s.age for s in plan(3).subjects] != [s.age for s in plan(4).subjects]

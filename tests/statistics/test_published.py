from raptor_search.statistics.published import PUBLISHED, RETRIEVAL, data_set_of


def test_the_papers_table_is_there_for_each_set():
    assert len(PUBLISHED) == 6
    ours = {figures.method: figures for figures in PUBLISHED["organmnist3d"]}
    assert (ours["Raptor"].auroc, ours["Raptor"].accuracy) == (0.999, 0.961)
    synapse = {figures.method: figures for figures in PUBLISHED["synapsemnist3d"]}
    assert (synapse["MISFM"].auroc, synapse["MISFM"].accuracy) == (0.918, 0.307)
    raptor = [next(one for one in lines if one.method == "Raptor").auroc for lines in PUBLISHED.values()]
    assert round(sum(raptor) / 6, 3) == 0.907  # the mean that the paper gives
    assert RETRIEVAL["adrenalmnist3d"] == (0.7998, 0.7517)


def test_a_set_is_known_by_the_name_of_its_file():
    assert data_set_of(["/a/organmnist3d_64.npz#train_0", "/a/organmnist3d_64.npz#test_3"]) == "organmnist3d"
    assert data_set_of(["/a/OrganMNIST3D.npz#train_0"]) == "organmnist3d"
    assert data_set_of(["/a/organmnist3d.npz#train_0", "/a/nodulemnist3d.npz#train_0"]) is None
    assert data_set_of(["/a/organmnist3d/scan.nii.gz", "/b.npz#test_0"]) is None
    assert data_set_of([]) is None

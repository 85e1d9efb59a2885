import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_rand_score

from raptor_search.cohorts.clusters import describe_clusters, find_clusters, find_outliers
from raptor_search.cohorts.graph import KnnGraph, build_graph


def draw(groups=4, each=40, noise=0, d=32, apart=1.5):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(groups), each)
    vectors = apart * rng.normal(size=(groups, d))[group] + rng.normal(size=(len(group), d))
    strangers = 3 * apart * rng.normal(size=(noise, d))
    group = np.append(group, np.full(noise, -1))
    vectors = np.concatenate([vectors, strangers]).astype(np.float32)
    vectors -= vectors.mean(axis=0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), group


def graph_of(vectors, k=20):
    return build_graph(np.arange(len(vectors)), lambda rows: vectors[rows], np.zeros(vectors.shape[1]), k=k)


def test_groups_are_found_and_strangers_belong_to_none():
    vectors, group = draw(noise=8)
    found = find_clusters(graph_of(vectors))
    assert adjusted_rand_score(group[group >= 0], found[group >= 0]) > 0.95
    assert (found[group < 0] == -1).mean() > 0.7
    assert (find_clusters(graph_of(vectors)) == found).all()


def test_parts_that_no_edge_joins_are_clusters():
    vectors, group = draw(apart=30)
    graph = graph_of(vectors, k=8)
    assert not (group[graph.indices] != group[:, None]).any()
    assert adjusted_rand_score(group, find_clusters(graph)) > 0.95


def test_identical_scans_are_a_cluster():
    vectors, _ = draw(groups=2, each=30)
    vectors[:12] = vectors[0]
    assert len(set(find_clusters(graph_of(vectors))[:12].tolist())) == 1


def test_the_largest_cluster_is_the_first_and_few_scans_make_none():
    vectors, group = draw(groups=2, each=40)
    keep = np.concatenate([np.arange(12), np.arange(40, 80)])
    found = find_clusters(graph_of(vectors[keep]))
    assert (found >= 0).any()
    sizes = np.bincount(found[found >= 0])
    assert sizes.tolist() == sorted(sizes, reverse=True)
    assert (find_clusters(graph_of(vectors[:8])) == -1).all()
    assert group[0] == 0


def test_the_exemplar_is_the_member_with_the_least_summed_distance():
    vectors, _ = draw()
    labels = find_clusters(graph_of(vectors))
    for cluster in describe_clusters(labels, vectors, {}, np.arange(len(vectors))):
        members = np.flatnonzero(labels == cluster.number)
        distance = (1 - vectors[members] @ vectors[members].T).sum(axis=1)
        assert cluster.medoid == members[distance.argmin()]
        assert cluster.scans == len(members)
        assert cluster.name == f"cluster {cluster.number + 1}"


def test_a_cluster_is_named_by_what_is_over_represented_with_counts_and_corrected_p():
    vectors, group = draw()
    labels = group.copy()
    sequence = ["T1" if g == 0 else "T2" for g in group]
    site = [f"site {n % 5}" for n in range(len(group))]
    found = describe_clusters(labels, vectors, {"sequence": sequence, "site": site}, np.arange(160))
    assert found[0].name == "T1"
    (trait,) = found[0].traits
    assert (trait.inside, trait.cluster, trait.overall, trait.known) == (40, 40, 40, 160)
    single = fisher_exact([[40, 0], [0, 120]], alternative="greater").pvalue
    tests = 4 * 5 + 4  # five sites in each of four clusters, one sequence in each
    assert trait.p == pytest.approx(single * tests)
    assert [cluster.name for cluster in found[1:]] == ["T2"] * 3


def test_chance_names_nothing():
    vectors, group = draw()
    rng = np.random.default_rng(3)
    columns = {f"column {n}": rng.integers(0, 3, 160).astype(str).tolist() for n in range(5)}
    assert all(not cluster.traits for cluster in describe_clusters(group, vectors, columns, np.arange(160)))


def test_one_subject_scanned_often_makes_no_trait():
    vectors, group = draw()
    subjects = np.where(group == 0, 0, np.arange(160))
    value = ["odd" if g == 0 else "usual" for g in group]
    assert describe_clusters(group, vectors, {"value": value}, subjects)[0].traits == ()


def test_columns_of_one_value_or_of_names_are_not_asked():
    vectors, group = draw()
    columns = {"one": ["x"] * 160, "names": [f"n{n}" for n in range(160)], "none": [None] * 160}
    assert all(not cluster.traits for cluster in describe_clusters(group, vectors, columns, np.arange(160)))


def test_scans_far_from_all_others_are_listed_the_farthest_first():
    vectors, _ = draw(apart=3)
    strangers = np.eye(32, dtype=np.float32)[:2]
    both = np.concatenate([vectors, strangers])
    found = find_outliers(graph_of(both))
    assert {160, 161} <= set(found.tolist())
    assert len(found) < 12
    distance = 1 - graph_of(both).scores[:, :10].mean(axis=1)
    assert (np.diff(distance[found]) <= 1e-6).all()


def test_two_scans_have_no_outliers():
    empty = KnnGraph(np.arange(2), np.array([[1], [0]]), np.ones((2, 1), np.float32), True)
    assert find_outliers(empty).size == 0

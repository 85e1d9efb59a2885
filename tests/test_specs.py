"""Specs: what divides vectors and what does not, a fingerprint that never moves, and the way to JSON and back."""

import dataclasses
import json

import pytest

from raptor_search.errors import SpecError
from raptor_search.specs import PRESETS, EmbeddingSpec, Recipe

SPEC = EmbeddingSpec(encoder="dinov2-large", layer="last", weights_sha256="ab" * 32, grid=(16, 16))

OTHERS = {
    "encoder": "dinov2-base",
    "layer": "9",
    "weights_sha256": "cd" * 32,
    "precision": "int8",
    "grid": (7, 7),
    "components_drawn": 200,
    "components_kept": 10,
    "seed": 1,
    "recipe_version": 2,
}
"""For each field of a spec but its recipe a value that is not `SPEC`'s."""

RECIPES = {
    "intensity": "published",
    "resample": "stretch",
    "cube": 256,
    "slices_per_plane": 24,
    "planes": "stored",
    "tokens": "cls+patches",
    "scale": "1",
}
"""The same for each field of a recipe but its name."""


def other(name: str) -> EmbeddingSpec:
    if name in OTHERS:
        return dataclasses.replace(SPEC, **{name: OTHERS[name]})
    return dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, **{name: RECIPES[name]}))


def test_the_fingerprint_is_that_of_archives_made_before() -> None:
    """A spec that gets another fingerprint leaves every archive without its vectors."""
    assert SPEC.to_json() == (
        '{"components_drawn":100,"components_kept":100,"cube":224,"encoder":"dinov2-large","grid":"16x16",'
        f'"intensity":"auto","layer":"last","planes":"ras","precision":"exact","recipe_version":1,"resample":"fit",'
        f'"scale":"1/K","seed":0,"slices_per_plane":32,"tokens":"patches","weights_sha256":"{"ab" * 32}"}}'
    )
    assert SPEC.fingerprint == "7700cccf388affa2207fc7fd550093e4fe486bf2e626dbb9e3870cb1244180e8"


def test_every_field_is_in_the_fingerprint_and_nothing_else() -> None:
    fields = {field.name for field in dataclasses.fields(EmbeddingSpec)} - {"recipe"}
    settings = {field.name for field in dataclasses.fields(Recipe)} - {"preset"}
    assert (fields, settings) == (OTHERS.keys(), RECIPES.keys())
    # No device, no dtype, no version of a library: those are provenance, and divide no archive.
    assert SPEC.fields().keys() == fields | settings
    fingerprints = {other(name).fingerprint for name in (*OTHERS, *RECIPES)}
    assert len(fingerprints | {SPEC.fingerprint}) == len(OTHERS) + len(RECIPES) + 1


@pytest.mark.parametrize("name", [*OTHERS, *RECIPES])
def test_the_field_that_differs_is_named_and_json_comes_back(name: str) -> None:
    assert SPEC.differences(other(name)) == [name]
    assert EmbeddingSpec.from_json(other(name).to_json()).fields() == other(name).fields()


def test_ten_components_drawn_and_ten_cut_from_a_hundred_never_meet() -> None:
    drawn = dataclasses.replace(SPEC, components_drawn=10, components_kept=10)
    cut = dataclasses.replace(SPEC, components_kept=10)
    assert drawn.shape == cut.shape == (3, 10, 256)
    assert drawn.fingerprint != cut.fingerprint
    assert drawn.differences(cut) == ["components_drawn"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_by_its_name_and_the_name_divides_nothing(name: str) -> None:
    spec = dataclasses.replace(SPEC, recipe=PRESETS[name])
    assert EmbeddingSpec.from_json(spec.to_json()) == spec
    renamed = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, preset="mine"))
    assert renamed.fingerprint == spec.fingerprint


def test_cls_makes_one_token_more_in_each_plane() -> None:
    official = dataclasses.replace(SPEC, recipe=PRESETS["official"])
    assert (official.tokens_per_plane, official.shape, official.length) == (257, (3, 100, 257), 77_100)
    assert SPEC.length == 76_800


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"components_drawn": 0}, "--components 0: expected 1 to 4096"),
        ({"components_drawn": 4097}, "--components 4097: expected 1 to 4096"),
        ({"components_kept": 0}, "components kept 0: expected 1 to the 100 that are drawn"),
        ({"components_kept": 101}, "components kept 101: expected 1 to the 100 that are drawn"),
        ({"seed": -1}, "--seed -1: expected 0 to 4294967295"),
        ({"seed": 2**32}, "--seed 4294967296: expected 0 to 4294967295"),
        ({"precision": "fp8"}, "--precision fp8: expected one of exact, int8"),
    ],
)
def test_a_value_out_of_range_is_one_sentence(fields: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        dataclasses.replace(SPEC, **fields)  # type: ignore[arg-type]
    assert caught.value.message == said


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", SPEC.to_json()[:-5], json.dumps(json.loads(SPEC.to_json()) | {"more": 1})]
)
def test_what_is_no_spec_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not an embedding spec of this version"):
        EmbeddingSpec.from_json(text)

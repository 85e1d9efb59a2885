import numpy as np
import pytest

from raptor_search.catalog import IndexMeasures
from raptor_search.errors import CatalogError
from raptor_search.searching.measures import Measures
from raptor_search.searching.tuning import Setting, Tuning

MEASURES = Measures(
    tuning=Tuning((Setting(1.0, 8, 100, 30, 0.995, 0.991), Setting(0.1, 64, 200, 0, 0.99, 0.99))),
    factory_given=True,
    trained_because="asked for",
    measured_volumes=12,
    measured_embedding=34,
    imbalance=1.5,
    drift={"mean_shift": 0.01},
    background=np.linspace(-1, 1, 5, dtype=np.float32),
)


def test_measures_come_back_as_they_were_stored():
    back = Measures.from_stored(MEASURES.to_stored())
    assert back == MEASURES
    assert (back.background == MEASURES.background).all()


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"version": 2}', MEASURES.to_stored().document.replace("nprobe", "probes")]
)
def test_measures_of_another_kind_are_refused_in_one_line(document):
    with pytest.raises(CatalogError, match="raptor rebuild") as refused:
        Measures.from_stored(IndexMeasures(document=document, background=np.empty(0, np.float32)))
    assert "\n" not in refused.value.message

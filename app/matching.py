"""Why two scans match: the score's parts laid over both pictures."""

import streamlit as st

from app.charts import match
from app.querying import Query
from raptor_search.archive import Archive
from raptor_search.search import Hit, SearchResult
from raptor_search.specs import EmbeddingSpec

__all__ = ["explain", "is_aligned"]


def is_aligned(spec: EmbeddingSpec) -> bool:
    """Whether the pictures show what the cells cover: only under such a recipe are the slices cut alike."""
    return spec.recipe.planes == "ras" and spec.recipe.resample == "fit"


@st.dialog("Why they match", width="large")
def explain(archive: Archive, query: Query, result: SearchResult, hit: Hit) -> None:
    """Show which cells of the three planes the score comes from."""
    parts = archive.explain(result, hit)
    st.write(
        f"The score of **{hit.score:.3f}** is a sum over the cells below: orange ones speak for the match, "
        "blue ones against it."
    )
    opacity = st.slider("Strength of the overlay", 0.0, 1.0, 0.6, 0.05)
    aligned = is_aligned(result.spec)
    pictures = {"The query": query.picture, f"Case {hit.volume_id}": archive.catalog.preview(hit.volume_id)}
    for name, png in pictures.items():
        st.caption(name)
        figure = match(png if aligned else None, parts.cells, opacity=opacity)
        st.plotly_chart(
            figure,
            key=f"match {name}",
            config={"displayModeBar": False},
            alt=f"{name}: each cell's share of the score over the axial, coronal and sagittal slices",
        )
    st.caption(
        "Axial, coronal and sagittal, the patient's right on the left. Each cell is an average along its plane's "
        "normal: it says where in the picture two scans match, not in which slice. Cells are not registered between "
        "scans."
    )
    if not aligned:
        st.caption("This archive's recipe cuts the slices in another way than the pictures, which are left out.")

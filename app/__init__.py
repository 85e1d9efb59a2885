"""The Streamlit page: one file a view in `app.views`, run by `raptor app`; no arithmetic here."""

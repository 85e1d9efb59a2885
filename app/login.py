"""Who uses the page: whoever runs it, on the loopback address; or whom the login names, with the role of access.toml.

Asked anew at every run of a page, so that a role that was taken away is gone with the next click.
"""

import os
import time
from typing import Any

import streamlit as st

from raptor_search.access import AccessSettings, Principal, is_loopback, local_principal
from raptor_search.errors import AccessError

__all__ = ["current", "has_login", "log_in", "offer_log_out", "principal"]

AUTH_VARIABLE = "RAPTOR_AUTH_FILE"


def has_login() -> bool:
    """Whether users have to log in."""
    return bool(os.environ.get(AUTH_VARIABLE))


def current() -> Principal | None:
    """Who uses the page; None where nobody has logged in, or the login has expired.

    Raises:
        AccessError: other machines reach this page, and it has no login.
        UsageError: the file of roles cannot be read: nobody has one.
    """
    if not has_login():
        address = st.get_option("server.address")  # None where there is no server: a page that a test runs
        if address is not None and not is_loopback(address):
            raise AccessError(
                "other machines reach this page, and it has no login: start it by `raptor app`, "
                "with `--auth FILE` for another address"
            )
        return local_principal()
    claims = _claims()
    return None if claims is None else AccessSettings.load().principal(claims)


def principal() -> Principal:
    """Who uses the page.

    Raises:
        AccessError: nobody has logged in, or as `current`.
    """
    who = current()
    if who is None:
        raise AccessError("nobody is logged in: load the page again and log in")
    return who


def log_in() -> None:
    """The page of those who have not logged in yet."""
    st.title("Log in", anchor=False)
    st.write("Scans are shown to those alone whom the administrator of this archive has given a role.")
    st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)


def offer_log_out() -> None:
    """The way out, for whoever has logged in, with a role or without one."""
    if has_login() and _claims() is not None:
        st.button("Log out", key="log out", icon=":material/logout:", type="tertiary", on_click=st.logout)


def _claims() -> dict[str, Any] | None:
    """What the provider said of the user; Streamlit keeps its cookie for a month, whatever the token says."""
    if not st.user.is_logged_in:
        return None
    claims = dict(st.user.to_dict())
    until = claims.get("exp")
    return claims if isinstance(until, int | float) and until > time.time() else None

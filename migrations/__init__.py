"""The database migrations (alembic), packaged so that an installed program finds them."""

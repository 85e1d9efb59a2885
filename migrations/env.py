"""How alembic reaches the database: on the connection it is handed, or by the URL of `alembic -x url=...`."""

from alembic import context
from sqlalchemy import Connection, make_url

from raptor_search.catalog.database import WRITE, make_engine
from raptor_search.catalog.tables import Base


def run(connection: Connection) -> None:
    """Run the migrations in one transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite changes a column by building the table anew.
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    run(handed)
else:
    engine = make_engine(make_url(context.get_x_argument(as_dictionary=True)["url"]), foreign_keys=False)
    with engine.execution_options(**{WRITE: True}).begin() as own:
        run(own)
    engine.dispose()

"""A shop with SQLAlchemy's ORM and Alembic's migrations.

`python -m tests.apps.sqlalchemy_shop PORT USER PASSWORD [STEP ..]` runs all of it, or some steps, against a database
`shop` and prints what it was answered. Nothing in it knows of Turnout.
"""

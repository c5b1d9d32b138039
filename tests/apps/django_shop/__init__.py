"""A Django application, as its documentation would have one: models, migrations, and what a shop does with them.

`python -m tests.apps.django_shop PORT USER PASSWORD [STEP ..]` runs all of it, or some steps, against a database `shop`
and prints what it was answered. Nothing in it knows of Turnout, but for the foreign key that leads from one sharded
table to another by a column that is not the shard key: it has `db_constraint=False`.
"""

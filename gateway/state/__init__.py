"""The gateway's own database: engine, migrations, one file for each family of records.

Takes: a URL. Gives: engines and functions over rows. Only pipeline, jobs, audit, identity,
publish and serve import it.
"""

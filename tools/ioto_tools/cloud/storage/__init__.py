"""The database: tables, migrations, SQLite and PostgreSQL, transactions, queries, the audit and the counters in them."""

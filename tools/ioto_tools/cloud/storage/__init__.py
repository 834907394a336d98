"""The database: tables, migrations, SQLite and PostgreSQL, transactions, queries, audit log and counters."""

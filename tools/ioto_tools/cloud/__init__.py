"""The device cloud: registration, check-ins, reports and images over HTTP, on SQLite and a folder.

routes -> provision (what is answered) -> wire, selection, progress (pure) and database, store (what is kept).
"""

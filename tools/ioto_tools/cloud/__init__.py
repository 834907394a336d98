"""The device cloud: registration, check-ins, reports and images over HTTP, on SQLite and a folder.

routes -> checkin, provision (what is answered) -> wire, rollout, selection (pure) and memory, grants, database, store (what is kept).
"""

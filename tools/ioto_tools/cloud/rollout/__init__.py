"""A release on its way to devices: who is offered it, how many at once, how far it has come, what ends it."""

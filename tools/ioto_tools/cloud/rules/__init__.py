"""What is decided, as pure tables: the states of an update on a device, which release a device is offered, the terms of a roll-out."""

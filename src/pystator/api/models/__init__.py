"""What bodies and answers look like; examples are from the order machine."""

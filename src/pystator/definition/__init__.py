"""A machine file: text -> plain data -> checked model."""

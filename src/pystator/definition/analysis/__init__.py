"""The parts of `pystator.definition.analyse`: what a machine can and can never do."""

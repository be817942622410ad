"""The command line: each command parses its options, calls the library and renders the answer.

Laws:

- Results go to standard output, everything else to standard error; ``--json`` makes results JSON.
- 0: done. 1: refused, rejected or failed. 2: the command was called wrongly. 130: interrupted.
- A user's mistake is answered by a sentence that says what to do, never by a traceback.
- A command's module is imported when it is asked for, and what is heavy inside it when it runs.
"""

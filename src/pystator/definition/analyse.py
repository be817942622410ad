"""What a machine can never do, does for ever, or leaves open: found without running it.

The checks of loading are about what is written; these are about what it means. Each finding is
certain or it is not made: states and transitions are followed at the level of nodes, which takes in
more than can happen and never less, and guards are compared by the values that matter to them.

::

    Definition --> chart --> reach <--> verdicts <-- search <-- formulas
                               |
                               `--> dead, heard, memory, ends, loops, cases --> issues

docs/check.md has every code with an example.
"""

from collections.abc import Collection

from pystator.definition.analysis.cases import Facts, find_cases
from pystator.definition.analysis.chart import Chart
from pystator.definition.analysis.dead import find_dead
from pystator.definition.analysis.ends import find_ends
from pystator.definition.analysis.findings import CODES, LOAD_CODES, Findings, unknown_code
from pystator.definition.analysis.heard import find_unheard
from pystator.definition.analysis.loops import find_loops
from pystator.definition.analysis.memory import find_unleft
from pystator.definition.analysis.reach import explore
from pystator.definition.issues import Issue
from pystator.definition.model import Definition

__all__ = ["CODES", "LOAD_CODES", "analyse", "everything", "ignoring", "unknown_code"]


def analyse(definition: Definition) -> list[Issue]:
    """Everything that is found in a machine, in the order of the file.

    Args:
        definition: A machine without mistakes, e.g. of `pystator.definition.load.load_file`.

    Returns:
        Issues with a code of `CODES`. The severity says how sure it is that nobody meant it so:
        ``error`` (events fail), ``warning``, ``info`` (worth a look). What the machine asks to
        ignore is left out.
    """
    findings = Findings(definition)
    reach = explore(Chart(definition))
    facts = Facts(reach, definition)
    find_dead(reach, findings)
    find_unheard(reach, findings)
    find_unleft(definition, findings)
    find_ends(reach, find_loops(reach, facts, findings), findings)
    find_cases(reach, facts, findings)
    return sorted(findings.issues, key=lambda issue: (issue.line, issue.column))


def everything(definition: Definition | None, issues: Collection[Issue]) -> list[Issue]:
    """What loading said about a machine and, where it loads, what is found in it; in order.

    Args:
        definition: As one of the functions of `pystator.definition.load` gives it.
        issues: As it gives them.
    """
    if definition is None:
        return [*issues]
    kept = ignoring(issues, Findings(definition).everywhere)
    return sorted([*kept, *analyse(definition)], key=lambda issue: (issue.line, issue.column))


def ignoring(issues: Collection[Issue], codes: Collection[str]) -> list[Issue]:
    """The issues without those of some codes; a mistake that keeps a machine from loading stays."""
    return [
        issue
        for issue in issues
        if issue.code not in codes or (issue.severity == "error" and issue.code not in CODES)
    ]

"""The decisions about events: load, decide, write, and again where another writer was first.

::

    cases --> groups (an entity each, in order) --> load --> drafts --> write --> answered
                 ^                                           |  ^         |
                 |                              async guard  v  |         |
                 |                                        await it        |
                 |                                                        |
                 '---- stale, duplicate, or more timers due than a commit fires

Laws:

- A group is one commit: its events are applied in the order they came, together or not at all.
- A case is answered only when its commit is written, and then once.
- A group that fails does not touch the others.
- The same event id twice in one call: the second is answered from the first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pystator.engine.actions import cancelled_within
from pystator.engine.frame import NeedGuard
from pystator.engine.result import TransitionResult
from pystator.engine.step import wrapped
from pystator.errors import FSMError, InvalidValueError
from pystator.orchestrator.actions import finish
from pystator.orchestrator.ahead import Drawn, may_run_ahead
from pystator.orchestrator.answers import again, conflict, gave_up, is_same, replayed
from pystator.orchestrator.cases import Case
from pystator.orchestrator.draft import Draft, Overdue
from pystator.orchestrator.lines import Groups
from pystator.orchestrator.patience import Patience
from pystator.orchestrator.plain import decide_one
from pystator.orchestrator.requests import AwaitGuard, Load, Program
from pystator.orchestrator.settings import Settings
from pystator.orchestrator.writing import write, write_ahead, write_traced
from pystator.records import Commit, Entity, HistoryEntry, Loaded, Lookup, Outcome, OutcomeKind

__all__ = [
    "CANCELLED",
    "Answer",
    "announce",
    "decide",
    "decide_groups",
    "draft_cases",
    "process",
    "settle",
]

_Plain = tuple[Case, TransitionResult]
"""A plain event that needs no draft."""

CANCELLED = "a guard, a validator or a hook raised CancelledError, and nobody cancelled the call"
"""What became of such an event, for messages."""

_NO_REASON = "the store refused the commit and gave no reason"

Answer = tuple[list[Loaded], int]
"""The reply to `Load`: what was loaded, and the wall clock."""


def process(
    settings: Settings, cases: Sequence[Case], loaded: Answer | None = None
) -> Program[None]:
    """Decide the cases, then run their actions. Afterwards each has a result or an error."""
    announce(settings, cases)
    yield from decide(settings, cases, loaded)
    yield from finish(settings, cases)


def announce(settings: Settings, cases: Sequence[Case]) -> None:
    """Tell the hooks that events arrived."""
    if settings.hooks is not None:
        for case in cases:
            settings.hooks.before(case)


def decide(
    settings: Settings, cases: Sequence[Case], loaded: Answer | None = None
) -> Program[None]:
    """Answer every case; ``loaded`` is what the first load would answer."""
    groups, twins = _grouped(cases)
    patience: Patience | None = None
    alone: set[str] = set()
    while groups:
        advanced = yield from _round(settings, groups, alone, loaded, may_wait=True)
        loaded = None
        groups = _open(groups)
        if groups:
            patience = patience or Patience(settings)
            if not (yield from patience.wait(advanced=advanced)):
                _give_up(settings, groups)
                break
    _answer_twins(twins)


def decide_groups(settings: Settings, groups: Groups) -> Program[None]:
    """Answer what one load and one commit can; the cases that need more are left open.

    Args:
        settings: The machine and the user's choices.
        groups: Open cases, by entity and in order.
    """
    twins: list[tuple[Case, Case]] = []
    for group in [group for group in groups.values() if len(group) > 1]:
        once, repeated = _grouped(group)
        if repeated:
            groups = {**groups, **once}
            twins += repeated
    yield from _round(settings, groups, set(), None, may_wait=False)
    _answer_twins([(first, twin) for first, twin in twins if not first.open])


# Groups -----------------------------------------------------------------------------------------


def _grouped(cases: Iterable[Case]) -> tuple[Groups, list[tuple[Case, Case]]]:
    """Open cases by entity, in order, and (first, second) of those with the same event id."""
    groups: Groups = {}
    ids: dict[tuple[str, str], Case] = {}
    twins: list[tuple[Case, Case]] = []
    for case in cases:
        if case.result is not None or case.error is not None:
            continue
        if case.event_id is not None:
            first = ids.setdefault((case.entity_id, case.event_id), case)
            if first is not case:
                twins.append((first, case))
                continue
        group = groups.get(case.entity_id)
        if group is None:
            groups[case.entity_id] = [case]
        else:
            group.append(case)
    return groups, twins


def _open(groups: Groups) -> Groups:
    still: Groups = {}
    for key, group in groups.items():
        left = [case for case in group if case.result is None and case.error is None]
        if left:
            still[key] = left
    return still


def _answer_twins(twins: Iterable[tuple[Case, Case]]) -> None:
    for first, twin in twins:
        if first.request_hash != twin.request_hash:
            twin.error = conflict(twin)
        elif first.result is None:
            twin.error = first.error
        else:
            twin.result = again(first.result)


def _give_up(settings: Settings, groups: Groups) -> None:
    for entity_id, group in groups.items():
        for case in group:
            case.error = gave_up(entity_id, settings.patience)


# One round --------------------------------------------------------------------------------------


def _round(
    settings: Settings,
    groups: Groups,
    alone: set[str],
    loaded: Answer | None,
    *,
    may_wait: bool,
) -> Program[bool]:
    """Load, decide and write once; True when due timers were written before an event that waits.

    Args:
        settings: The machine and the user's choices.
        groups: Open cases by entity.
        loaded: What loading them would answer, where it is known already.
        alone: Entities whose events go one by one, because a commit of several was refused.
        may_wait: Await async guards; otherwise leave their cases, and those behind them, open.
    """
    began = settings.tick()
    answer: Answer
    reading = None
    if settings.tracer is not None and loaded is None:
        reading = settings.tracer.part("load", _cases(groups), {"entities": len(groups)})
    try:
        answer = (yield Load(_lookups(settings, groups))) if loaded is None else loaded
    except Exception as error:  # noqa: BLE001 # what earlier rounds wrote is answered all the same
        if reading is not None:
            reading.end({}, error)
        _fail(_cases(groups), error)
        return False
    if reading is not None:
        reading.end({})
    if may_run_ahead(settings, len(groups)):
        groups, answer = yield from _run_ahead(settings, groups, alone, answer, began)
    papers, commits = yield from _drafted(settings, groups, alone, answer, began, may_wait=may_wait)
    if not commits:
        return False
    if settings.tracer is None:
        outcomes = yield from write(settings, commits)
    else:
        outcomes = yield from write_traced(settings, settings.tracer, _served(papers), commits)
    return _settled(papers, outcomes, alone)


def _run_ahead(
    settings: Settings, groups: Groups, alone: set[str], loaded: Answer, began: int
) -> Program[tuple[Groups, Answer]]:
    """Decide and write plain events; the other groups, and what was loaded for them."""
    everything, now = loaded
    papers: list[Draft | _Plain] = []
    others: Groups = {}
    left: list[Loaded] = []

    def commits() -> Iterator[Commit]:
        for key, found in zip(sorted(groups), everything, strict=True):
            group = groups[key]
            decided = None
            if len(group) == 1 and not found.known:
                try:
                    decided = _decide_plain(settings, group[0], found.entity, now, began)
                except Exception as error:  # noqa: BLE001 # as in `_drafted`
                    _fail(group, error)
                    continue
            if decided is None:
                others[key] = group
                left.append(found)
                continue
            paper, commit = decided
            if commit is not None:
                papers.append(paper)
                yield commit
            elif isinstance(paper, Draft):
                settle(paper, None)

    outcomes = yield from write_ahead(settings, Drawn(commits()))
    _settled(papers, outcomes, alone)
    return others, (left, now)


def _settled(
    papers: Iterable[Draft | _Plain], outcomes: Iterable[Outcome | Exception], alone: set[str]
) -> bool:
    """Answer what was written; True when due timers were written before an event that waits."""
    advanced = False
    for paper, outcome in zip(papers, outcomes, strict=True):
        if isinstance(paper, Draft):
            settle(paper, outcome, alone)
            advanced = advanced or paper.waiting is not None
        else:
            _settle_plain(paper, outcome)
    return advanced


def _served(papers: Iterable[Draft | _Plain]) -> list[Case]:
    """Whose events the commits of these papers are."""
    cases: list[Case] = []
    for paper in papers:
        if isinstance(paper, Draft):
            cases += paper.cases
        else:
            cases.append(paper[0])
    return cases


def _cases(groups: Groups) -> list[Case]:
    return [case for group in groups.values() for case in group]


def _drafted(
    settings: Settings,
    groups: Groups,
    alone: set[str],
    loaded: Answer,
    began: int,
    *,
    may_wait: bool,
) -> Program[tuple[list[Draft | _Plain], list[Commit]]]:
    """Decide each group; those that leave a trace, and the commits that make it."""
    everything, now = loaded
    papers: list[Draft | _Plain] = []
    commits: list[Commit] = []
    for key, found in zip(sorted(groups), everything, strict=True):
        group = groups[key][:1] if key in alone else groups[key]
        try:
            decided = None
            if len(group) == 1 and settings.plain and not found.known:
                decided = _decide_plain(settings, group[0], found.entity, now, began)
            if decided is None:
                draft = Draft(settings, key, found.entity, now, began)
                yield from draft_cases(draft, group, found.known, may_wait=may_wait)
                decided = draft, draft.commit()
        except Exception as error:  # noqa: BLE001 # this entity cannot be taken on; the others can
            _fail(group, error)
            continue
        except BaseException as error:
            if not cancelled_within(error):
                raise
            _fail(group, FSMError(CANCELLED))
            continue
        paper, commit = decided
        if commit is not None:
            papers.append(paper)
            commits.append(commit)
        elif isinstance(paper, Draft):
            settle(paper, None)
    return papers, commits


def _decide_plain(
    settings: Settings, case: Case, entity: Entity | None, now: int, began: int
) -> tuple[Draft | _Plain, Commit | None] | None:
    """Decide an event without a draft; None when it is not plain."""
    if case.now is not None or entity is None or case.is_data:
        return None
    if case.expected is not None and case.expected != entity.version:
        return None
    decided = decide_one(settings, case.trigger, case.payload, entity, now, began, case)
    if decided is None:
        return None
    commit, result = decided
    if commit is not None:
        return (case, result), commit
    draft = Draft(settings, case.entity_id, entity, now, began)
    draft.judge(case, result, max(now, draft.updated))
    return draft, draft.commit()


def _lookups(settings: Settings, groups: Groups) -> list[Lookup]:
    """In the order of keys, which is the order that stores lock in."""
    name = settings.name
    lookups: list[Lookup] = []
    for key in sorted(groups):
        group = groups[key]
        if len(group) == 1 and group[0].event_id is None:
            lookups.append(Lookup(key, name))
        else:
            ids = [case.event_id for case in group if case.event_id is not None]
            lookups.append(Lookup(key, name, tuple(ids)))
    return lookups


def draft_cases(
    draft: Draft, group: Sequence[Case], known: Mapping[str, HistoryEntry], *, may_wait: bool
) -> Program[None]:
    """Decide a group's cases on paper."""
    tracer = draft.settings.tracer
    for case in group:
        if case.event_id is not None and case.event_id in known:
            _recall(case, known[case.event_id])
            continue
        if tracer is None:
            done = yield from _draft_case(draft, case, may_wait=may_wait)
        else:
            step = tracer.part("step", (case,), {"entity_id": case.entity_id})
            done = yield from _draft_case(draft, case, may_wait=may_wait)
            step.end({}, case.error)
        if not done:
            return


def _draft_case(draft: Draft, case: Case, *, may_wait: bool) -> Program[bool]:
    """Decide one; False when it, and what is behind it, needs another round."""
    try:
        while not draft.has_answered(case):
            need = _take(draft, case)
            if need is None:
                break
            if not may_wait:
                draft.forget()
                return False
            yield from await_guard(draft, case, need)
    except Overdue:
        draft.waiting = case
        return False
    except Exception as error:  # noqa: BLE001 # this event cannot be decided; its neighbours can
        case.error = error
        draft.forget()
    except BaseException as error:
        if not cancelled_within(error):
            raise
        case.error = FSMError(CANCELLED)
        draft.forget()
    return True


def _take(draft: Draft, case: Case) -> NeedGuard | None:
    try:
        draft.take(case)
    except NeedGuard as need:
        return need
    return None


def await_guard(draft: Draft, case: Case | None, need: NeedGuard) -> Program[None]:
    """Get a verdict into the draft; a guard that raises fails the step, as a blocking one does.

    Raises:
        FSMError: This driver cannot await.
    """
    verdict: bool | Exception = yield AwaitGuard(need, draft.settings.home, draft.entity_id)
    if isinstance(verdict, Exception):
        draft.fail(case, wrapped(verdict))
    else:
        draft.verdicts = {**(draft.verdicts or {}), need.key: verdict}


def settle(
    draft: Draft, outcome: Outcome | Exception | None, alone: set[str] | None = None
) -> None:
    """Answer the draft's cases if it is written; leave them open if it has to be made again."""
    cases = [case for case, _, _ in draft.answers]  # not the one that waits
    if isinstance(outcome, Exception):
        _fail(cases, outcome)
    elif outcome is None or outcome.kind is OutcomeKind.APPLIED:
        for case, result, todos in draft.answers:
            case.result = result
            case.commit_id = draft.commit_id
            if todos:
                case.todos = [*(case.todos or ()), *todos]
        last = draft.waiting or (cases[-1] if cases else None)
        if draft.todos and last is not None:  # of timers: nobody else has taken them along
            last.todos = [*(last.todos or ()), *draft.todos]
    elif outcome.kind is OutcomeKind.REFUSED:
        # An error of the store's own does not say that nothing was written.
        certain = outcome.error is None or isinstance(outcome.error, InvalidValueError)
        if len(cases) > 1 and alone is not None and certain:
            alone.add(draft.entity_id)
        else:
            _fail(cases, outcome.error or FSMError(_NO_REASON))


def _settle_plain(paper: _Plain, outcome: Outcome | Exception) -> None:
    """`settle` for a plain event."""
    case, result = paper
    if isinstance(outcome, Exception):
        case.error = outcome
    elif outcome.kind is OutcomeKind.APPLIED:
        case.result = result
        specs = result.facts.actions
        if specs:
            case.todos = [*(case.todos or ()), (result.written, specs, result, case.trace)]
    elif outcome.kind is OutcomeKind.REFUSED:
        case.error = outcome.error or FSMError(_NO_REASON)


def _fail(cases: Iterable[Case], error: Exception) -> None:
    for case in cases:
        case.error = error


def _recall(case: Case, row: HistoryEntry) -> None:
    """Answer from the row that the event left the first time."""
    if is_same(case, row):
        case.result = replayed(row)
    else:
        case.error = conflict(case)

using System.Collections.Immutable;

namespace Sagas;

// The world around one saga, as the explorer sees it: what the store has, what one node or two remember, which messages
// are on their way, what each participant's barrier has noted, and what really took effect. The decisions in it are the
// production Decider's; times and attempt numbers are taken out of its states, since any timer may fire at any moment and
// of attempts only "the one in flight" and "an earlier one" are told apart.

/// <summary>What may happen next.</summary>
internal enum Deed
{
    Hear, HearTwice, LoseReply, HearAndDie,
    Deliver, DeliverTwice, LoseCommand,
    TimeOut, RetryDue, SagaTimeOut, Cancel, Pause, Resume, ActAndDie, StartAndDie,
    Flush, Crash, TakeOver,
    // By the node that was taken over from and still remembers.
    StaleHear, StaleTimer, StaleFlush,
}

/// <summary>What a participant does with a command that reaches its handler.</summary>
internal enum Handling { Ok, Refuse, FailBefore, FailAfter, Busy }

/// <summary>The rules of the world.</summary>
internal sealed class ExplorerWorld
{
    private readonly SagaDefinition _saga;
    private readonly ExplorerBounds _bounds;
    private readonly ImmutableArray<EffectInvariant> _invariants;
    private readonly ExplorerMutant _mutant;
    private readonly Dictionary<ulong, string?> _effects = [];
    private readonly ImmutableArray<ImmutableArray<int>> _twins;
    private readonly Dictionary<ulong, List<int>> _arranged = [];
    private readonly uint[] _cells;
    private readonly int _n;
    private Explored _next;

    public ExplorerWorld(SagaDefinition saga, ExplorerBounds bounds, ImmutableArray<EffectInvariant> invariants, ExplorerMutant mutant,
        Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision>? decide)
    {
        // Data has no say in what the engine does: the mappings are left out, and every result is 1.
        _saga = new SagaDefinition(saga.Name, saga.Version, [.. saga.Steps.Select(step => step with
        {
            Map = static _ => ExplorerDecisions.One,
            Compensation = step.Compensation is { } made ? made with { Map = static (_, _) => ExplorerDecisions.One } : null,
            Retry = step.Retry with { Attempts = Math.Min(step.Retry.Attempts, bounds.Attempts) },
        })], saga.Timeout, null) { StuckAfter = 2 };
        (_bounds, _invariants, _mutant, Decisions) = (bounds, invariants, mutant, new ExplorerDecisions(_saga, decide ?? Decider.Decide));
        _n = saga.Steps.Length;
        _twins = Twins();
        Order = [.. Enumerable.Range(0, _n)];
        _next.Steps = new uint[_n];
        _cells = new uint[_n];
    }

    /// <summary>The world after the last call of what is to be found.</summary>
    public ref Explored Next => ref _next;

    /// <summary>What the last deed broke; null: nothing.</summary>
    public string? Broken { get; private set; }

    /// <summary>Whether the saga has ended, for all to see.</summary>
    public bool Ended(in Explored world) => Decisions.State(world.Stored).Ended;

    public ExplorerDecisions Decisions { get; }

    public SagaDefinition Saga => _saga;

    // ── The start ───────────────────────────────────────────────────────────────────────────────────────────────────────

    public void Start()
    {
        var start = Decisions.Start();
        _next = new Explored { Memory = start.Next, Stored = start.Next, Steps = new uint[_n] };
        Broken = Decisions.Broken(start.Next);
        Dispatch(start.Sends);
        Settle();
        Arrange();
    }

    // ── Deeds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>Lets each thing happen that can, one at a time from the same world; stops when <paramref name="visit"/> says so.</summary>
    public bool Each(in Explored world, bool isStart, Func<Deed, int, int, bool> visit)
    {
        var memory = Decisions.State(world.Memory);
        if (isStart && _bounds.Crashes > 0 && Do(world, Deed.StartAndDie, 0, 0, visit)) return true;
        for (var s = 0; s < _n; s++)
        {
            var cell = world.Steps[s];
            for (var bit = Cell.FirstReply; bit < Cell.Ends; bit++)
            {
                if ((cell >> bit & 1) == 0) continue;
                if (Do(world, Deed.Hear, s, bit, visit)) return true;
                if (world.Duplicates < _bounds.Duplicates && Do(world, Deed.HearTwice, s, bit, visit)) return true;
                if (world.Drops < _bounds.Drops && Do(world, Deed.LoseReply, s, bit, visit)) return true;
                if (world.Crashes < _bounds.Crashes && Do(world, Deed.HearAndDie, s, bit, visit)) return true;
                if (world.Stale != 0 && Do(world, Deed.StaleHear, s, bit, visit)) return true;
            }
            for (var bit = Cell.ForwardNow; bit < Cell.FirstReply; bit++)
            {
                if ((cell >> bit & 1) == 0) continue;
                foreach (var handling in HandlingsOf(s, cell, bit))
                {
                    if (Do(world, Deed.Deliver, s, bit << 4 | (int)handling, visit)) return true;
                    if (world.Duplicates < _bounds.Duplicates && Do(world, Deed.DeliverTwice, s, bit << 4 | (int)handling, visit)) return true;
                }
                if (world.Drops < _bounds.Drops && Do(world, Deed.LoseCommand, s, bit, visit)) return true;
            }
            if (!memory.Ended && !memory.Paused && memory.Steps[s] is { Due: not null } now)
            {
                if (now.InFlight ? _bounds.Retries && Do(world, Deed.TimeOut, s, 0, visit) : Do(world, Deed.RetryDue, s, 0, visit)) return true;
                if (world.Crashes < _bounds.Crashes && (_bounds.Retries || !now.InFlight) && Do(world, Deed.ActAndDie, s, ExplorerDecisions.Timer(s, now.InFlight), visit)) return true;
            }
        }
        if (world.Memory != world.Stored && Do(world, Deed.Flush, 0, 0, visit)) return true;
        var mayDie = world.Crashes < _bounds.Crashes && !memory.Ended;
        if (memory is { Ended: false, Paused: false, Course: SagaStatus.Running, Deadline: not null })
        {
            if (Do(world, Deed.SagaTimeOut, 0, 0, visit)) return true;
            if (mayDie && Do(world, Deed.ActAndDie, 0, Decisions.TimedOut, visit)) return true;
        }
        if (!memory.Ended && _bounds.Cancel)
        {
            if (Do(world, Deed.Cancel, 0, 0, visit)) return true;
            if (mayDie && Do(world, Deed.ActAndDie, 0, Decisions.Cancel, visit)) return true;
        }
        if (memory is { Ended: false, Paused: false } && world.Pauses < _bounds.Pauses && Do(world, Deed.Pause, 0, 0, visit)) return true;
        if (memory is { Ended: false, Paused: true } && Do(world, Deed.Resume, 0, 0, visit)) return true;
        if (Ended(world)) return false;
        if (world.Crashes < _bounds.Crashes && Do(world, Deed.Crash, 0, 0, visit)) return true;
        if (world.Takeovers < _bounds.Takeovers && Do(world, Deed.TakeOver, 0, 0, visit)) return true;
        if (world.Stale == 0) return false;
        if (world.Stale != world.Stored && Do(world, Deed.StaleFlush, 0, 0, visit)) return true;
        var stale = Decisions.State(world.Stale);
        if (stale.Ended || stale.Paused) return false;
        for (var s = 0; s < _n; s++)
            if (stale.Steps[s] is { Due: not null } now && (_bounds.Retries || !now.InFlight) && Do(world, Deed.StaleTimer, s, 0, visit)) return true;
        return false;
    }

    /// <summary>Does one thing again: to tell how a violation came about.</summary>
    public void Redo(in Explored world, Deed deed, int step, int detail) => Do(world, deed, step, detail, static (_, _, _) => true);

    private bool Do(in Explored world, Deed deed, int s, int detail, Func<Deed, int, int, bool> visit)
    {
        world.CopyTo(ref _next);
        Broken = null;
        switch (deed)
        {
            case Deed.Hear: Take(s, detail); Happen(ExplorerDecisions.Hears(s, detail)); break;
            case Deed.HearTwice: _next.Duplicates++; Happen(ExplorerDecisions.Hears(s, detail)); break;
            case Deed.LoseReply: _next.Drops++; Take(s, detail); break;
            case Deed.HearAndDie:
                Take(s, detail);
                if (!CommitAndDie(ExplorerDecisions.Hears(s, detail))) return false;
                break;
            case Deed.Deliver: Take(s, detail >> 4); Handle(s, detail >> 4, (Handling)(detail & 15)); break;
            case Deed.DeliverTwice: _next.Duplicates++; Handle(s, detail >> 4, (Handling)(detail & 15)); break;
            case Deed.LoseCommand: _next.Drops++; Take(s, detail); break;
            case Deed.TimeOut: Happen(ExplorerDecisions.Timer(s, inFlight: true)); break;
            case Deed.RetryDue: Happen(ExplorerDecisions.Timer(s, inFlight: false)); break;
            case Deed.SagaTimeOut: Happen(Decisions.TimedOut); break;
            case Deed.Cancel: Happen(Decisions.Cancel); break;
            case Deed.Pause: _next.Pauses++; Happen(Decisions.Pause); break;
            case Deed.Resume: Happen(Decisions.Resume); break;
            case Deed.ActAndDie:
                if (!CommitAndDie(detail)) return false;
                break;
            case Deed.StartAndDie:
                _next.Crashes++;
                Array.Clear(_next.Steps);
                Recover();
                break;
            case Deed.Flush: Commit(_next.Memory); break;
            case Deed.Crash: _next.Crashes++; Recover(); break;
            case Deed.TakeOver:
                _next.Takeovers++;
                (_next.Stale, _next.StaleIsFresh) = (_next.Memory, false);
                Recover();
                break;
            case Deed.StaleHear: Take(s, detail); StaleHappen(ExplorerDecisions.Hears(s, detail)); break;
            case Deed.StaleTimer: StaleHappen(ExplorerDecisions.Timer(s, Decisions.State(_next.Stale).Steps[s].InFlight)); break;
            case Deed.StaleFlush:
                if (_next.StaleIsFresh) Swap(_next.Stale);
                else (_next.Stale, _next.StaleIsFresh) = (_next.Stored, true);
                break;
        }
        if (_next.Stale != 0 && Ended(_next)) (_next.Stale, _next.StaleIsFresh) = (0, false);
        Broken ??= Decisions.Broken(_next.Stored) ?? BrokenEffects();
        Settle();
        Arrange();
        return visit(deed, s, detail);
    }

    private void Take(int s, int bit) => _next.Steps[s] &= ~(1u << bit);

    private void Put(int s, int bit) => _next.Steps[s] |= 1u << bit;

    // ── The engine ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>The owner decides; what must not be lost is committed before anything is sent.</summary>
    private void Happen(int what)
    {
        var then = Decisions.Of(_next.Memory, what);
        if (!then.Urgent)
        {
            _next.Memory = then.Next;
            return;
        }
        Commit(then.Next);
        Dispatch(then.Sends);
    }

    private void Commit(int state)
    {
        if (_next.Stored != state) _next.StaleIsFresh = false;
        _next.Stored = _next.Memory = state;
    }

    /// <summary>The commit happened, and then the node was gone before anything was sent; or, with the mutant, the other way round. False: there was nothing to commit.</summary>
    private bool CommitAndDie(int what)
    {
        var then = Decisions.Of(_next.Memory, what);
        if (!then.Urgent) return false;
        _next.Crashes++;
        if (_mutant == ExplorerMutant.DispatchBeforeCommit) Dispatch(then.Sends);
        else Commit(then.Next);
        Recover();
        return true;
    }

    private void Recover()
    {
        _next.Memory = _next.Stored;
        if (_mutant == ExplorerMutant.ForgetInFlight) return;
        Happen(Decisions.Recovered);
    }

    private void StaleHappen(int what)
    {
        var then = Decisions.Of(_next.Stale, what);
        if (_next.StaleIsFresh || _mutant == ExplorerMutant.NoVersionCheck)
        {
            if (then.Urgent)
            {
                Swap(then.Next);
                Dispatch(then.Sends);
            }
            else _next.Stale = then.Next;
            return;
        }
        if (!then.Urgent)
        {
            _next.Stale = then.Next;
            return;
        }
        // The store has another version: nothing was written and nothing is sent. Decided again on what is stored.
        (_next.Stale, _next.StaleIsFresh) = (_next.Stored, true);
        then = Decisions.Of(_next.Stored, what);
        if (!then.Urgent) _next.Stale = then.Next;
        else
        {
            Swap(then.Next);
            Dispatch(then.Sends);
        }
    }

    /// <summary>The other node commits: it is the owner now, and the owner remembers an old version.</summary>
    private void Swap(int committed)
    {
        var old = _next.Memory;
        _next.Memory = _next.Stored = committed;
        (_next.Stale, _next.StaleIsFresh) = (old, false);
    }

    private void Dispatch(ImmutableArray<(int Step, Phase Phase, bool Probe)> sends)
    {
        foreach (var (s, phase, probe) in sends)
        {
            var now = phase switch { Phase.Confirm => Cell.ConfirmNow, Phase.Cancel => Cell.UndoNow, Phase.Compensate => probe ? Cell.ProbeNow : Cell.UndoNow, _ => Cell.ForwardNow };
            // What is on its way is of an earlier attempt from now on. An earlier attempt's error or busy says nothing to anybody.
            Age(s, now);
            if (now == Cell.ForwardNow)
            {
                if ((_next.Steps[s] >> Cell.ForwardRefusedNow & 1) != 0) { Take(s, Cell.ForwardRefusedNow); Put(s, Cell.ForwardRefusedOld); }
                Take(s, Cell.ForwardError);
                Take(s, Cell.ForwardBusy);
                Take(s, Cell.ForwardBusyInDoubt);
            }
            else if (now == Cell.ConfirmNow) Take(s, Cell.ConfirmError);
            else
            {
                Age(s, Cell.UndoNow);
                Age(s, Cell.ProbeNow);
                Take(s, Cell.UndoError);
            }
            Put(s, now);
        }
    }

    private void Age(int s, int now)
    {
        if ((_next.Steps[s] >> now & 1) == 0) return;
        Take(s, now);
        Put(s, now + 1);
    }

    // ── Participants ────────────────────────────────────────────────────────────────────────────────────────────────────

    private static readonly Handling[] NoChoice = [Handling.Ok];

    private Handling[] HandlingsOf(int s, uint cell, int command)
    {
        var row = cell & Cell.RowMask;
        var second = cell & Cell.SecondMask;
        return command switch
        {
            Cell.ForwardNow or Cell.ForwardOld => ForwardReaches(s, cell) ? _forward[MayRefuse(s, cell) ? 1 : 0] : NoChoice,
            Cell.ConfirmNow or Cell.ConfirmOld => second is Cell.NoSecond or Cell.ConfirmBegun && row == Cell.RowOk ? _second : NoChoice,
            Cell.UndoNow or Cell.UndoOld => UndoReaches(cell) ? _second : NoChoice,
            _ => row == Cell.RowStarted && second == Cell.NoSecond ? _forward[MayRefuse(s, cell) ? 1 : 0] : NoChoice,
        };
    }

    private Handling[][] _forward => field ??= [ForwardHandlings(mayRefuse: false), ForwardHandlings(mayRefuse: true)];

    private Handling[] _second => field ??= _bounds.Errors ? [Handling.Ok, Handling.FailBefore, Handling.FailAfter] : [Handling.Ok];

    // A do that took effect under this key finds it again and does not refuse; a try may, since its cancel does without the reservation. After the pivot
    // a refusal is for an operator to resolve: nothing can be said of how that ends.
    private bool MayRefuse(int s, uint cell) => !_saga.Steps[s].After.Any(IsPast) && (_saga.Steps[s].Kind == StepKind.Tcc || Cell.Effect(cell) == StepEffect.None);

    private bool IsPast(int s) => _saga.Steps[s].Pivot || _saga.Steps[s].After.Any(IsPast);

    private Handling[] ForwardHandlings(bool mayRefuse) =>
    [
        Handling.Ok, .. mayRefuse ? [Handling.Refuse] : Array.Empty<Handling>(), .. _bounds.Errors ? [Handling.FailBefore, Handling.FailAfter] : Array.Empty<Handling>(),
        .. _bounds.Busy ? [Handling.Busy] : Array.Empty<Handling>(),
    ];

    private bool ForwardReaches(int s, uint cell) => (cell & Cell.RowMask) is Cell.RowNone or Cell.RowStarted
        && ((cell & Cell.SecondMask) == Cell.NoSecond || (_mutant == ExplorerMutant.LateTryThrough && (cell & Cell.SecondMask) is Cell.Fence or Cell.Undone && _saga.Steps[s].Undoable));

    private static bool UndoReaches(uint cell) =>
        (cell & Cell.SecondMask) is Cell.NoSecond or Cell.UndoBegun && (cell & Cell.RowMask) is Cell.RowStarted or Cell.RowOk
        || ((cell & Cell.SecondMask) is Cell.NoSecond or Cell.UndoBegun && (cell & (Cell.RowMask | Cell.InDoubt)) == (Cell.RowRefused | Cell.InDoubt))
        || (cell & Cell.SecondMask) == Cell.UndoBegun;

    /// <summary>The barrier's table (Barrier.cs), and behind it a handler that is idempotent under its key.</summary>
    private void Handle(int s, int command, Handling handling)
    {
        var now = command is Cell.ForwardNow or Cell.ConfirmNow or Cell.UndoNow or Cell.ProbeNow;
        switch (command)
        {
            case Cell.ForwardNow or Cell.ForwardOld: Forward(s, now, handling); break;
            case Cell.ConfirmNow or Cell.ConfirmOld: Confirm(s, now, handling); break;
            case Cell.UndoNow or Cell.UndoOld: Undo(s, now, handling); break;
            default: Probe(s, now, handling); break;
        }
    }

    private void Forward(int s, bool now, Handling handling)
    {
        var cell = _next.Steps[s];
        if ((cell & Cell.RowMask) == Cell.RowOk) Put(s, Cell.ForwardOk);
        else if (!ForwardReaches(s, cell)) Put(s, RefusedAs(cell, now));
        else Begin(s, handling, now, Cell.ForwardOk, RefusedAs(cell, now), now ? Cell.ForwardError : -1);
    }

    // Refused while what an earlier run did is unknown, the engine is told so: else it would take nothing back.
    private int RefusedAs(uint cell, bool now) => (cell & Cell.InDoubt) != 0 && _mutant != ExplorerMutant.DoubtUntold ? Cell.ForwardRefusedInDoubt : now ? Cell.ForwardRefusedNow : Cell.ForwardRefusedOld;

    private void Begin(int s, Handling handling, bool now, int ok, int refused, int error)
    {
        var cell = _next.Steps[s];
        switch (handling)
        {
            case Handling.Ok:
                _next.Steps[s] = Cell.Row(cell, Cell.RowOk) & ~Cell.InDoubt;
                TakeEffect(s);
                Put(s, ok);
                break;
            case Handling.Refuse:
                _next.Steps[s] = Cell.Row(cell, Cell.RowRefused);
                Put(s, refused);
                break;
            case Handling.Busy:
                _next.Steps[s] = Cell.Row(cell, Cell.RowStarted);
                if (now) Put(s, (cell & Cell.InDoubt) == 0 || _mutant == ExplorerMutant.DoubtUntold ? Cell.ForwardBusy : Cell.ForwardBusyInDoubt);
                break;
            default:
                _next.Steps[s] = Cell.Row(cell, Cell.RowStarted) | Cell.InDoubt;
                if (handling == Handling.FailAfter) TakeEffect(s);
                if (error >= 0) Put(s, error);
                break;
        }
    }

    private void Confirm(int s, bool now, Handling handling)
    {
        var cell = _next.Steps[s];
        var second = cell & Cell.SecondMask;
        if (second == Cell.Confirmed) Put(s, Cell.ConfirmOk);
        else if (second is Cell.NoSecond or Cell.ConfirmBegun && (cell & Cell.RowMask) == Cell.RowOk)
        {
            _next.Steps[s] = Cell.Second(cell, handling == Handling.Ok ? Cell.Confirmed : Cell.ConfirmBegun);
            if (handling != Handling.FailBefore) TakeConfirmed(s);
            if (handling == Handling.Ok) Put(s, Cell.ConfirmOk);
            else if (now) Put(s, Cell.ConfirmError);
        }
        else
        {
            Broken ??= second is Cell.NoSecond
                ? $"P3: '{_saga.Steps[s].Name}' is asked to confirm what it was never asked to try, or did not manage."
                : $"P1: '{_saga.Steps[s].Name}' is asked to confirm what it was asked to cancel.";
            if (now) Put(s, Cell.ConfirmError);
        }
    }

    private void Undo(int s, bool now, Handling handling)
    {
        var cell = _next.Steps[s];
        var second = cell & Cell.SecondMask;
        if (UndoReaches(cell))
        {
            _next.Steps[s] = Cell.Second(cell, handling == Handling.Ok ? Cell.Undone : Cell.UndoBegun);
            if (handling != Handling.FailBefore) TakeBack(s);
            if (handling == Handling.Ok) Put(s, Cell.UndoOk);
            else if (now) Put(s, Cell.UndoError);
        }
        else if (second is Cell.ConfirmBegun or Cell.Confirmed)
        {
            Broken ??= $"P1: '{_saga.Steps[s].Name}' is asked to undo what it was asked to confirm.";
            if (now) Put(s, Cell.UndoError);
        }
        else
        {
            if (second == Cell.NoSecond && (cell & Cell.RowMask) == Cell.RowNone && _mutant != ExplorerMutant.NoEmptyCancel) _next.Steps[s] = Cell.Second(cell, Cell.Fence);
            Put(s, Cell.UndoOk);
        }
    }

    /// <summary>A compensation that lacks the do's result: the barrier answers with it, or that there is nothing to undo.</summary>
    private void Probe(int s, bool now, Handling handling)
    {
        var cell = _next.Steps[s];
        var second = cell & Cell.SecondMask;
        if (second is Cell.Undone or Cell.Fence || (cell & Cell.RowMask) == Cell.RowRefused) Put(s, Cell.UndoOk);
        else if ((cell & Cell.RowMask) == Cell.RowOk) Put(s, Cell.ForwardOk);
        else if ((cell & Cell.RowMask) == Cell.RowNone)
        {
            if (_mutant != ExplorerMutant.NoEmptyCancel) _next.Steps[s] = Cell.Second(cell, Cell.Fence);
            Put(s, Cell.UndoOk);
        }
        else if (second != Cell.NoSecond) { if (now) Put(s, Cell.UndoError); }
        else Begin(s, handling == Handling.Busy ? Handling.FailBefore : handling, now, Cell.ForwardOk, Cell.UndoOk, now ? Cell.UndoError : -1);
    }

    // ── What makes no difference ────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>
    /// Makes worlds one that nobody can tell apart: a command that its barrier answers by heart is taken for its answer (which may be as late, or lost, as well);
    /// an answer that nobody will listen to, now or after a crash, is gone; and with no attempt in flight all are of earlier attempts.
    /// </summary>
    private void Settle()
    {
        var (memory, stored) = (Decisions.State(_next.Memory), Decisions.State(_next.Stored));
        var stale = _next.Stale == 0 ? null : Decisions.State(_next.Stale);
        for (var s = 0; s < _n; s++)
        {
            var cell = _next.Steps[s];
            if (cell >> Cell.ForwardNow == 0) continue;
            var (now, kept) = (memory.Steps[s], stored.Steps[s]);
            var inFlight = now.InFlight || stale?.Steps[s].InFlight == true;
            if (!inFlight || kept.Phase != _saga.Steps[s].ForwardPhase) cell = Older(Older(cell, Cell.ForwardNow), Cell.ForwardRefusedNow);
            if (!inFlight) cell = Older(Older(Older(cell, Cell.ConfirmNow), Cell.UndoNow), Cell.ProbeNow);
            for (var bit = Cell.ForwardNow; bit < Cell.FirstReply; bit++)
                if ((cell >> bit & 1) != 0 && ByHeart(s, cell, bit) is > 0 and var reply) cell = (cell & ~(1u << bit)) | 1u << reply;

            var heard = 0u;
            if (!stored.Ended)
            {
                if (kept.Status is StepStatus.Trying or StepStatus.Doing) heard |= 1u << Cell.ForwardOk | 1u << Cell.ForwardRefusedNow | 1u << Cell.ForwardRefusedOld | 1u << Cell.ForwardRefusedInDoubt;
                if (kept is { Status: StepStatus.Cancelling or StepStatus.Compensating, Result: null }) heard |= 1u << Cell.ForwardOk;
                if (kept.Status == StepStatus.Confirming) heard |= 1u << Cell.ConfirmOk;
                if (kept.Status is StepStatus.Cancelling or StepStatus.Compensating) heard |= 1u << Cell.UndoOk;
                if (inFlight) heard |= 1u << Cell.ForwardBusy | 1u << Cell.ForwardBusyInDoubt;
                // An error says what a timeout says, and a timeout may come at any moment; but some errors are not asked again.
                if (inFlight && !_saga.Steps[s].NoRetryOn.IsEmpty) heard |= 1u << Cell.ForwardError;
            }
            _next.Steps[s] = cell & ((1u << Cell.FirstReply) - 1 | heard);
        }
    }

    private static uint Older(uint cell, int now) => (cell >> now & 1) == 0 ? cell : (cell & ~(1u << now)) | 1u << (now + 1);

    /// <summary>The reply that the barrier gives without a handler and without a note; 0: it does not.</summary>
    private int ByHeart(int s, uint cell, int command)
    {
        var row = cell & Cell.RowMask;
        var second = cell & Cell.SecondMask;
        return command switch
        {
            Cell.ForwardNow or Cell.ForwardOld when row == Cell.RowOk => Cell.ForwardOk,
            Cell.ForwardNow or Cell.ForwardOld when !ForwardReaches(s, cell) => RefusedAs(cell, command == Cell.ForwardNow),
            Cell.ConfirmNow or Cell.ConfirmOld when second == Cell.Confirmed => Cell.ConfirmOk,
            Cell.UndoNow or Cell.UndoOld when second is Cell.Undone or Cell.Fence || (second == Cell.NoSecond && (cell & (Cell.RowMask | Cell.InDoubt)) == Cell.RowRefused) => Cell.UndoOk,
            Cell.ProbeNow or Cell.ProbeOld when second is Cell.Undone or Cell.Fence || row == Cell.RowRefused => Cell.UndoOk,
            Cell.ProbeNow or Cell.ProbeOld when row == Cell.RowOk && second is not Cell.ConfirmBegun and not Cell.Confirmed => Cell.ForwardOk,
            _ => 0,
        };
    }

    // ── Twins ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// <summary>Which step stands at each place of <see cref="Next"/>, of those of the world before it.</summary>
    public int[] Order { get; }

    /// <summary>
    /// Steps that differ in nothing but their names: what can happen to one can happen to the other, and worlds in which they have changed places are one. Not with
    /// invariants of the user's own, which tell them apart.
    /// </summary>
    private ImmutableArray<ImmutableArray<int>> Twins() => _invariants.Length > 0 || _n > 12 ? [] :
    [
        .. _saga.Steps.GroupBy(step => (step.Kind, step.Pivot, step.ReadOnly, step.Undoable, Confirms: step.Confirm is not null, Undoes: step.Undo is not null,
                step.Compensation?.NeedsResult, step.Retry.Attempts, Fatal: !step.NoRetryOn.IsEmpty, Before: string.Join(',', step.After.Order()),
                After: string.Join(',', _saga.Steps.Where(other => other.After.Contains(step.Index)).Select(other => other.Index))))
            .Where(group => group.Count() > 1).Select(group => group.Select(step => step.Index).ToImmutableArray()),
    ];

    /// <summary>Puts twins into one order, by what has become of them.</summary>
    private void Arrange()
    {
        if (_twins.IsEmpty) return;
        for (var s = 0; s < _n; s++) Order[s] = s;
        var moved = false;
        foreach (var places in _twins)
            for (var i = 1; i < places.Length; i++)
                for (var j = i; j > 0 && Compare(Order[places[j - 1]], Order[places[j]]) > 0; j--)
                {
                    (Order[places[j - 1]], Order[places[j]]) = (Order[places[j]], Order[places[j - 1]]);
                    moved = true;
                }
        if (!moved) return;
        _next.Steps.CopyTo(_cells, 0);
        ulong order = 0;
        for (var s = 0; s < _n; s++)
        {
            _next.Steps[s] = _cells[Order[s]];
            order = order << 4 | (uint)Order[s];
        }
        if (!_arranged.TryGetValue(order, out var known)) _arranged.Add(order, known = []);
        (_next.Memory, _next.Stored) = (Arranged(known, _next.Memory), Arranged(known, _next.Stored));
        if (_next.Stale != 0) _next.Stale = Arranged(known, _next.Stale);
    }

    private int Compare(int one, int other)
    {
        if (_next.Steps[one].CompareTo(_next.Steps[other]) is not 0 and var cell) return cell;
        if (Compare(_next.Memory) is not 0 and var memory) return memory;
        if (_next.Memory != _next.Stored && Compare(_next.Stored) is not 0 and var stored) return stored;
        return _next.Stale == 0 ? 0 : Compare(_next.Stale);

        int Compare(int state) => Decisions.Mark(state, one).CompareTo(Decisions.Mark(state, other));
    }

    private int Arranged(List<int> known, int state)
    {
        while (known.Count <= state) known.Add(0);
        if (known[state] == 0)
        {
            var before = Decisions.State(state);
            known[state] = Decisions.Number(before with { Steps = [.. Order.Select(place => before.Steps[place])] });
        }
        return known[state];
    }

    // ── What really happens, and the promises about it ──────────────────────────────────────────────────────────────────

    private StepEffect EffectOf(int s) => Cell.Effect(_next.Steps[s]);

    private void TakeEffect(int s)
    {
        var step = _saga.Steps[s];
        switch (EffectOf(s))
        {
            case StepEffect.None:
                // What changes nothing, or cannot be called back, may arrive when the saga has turned back already.
                foreach (var before in step.Undoable || step.Pivot ? step.After : [])
                    if (!_saga.Steps[before].ReadOnly && EffectOf(before) is not (StepEffect.Held or StepEffect.Confirmed))
                        Broken ??= $"P5: '{step.Name}' takes effect, but '{_saga.Steps[before].Name}' before it has none.";
                _next.Steps[s] = Cell.With(_next.Steps[s], StepEffect.Held);
                if ((_next.Steps[s] & Cell.SecondMask) is Cell.Fence or Cell.Undone) Broken ??= $"P9: a try of '{step.Name}' takes effect after its cancel.";
                break;
            case StepEffect.Undone:
                Broken ??= $"P9: '{step.Name}' takes effect again after it was undone.";
                break;
        }
    }

    private void TakeConfirmed(int s)
    {
        if (EffectOf(s) is not (StepEffect.Held or StepEffect.Confirmed)) Broken ??= $"P1: '{_saga.Steps[s].Name}' is confirmed, but it holds nothing.";
        _next.Steps[s] = Cell.With(_next.Steps[s], StepEffect.Confirmed);
        for (var other = 0; other < _n; other++)
        {
            var step = _saga.Steps[other];
            if (step.Kind == StepKind.Tcc && EffectOf(other) is StepEffect.None or StepEffect.Undone)
                Broken ??= $"P3: '{_saga.Steps[s].Name}' is confirmed, but '{step.Name}' is {(EffectOf(other) == StepEffect.None ? "not tried" : "undone")}.";
            if (step.Pivot && EffectOf(other) == StepEffect.None) Broken ??= $"P3: '{_saga.Steps[s].Name}' is confirmed, but the pivot '{step.Name}' is not done.";
        }
    }

    private void TakeBack(int s)
    {
        if (EffectOf(s) == StepEffect.Confirmed) Broken ??= $"P1: '{_saga.Steps[s].Name}' is undone after it was confirmed.";
        if (EffectOf(s) != StepEffect.Held) return;
        foreach (var after in _saga.Undoers[s])
            if (EffectOf(after) == StepEffect.Held && _saga.Steps[after].Undo is not null)
                Broken ??= $"P4: '{_saga.Steps[s].Name}' is undone before '{_saga.Steps[after].Name}', which came after it.";
        _next.Steps[s] = Cell.With(_next.Steps[s], StepEffect.Undone);
    }

    /// <summary>What the effects break, now or because the saga has ended. Remembered: there are few.</summary>
    private string? BrokenEffects()
    {
        var course = Decisions.State(_next.Stored).Course;
        if (course is SagaStatus.Running && _invariants.IsEmpty) return null;
        ulong key = (ulong)course;
        if (_n <= 28)
        {
            for (var s = 0; s < _n; s++) key = key << 2 | (ulong)EffectOf(s);
            if (_effects.TryGetValue(key, out var known)) return known;
        }
        var broken = FindBroken(course);
        if (_n <= 28) _effects[key] = broken;
        return broken;
    }

    private string? FindBroken(SagaStatus course)
    {
        foreach (var step in _saga.Steps)
        {
            var effect = EffectOf(step.Index);
            if (course == SagaStatus.Completed && !step.ReadOnly && effect != (step is { Kind: StepKind.Tcc, Confirm: not null } ? StepEffect.Confirmed : StepEffect.Held))
                return $"P2: the saga is Completed, but '{step.Name}' is {effect}.";
            if (course == SagaStatus.Compensated && effect is StepEffect.Held or StepEffect.Confirmed && (step.Undo is not null || step.Pivot))
                return $"P2: the saga is Compensated, but '{step.Name}' is {effect}.";
        }
        var steps = _next.Steps;
        foreach (var invariant in _invariants)
            if (!invariant.Holds(name => Cell.Effect(steps[(_saga.Find(name) ?? throw new ArgumentException($"Saga '{_saga.Name}' has no step '{name}'.")).Index])))
                return invariant.Name;
        return null;
    }
}

/// <summary>Ways to break the world around the Decider, for the explorer's own tests: each must be found.</summary>
internal enum ExplorerMutant
{
    None,
    /// <summary>Commands leave before the commit that names them.</summary>
    DispatchBeforeCommit,
    /// <summary>After a crash nothing is asked again.</summary>
    ForgetInFlight,
    /// <summary>A node's commit is taken whatever version the store has.</summary>
    NoVersionCheck,
    /// <summary>A cancel that came before its try leaves no mark.</summary>
    NoEmptyCancel,
    /// <summary>A try that comes after its cancel reaches the handler.</summary>
    LateTryThrough,
    /// <summary>A participant does not say that a refusal is in doubt, as those in other languages may not: safe as long as nothing is delivered twice.</summary>
    DoubtUntold,
}

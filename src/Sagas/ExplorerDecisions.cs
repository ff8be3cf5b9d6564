using System.Collections.Immutable;
using System.Text;

namespace Sagas;

/// <summary>What comes of an event: the state after it, whether that is committed at once, and what is sent then.</summary>
internal sealed record Consequence(int Next, bool Urgent, ImmutableArray<(int Step, Phase Phase, bool Probe)> Sends);

/// <summary>
/// The decisions of the engine that is explored. States and events are numbers here, and since the same event in the same state always comes to the same, the
/// engine is asked only once.
/// </summary>
internal sealed class ExplorerDecisions(SagaDefinition saga, Func<SagaDefinition, SagaState, SagaEvent, DateTimeOffset, Decision> decide)
{
    // The events of a step: its replies, as in its cell, then its timers. After those of all steps come the saga's.
    private const int AttemptTimedOut = Cell.Ends - Cell.FirstReply, RetryDue = AttemptTimedOut + 1, PerStep = RetryDue + 1, OfSaga = 5;
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch;
    private readonly int _n = saga.Steps.Length;
    private readonly List<SagaState> _states = [null!];
    private readonly Dictionary<string, int> _numbers = [];
    private readonly List<Consequence?[]> _consequences = [null!];
    private readonly List<string?> _broken = [null];
    // A mark for each step of each state: equal marks, equal steps.
    private readonly List<int[]> _marks = [[]];

    /// <summary>The result of every step: data has no say in what the engine does.</summary>
    public static readonly Payload One = new("1"u8.ToArray());

    public int TimedOut => _n * PerStep;
    public int Cancel => TimedOut + 1;
    public int Recovered => TimedOut + 2;
    public int Pause => TimedOut + 3;
    public int Resume => TimedOut + 4;

    /// <summary>A step hears one of the replies of its cell.</summary>
    public static int Hears(int s, int reply) => s * PerStep + (reply - Cell.FirstReply);

    /// <summary>A step's timer: of the attempt in flight, or until the next one.</summary>
    public static int Timer(int s, bool inFlight) => s * PerStep + (inFlight ? AttemptTimedOut : RetryDue);

    /// <summary>The same event, for the step that stands in the place of its own.</summary>
    public int Moved(int what, int[] order) => what < TimedOut ? order[what / PerStep] * PerStep + what % PerStep : what;

    public SagaState State(int number) => _states[number];

    /// <summary>Two steps with the same mark are in the same state.</summary>
    public int Mark(int number, int s) => _marks[number][s];

    /// <summary>The promise that a state breaks; null: none.</summary>
    public string? Broken(int number) => _broken[number];

    /// <summary>The saga's start.</summary>
    public Consequence Start()
    {
        var decision = Decider.Start(saga, new SagaState { Id = new SagaId("explored"), Definition = "", DefinitionVersion = 0, Input = Payload.Null }, Now);
        return new Consequence(Number(decision.State), true, Sends(decision));
    }

    /// <summary>What the engine does when that happens in that state.</summary>
    public Consequence Of(int state, int what)
    {
        var known = _consequences[state];
        if (known[what] is { } one) return one;
        var before = _states[state];
        if (EventFor(before, what) is not { } happened) return known[what] = new Consequence(state, false, []);
        var decision = decide(saga, before, happened, Now);
        if (ReferenceEquals(decision.State, before)) return known[what] = new Consequence(state, false, []);
        return known[what] = new Consequence(Number(decision.State), decision.IsUrgent(before, happened), Sends(decision));
    }

    private ImmutableArray<(int, Phase, bool)> Sends(Decision decision) =>
        [.. decision.Effects.OfType<Effect.Send>().Select(send => (saga.Find(send.Step)!.Index, send.Phase, send.Phase == Phase.Compensate && send.Payload.IsNull))];

    /// <summary>The event, or null when it can mean nothing to this state.</summary>
    public SagaEvent? EventFor(SagaState state, int what)
    {
        if (what == TimedOut) return new SagaEvent.SagaTimedOut();
        if (what == Cancel) return new SagaEvent.CancelRequested("explored", "operator");
        if (what == Recovered) return new SagaEvent.Recovered();
        if (what == Pause) return new SagaEvent.PauseRequested("explored", "operator");
        if (what == Resume) return new SagaEvent.ResumeRequested("explored", "operator");
        var step = saga.Steps[what / PerStep];
        var now = state.Steps[step.Index];
        var attempt = Math.Max(now.Attempt, 1);
        SagaEvent.Replied Reply(Phase phase, Outcome outcome, int at) => new SagaEvent.Replied(step.Name, phase, at, outcome, outcome == Outcome.Ok && phase == step.ForwardPhase ? One : null, "explored", "explored");
        return (what % PerStep + Cell.FirstReply) switch
        {
            Cell.ForwardOk => Reply(step.ForwardPhase, Outcome.Ok, attempt),
            Cell.ForwardRefusedNow => Reply(step.ForwardPhase, Outcome.Refused, attempt),
            Cell.ForwardRefusedOld => Reply(step.ForwardPhase, Outcome.Refused, attempt - 1),
            Cell.ForwardError => step.NoRetryOn.IsEmpty ? null : Reply(step.ForwardPhase, Outcome.Error, attempt) with { Code = step.NoRetryOn[0] },
            Cell.ForwardBusy => Reply(step.ForwardPhase, Outcome.Busy, attempt),
            Cell.ForwardRefusedInDoubt => Reply(step.ForwardPhase, Outcome.Refused, attempt) with { InDoubt = true },
            Cell.ForwardBusyInDoubt => Reply(step.ForwardPhase, Outcome.Busy, attempt) with { InDoubt = true },
            Cell.ConfirmOk => Reply(Phase.Confirm, Outcome.Ok, attempt),
            Cell.ConfirmError => Reply(Phase.Confirm, Outcome.Error, attempt),
            Cell.UndoOk => Reply(step.UndoPhase, Outcome.Ok, attempt),
            Cell.UndoError => Reply(step.UndoPhase, Outcome.Error, attempt),
            Cell.FirstReply + AttemptTimedOut => now.Phase is { } phase ? new SagaEvent.AttemptTimedOut(step.Name, phase, attempt) : null,
            _ => now.Phase is { } phase ? new SagaEvent.RetryDue(step.Name, phase, attempt) : null,
        };
    }

    /// <summary>The number of a state, apart from times, attempt numbers and texts, which change nothing.</summary>
    public int Number(SagaState state)
    {
        var key = new StringBuilder(_n * 3 + 3);
        key.Append((char)('A' + (int)state.Course)).Append((char)('0' + (state.Paused ? 1 : 0) + (state.Mixed ? 2 : 0) + (state.Deadline is null ? 0 : 4) + (state.CommittedAt is null ? 0 : 8)));
        var steps = ImmutableArray.CreateBuilder<StepState>(_n);
        var marks = new int[_n];
        for (var s = 0; s < _n; s++)
        {
            var step = state.Steps[s];
            var plain = new StepState
            {
                Status = step.Status, Attempt = Math.Min(step.Attempt, 1), Failures = Math.Min(step.Failures, Math.Max(saga.StuckAfter, saga.Steps[s].Retry.Attempts)),
                InFlight = step.InFlight, Due = step.Due is null ? null : Now, Unknown = step.Unknown, Stuck = step.Stuck,
                Command = step.Command is null ? null : One, Result = step.Result is null ? null : One,
            };
            steps.Add(plain);
            marks[s] = plain.Attempt | (plain.InFlight ? 2 : 0) | (plain.Due is null ? 0 : 4) | (plain.Unknown ? 8 : 0) | (plain.Stuck ? 16 : 0) | (plain.Command is null ? 0 : 32)
                | (plain.Result is null ? 0 : 64) | (int)plain.Status << 7 | plain.Failures << 11;
            key.Append((char)(marks[s] & 0x7FF)).Append((char)('0' + plain.Failures));
        }
        var text = key.ToString();
        if (_numbers.TryGetValue(text, out var number)) return number;
        number = _states.Count;
        _numbers.Add(text, number);
        var kept = new SagaState
        {
            Id = state.Id, Definition = state.Definition, DefinitionVersion = state.DefinitionVersion, Input = Payload.Null, Course = state.Course, Paused = state.Paused,
            Mixed = state.Mixed, Steps = steps.MoveToImmutable(), Deadline = state.Deadline is null ? null : Now, CommittedAt = state.CommittedAt is null ? null : Now,
        };
        _states.Add(kept);
        _marks.Add(marks);
        _consequences.Add(new Consequence?[_n * PerStep + OfSaga]);
        _broken.Add(Invariants.Check(saga, kept) is { Count: > 0 } broken ? broken[0] : Stirs(kept) is { } stir ? $"P10: the saga has ended as {kept.Course}, and {stir.GetType().Name} changes it." : null);
        return number;
    }

    /// <summary>What an ended saga does not let pass; null: nothing, as it should be.</summary>
    private SagaEvent? Stirs(SagaState state)
    {
        if (!state.Ended) return null;
        for (var what = 0; what < _n * PerStep + OfSaga; what++)
            if (EventFor(state, what) is { } happened && !ReferenceEquals(decide(saga, state, happened, Now).State, state)) return happened;
        return null;
    }
}

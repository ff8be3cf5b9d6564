namespace Sagas;

/// <summary>What a step's fluent calls fill in; <see cref="SagaDefinition"/> checks and freezes it.</summary>
internal sealed class StepDraft(FlowGraph graph, StepKind kind, Type command, Type result, int[] after)
{
    public FlowGraph Graph { get; } = graph;
    public int Index { get; } = graph.Steps.Count;
    public StepKind Kind { get; } = kind;
    public Type Command { get; } = command;
    public Type Result { get; } = result;
    public int[] After { get; } = after;

    /// <summary>All the steps it comes after, directly or not.</summary>
    public HashSet<int> Before { get; } = [.. after, .. after.SelectMany(i => graph.Steps[i].Before)];

    public Func<SagaData, Payload> Map { get; set; } = null!;
    public string? Misplaced { get; init; }
    public string Name { get; set; } = CommandName.Of(command);
    public bool IsNamed { get; set; }
    public string? Participant { get; set; } = CommandName.Attribute(command)?.Participant;
    public bool ReadOnly { get; set; }
    public bool Pivot { get; set; }
    public Type? CompensateCommand { get; set; }
    public Compensation? Compensate { get; set; }
    public Retry Retry { get; set; } = Retry.Default;
    public TimeSpan Timeout { get; set; } = StepDefinition.DefaultTimeout;
    public List<string> NoRetryOn { get; } = [];

    /// <summary>Which of Compensate, ReadOnly and Pivot were said; each takes the others' place in the types, but a handle kept aside can say two.</summary>
    public List<string> Said { get; } = [];

    /// <summary>The JSON of what a mapping made. The types cannot hold a command to its own type: <c>record A : ICommand&lt;B, R&gt;</c> compiles.</summary>
    public Payload Made(Type command, object? made)
    {
        if (made is null) throw new InvalidOperationException($"The mapping of step '{Name}' makes no command.");
        if (!command.IsInstanceOfType(made))
            throw new MappingFaultException($"step '{Name}' sends {made.GetType().Name} under the name of {command.Name}. A command names itself: write {made.GetType().Name} where its interface says {command.Name}.");
        return Payload.From(made);
    }
}

/// <summary>A mapping that can never work, as opposed to one that throws on some data.</summary>
internal sealed class MappingFaultException(string message) : InvalidOperationException(message);

/// <summary>A step of a saga, as a handle: a later step reads its result by <see cref="Context{TInput}.Get{TResult}"/>.</summary>
/// <typeparam name="TResult">The step's result.</typeparam>
public abstract class Step<TResult>
{
    private protected Step(StepDraft draft) => Draft = draft;

    internal StepDraft Draft { get; }
}

/// <summary>The settings that every kind of step has; each returns the step itself.</summary>
public abstract class Step<TSelf, TResult> : Step<TResult> where TSelf : Step<TSelf, TResult>
{
    private protected Step(StepDraft draft) : base(draft) { }

    /// <summary>The step's name in ids, history and dashboard: 1 to 64 of <c>A-Z a-z 0-9 _ -</c>. Default: the command's wire name.</summary>
    public TSelf Named(string name)
    {
        Draft.Name = name;
        Draft.IsNamed = true;
        return (TSelf)this;
    }

    /// <summary>How often and how fast an unknown outcome is asked again.</summary>
    /// <param name="attempts">All tries, the first included; bounds Try and Do. Default 5. Confirm, Cancel and Compensate are never given up.</param>
    /// <param name="first">The first delay; doubled each time, plus up to 20% jitter. Default 0.2 s.</param>
    /// <param name="max">The longest delay. Default 30 s.</param>
    public TSelf Retry(int attempts, TimeSpan? first = null, TimeSpan? max = null)
    {
        Draft.Retry = new Retry(attempts, first ?? Sagas.Retry.Default.First, max ?? Sagas.Retry.Default.Max, Sagas.Retry.Default.Factor);
        return (TSelf)this;
    }

    /// <summary>How long one attempt may take before its outcome counts as unknown. Default 10 s.</summary>
    public TSelf Timeout(TimeSpan perAttempt)
    {
        Draft.Timeout = perAttempt;
        return (TSelf)this;
    }

    /// <summary>An error of exactly this exception type is not asked again: the step fails at once, and what it may have done is undone.</summary>
    public TSelf NoRetryOn<TException>() where TException : Exception
    {
        Draft.NoRetryOn.Add(typeof(TException).Name);
        return (TSelf)this;
    }

    /// <summary>The participant that carries out the step. Default: the one that registered a handler for the command.</summary>
    public TSelf To(string participant)
    {
        Draft.Participant = participant;
        return (TSelf)this;
    }
}

/// <summary>A TCC step: tried, then confirmed or cancelled.</summary>
public sealed class TccStep<TReservation> : Step<TccStep<TReservation>, TReservation>
{
    internal TccStep(StepDraft draft) : base(draft) { }
}

/// <summary>A plain step that has not said yet how it is undone.</summary>
public sealed class PlainStep<TInput, TResult> : Step<PlainStep<TInput, TResult>, TResult>
{
    internal PlainStep(StepDraft draft) : base(draft) { }

    /// <summary>Undone by a command made from the step's own result. When the result never arrived, the participant is asked for it first.</summary>
    public UndoableStep<TResult> Compensate<TUndo, TUndone>(Func<Context<TInput>, TResult, ICommand<TUndo, TUndone>> undo)
        where TUndo : ICommand<TUndo, TUndone>
    {
        ArgumentNullException.ThrowIfNull(undo);
        return Undo(typeof(TUndo), new Compensation(NeedsResult: true,
            (data, result) => Draft.Made(typeof(TUndo), undo(new(data, Draft.Graph, Draft), result!.Read<TResult>()!))));
    }

    /// <summary>Undone by a command that does not need the step's result.</summary>
    public UndoableStep<TResult> Compensate<TUndo, TUndone>(Func<Context<TInput>, ICommand<TUndo, TUndone>> undo)
        where TUndo : ICommand<TUndo, TUndone>
    {
        ArgumentNullException.ThrowIfNull(undo);
        return Undo(typeof(TUndo), new Compensation(NeedsResult: false, (data, _) => Draft.Made(typeof(TUndo), undo(new(data, Draft.Graph, Draft)))));
    }

    /// <summary>It changes nothing, so there is nothing to undo.</summary>
    public ReadOnlyStep<TResult> ReadOnly()
    {
        Draft.ReadOnly = true;
        Draft.Said.Add(".ReadOnly()");
        return new ReadOnlyStep<TResult>(Draft);
    }

    /// <summary>The point of no return: before it a failure undoes, after it the saga only goes forward. At most one.</summary>
    public PivotStep<TResult> Pivot()
    {
        Draft.Pivot = true;
        Draft.Said.Add(".Pivot()");
        return new PivotStep<TResult>(Draft);
    }

    private UndoableStep<TResult> Undo(Type command, Compensation compensate)
    {
        Draft.CompensateCommand = command;
        Draft.Compensate = compensate;
        Draft.Said.Add(".Compensate(...)");
        return new UndoableStep<TResult>(Draft);
    }
}

/// <summary>A plain step with its compensation.</summary>
public sealed class UndoableStep<TResult> : Step<UndoableStep<TResult>, TResult>
{
    internal UndoableStep(StepDraft draft) : base(draft) { }
}

/// <summary>A plain step that changes nothing.</summary>
public sealed class ReadOnlyStep<TResult> : Step<ReadOnlyStep<TResult>, TResult>
{
    internal ReadOnlyStep(StepDraft draft) : base(draft) { }
}

/// <summary>The point of no return.</summary>
public sealed class PivotStep<TResult> : Step<PivotStep<TResult>, TResult>
{
    internal PivotStep(StepDraft draft) : base(draft) { }
}

/// <summary>Times that read as words: <c>5.Seconds()</c>.</summary>
public static class Times
{
    /// <summary>So many milliseconds.</summary>
    public static TimeSpan Milliseconds(this int count) => TimeSpan.FromMilliseconds(count);

    /// <summary>So many seconds.</summary>
    public static TimeSpan Seconds(this int count) => TimeSpan.FromSeconds(count);

    /// <summary>So many minutes.</summary>
    public static TimeSpan Minutes(this int count) => TimeSpan.FromMinutes(count);

    /// <summary>So many hours.</summary>
    public static TimeSpan Hours(this int count) => TimeSpan.FromHours(count);

    /// <summary>So many days.</summary>
    public static TimeSpan Days(this int count) => TimeSpan.FromDays(count);
}

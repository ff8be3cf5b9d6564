using System.Collections.Immutable;

namespace Sagas;

/// <summary>What a step is. <see cref="Tcc"/> and <see cref="Do"/> call a participant; the others are the engine's own.</summary>
public enum StepKind
{
    /// <summary>Tried, then confirmed or cancelled.</summary>
    Tcc,
    /// <summary>Done at once, perhaps compensated.</summary>
    Do,
    /// <summary>A read-only "could you?" before anything is reserved.</summary>
    Check,
    /// <summary>Waits for a time.</summary>
    Delay,
    /// <summary>Waits for a signal.</summary>
    Wait,
    /// <summary>Runs another saga as a nested transaction.</summary>
    Child,
    /// <summary>Runs one branch an item.</summary>
    ForEach,
}

/// <summary>What a command asks of a participant.</summary>
public enum Phase
{
    /// <summary>Reserve.</summary>
    Try,
    /// <summary>Keep what was reserved.</summary>
    Confirm,
    /// <summary>Give back what was reserved.</summary>
    Cancel,
    /// <summary>Do at once.</summary>
    Do,
    /// <summary>Undo what was done.</summary>
    Compensate,
    /// <summary>Answer whether it could be done; changes nothing.</summary>
    Check,
}

/// <summary>Where one phase of a step is sent.</summary>
public abstract record Endpoint;

/// <summary>A command on the bus queue of a participant.</summary>
/// <param name="Participant">The participant's name; its queue is <c>sagas.{participant}</c>.</param>
/// <param name="Command">The command's wire name.</param>
public sealed record BusEndpoint(string Participant, string Command) : Endpoint;

/// <summary>A URL that takes the command by POST.</summary>
/// <param name="Url">An absolute http or https URL.</param>
public sealed record HttpEndpoint(Uri Url) : Endpoint;

/// <summary>How often and how fast an unknown outcome is asked again: exponential, capped, with up to 20% jitter.</summary>
/// <param name="Attempts">All tries, the first included; bounds Try, Do and Check.</param>
/// <param name="First">The first delay.</param>
/// <param name="Max">The longest delay, before jitter.</param>
/// <param name="Factor">By what each delay grows.</param>
public sealed record Retry(int Attempts, TimeSpan First, TimeSpan Max, double Factor)
{
    /// <summary>5 attempts, 0.2 s, doubled, at most 30 s.</summary>
    public static Retry Default { get; } = new(5, TimeSpan.FromSeconds(0.2), TimeSpan.FromSeconds(30), 2);

    /// <summary>The delay after the <paramref name="failures"/>th failure (from 1). Jitter comes from <paramref name="seed"/>, so the same question has the same answer.</summary>
    public TimeSpan Delay(int failures, uint seed)
    {
        var ms = First.TotalMilliseconds * Math.Pow(Factor, Math.Min(failures - 1, 1000));
        ms = Math.Min(ms, Max.TotalMilliseconds);
        return TimeSpan.FromMilliseconds(ms * (1 + 0.2 * (seed % 1024) / 1024));
    }
}

/// <summary>How a plain step's compensating command is made.</summary>
/// <param name="NeedsResult">Whether the step's result must be known; when it is not, the participant is asked for it first.</param>
/// <param name="Map">From the saga's data and the step's result (null when unknown) to the command.</param>
public sealed record Compensation(bool NeedsResult, Func<SagaData, Payload?, Payload> Map);

/// <summary>What mappings read: the saga's input and the results of its steps.</summary>
/// <param name="State">The saga.</param>
public readonly record struct SagaData(SagaState State)
{
    /// <summary>The saga's id.</summary>
    public SagaId Id => State.Id;

    /// <summary>The saga's input.</summary>
    public Payload Input => State.Input;

    /// <summary>The result of the step at this index, or null when it has none.</summary>
    public Payload? ResultOf(int step) => State.Steps[step].Result;
}

/// <summary>One step of a definition.</summary>
public sealed record StepDefinition
{
    /// <summary>The default time for one attempt: 10 s.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(10);

    /// <summary>The default time in which a participant that answered 202 posts the outcome: 10 minutes.</summary>
    public static readonly TimeSpan DefaultCallbackWithin = TimeSpan.FromMinutes(10);

    /// <summary>The step's place in <see cref="SagaDefinition.Steps"/>.</summary>
    public required int Index { get; init; }

    /// <summary>Unique in its definition.</summary>
    public required string Name { get; init; }

    /// <summary>What the step is.</summary>
    public required StepKind Kind { get; init; }

    /// <summary>The steps it comes directly after.</summary>
    public ImmutableArray<int> After { get; init; } = [];

    /// <summary>Where Try, Do or Check goes.</summary>
    public required Endpoint Forward { get; init; }

    /// <summary>Where Confirm goes; null when there is nothing to call.</summary>
    public Endpoint? Confirm { get; init; }

    /// <summary>Where Cancel or Compensate goes; null when there is nothing to call.</summary>
    public Endpoint? Undo { get; init; }

    /// <summary>Maps the saga's data to the command.</summary>
    public required Func<SagaData, Payload> Map { get; init; }

    /// <summary>Makes the compensating command; null: it is <c>{"command":…,"result":…}</c>, as for Confirm and Cancel.</summary>
    public Compensation? Compensation { get; init; }

    /// <summary>Whether it is the point of no return.</summary>
    public bool Pivot { get; init; }

    /// <summary>Whether it changes nothing.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>The retry policy.</summary>
    public Retry Retry { get; init; } = Retry.Default;

    /// <summary>How long one attempt may take.</summary>
    public TimeSpan Timeout { get; init; } = DefaultTimeout;

    /// <summary>Error codes that are not asked again.</summary>
    public ImmutableArray<string> NoRetryOn { get; init; } = [];

    /// <summary>Headers sent to HTTP participants, the saga's and the step's own, sorted by name; where both name one, the step's.</summary>
    public ImmutableArray<KeyValuePair<string, string>> Headers { get; init; } = [];

    /// <summary>Further HTTP statuses that mean refused on Try, Do and Check.</summary>
    public ImmutableArray<int> RefuseOn { get; init; } = [];

    /// <summary>Within what time a participant that answered 202 posts the outcome.</summary>
    public TimeSpan CallbackWithin { get; init; } = DefaultCallbackWithin;

    /// <summary>The command's .NET type; null for definitions in JSON.</summary>
    public Type? CommandType { get; init; }

    /// <summary>Whether a saga that turns back must undo it.</summary>
    public bool Undoable => Kind == StepKind.Tcc || Undo is not null;

    /// <summary>The phase that goes forward.</summary>
    public Phase ForwardPhase => Kind switch { StepKind.Tcc => Phase.Try, StepKind.Check => Phase.Check, _ => Phase.Do };

    /// <summary>The phase that undoes.</summary>
    public Phase UndoPhase => Kind == StepKind.Tcc ? Phase.Cancel : Phase.Compensate;

    /// <summary>Where a phase goes; null when there is nothing to call.</summary>
    public Endpoint? EndpointOf(Phase phase) => phase switch
    {
        Phase.Confirm => Confirm,
        Phase.Cancel or Phase.Compensate => Undo,
        _ => Forward,
    };
}

/// <summary>An immutable graph of steps, from C# or from JSON. Built by <see cref="Of(Saga, IEnumerable{CommandRoute})"/>, which reports every fault at once.</summary>
public sealed class SagaDefinition
{
    private readonly Dictionary<string, int> _byName;

    internal SagaDefinition(string name, int version, ImmutableArray<StepDefinition> steps, TimeSpan? timeout, Func<SagaData, Payload>? result,
        Type? inputType = null, Type? resultType = null, Payload? json = null)
    {
        Json = json;
        (Name, Version, Steps, Timeout, Result, InputType, ResultType) = (name, version, steps, timeout, result, inputType, resultType);
        _byName = steps.ToDictionary(s => s.Name, s => s.Index, StringComparer.Ordinal);
        Pivot = steps.FirstOrDefault(s => s.Pivot)?.Index;
        Undoers = Graphs.UndoableFollowers(steps);
        Fingerprint = DefinitionJson.Fingerprint(this);
    }

    /// <summary>The definition's name.</summary>
    public string Name { get; }

    /// <summary>The definition as it was given in JSON; null for one in C#.</summary>
    public Payload? Json { get; }

    /// <summary>The definition's version, from 1.</summary>
    public int Version { get; }

    /// <summary>The steps, each after all it depends on.</summary>
    public ImmutableArray<StepDefinition> Steps { get; }

    /// <summary>How long a saga may take to its commit point; null: no limit.</summary>
    public TimeSpan? Timeout { get; }

    /// <summary>Maps the finished saga's data to its result; null: the result is null.</summary>
    public Func<SagaData, Payload>? Result { get; }

    /// <summary>The input's .NET type; null for definitions in JSON.</summary>
    public Type? InputType { get; }

    /// <summary>The result's .NET type; null for definitions in JSON.</summary>
    public Type? ResultType { get; }

    /// <summary>The index of the point of no return; null when there is none.</summary>
    public int? Pivot { get; }

    /// <summary>A hash of the graph (64 hex digits): two definitions with the same fingerprint drive participants alike.</summary>
    public string Fingerprint { get; }

    /// <summary>After how many failed attempts a phase that is never given up shows as stuck. Default 10.</summary>
    public int StuckAfter { get; internal set; } = 10;

    /// <summary>Where it comes from. Default: C#, or whoever parsed its JSON.</summary>
    public DefinitionSource Source { get; internal set; }

    /// <summary>Whether its HTTP participants may be on this machine only.</summary>
    internal bool LoopbackOnly { get; set; }

    /// <summary>For each step, the undoable steps that come after it, directly or not: all must be undone before it is.</summary>
    internal ImmutableArray<ImmutableArray<int>> Undoers { get; }

    /// <summary>The step of that name, or null.</summary>
    public StepDefinition? Find(string step) => _byName.TryGetValue(step, out var index) ? Steps[index] : null;

    /// <summary>Builds the definition that <paramref name="saga"/> draws.</summary>
    /// <param name="saga">The definition in C#.</param>
    /// <param name="routes">Who carries out which command, for steps without <c>.To</c>.</param>
    /// <exception cref="DefinitionException">All the definition's faults.</exception>
    public static SagaDefinition Of(Saga saga, IEnumerable<CommandRoute> routes)
    {
        ArgumentNullException.ThrowIfNull(saga);
        return DefinitionDrawing.Build(saga, [.. routes]);
    }

    /// <summary>Builds the definition that <paramref name="saga"/> draws, to look at and to explore: steps without <c>.To</c> go to nobody in particular.</summary>
    /// <param name="saga">The definition in C#.</param>
    /// <exception cref="DefinitionException">All the definition's faults.</exception>
    public static SagaDefinition Of(Saga saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        return DefinitionDrawing.Build(saga, null);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} v{Version}";
}

/// <summary>Where a definition comes from.</summary>
public enum DefinitionSource
{
    /// <summary>Written in C#; not kept in the store.</summary>
    Code,
    /// <summary>A file named in <c>Sagas:Definitions</c>.</summary>
    File,
    /// <summary>Put over REST.</summary>
    Rest,
}

/// <summary>The words for <see cref="DefinitionSource"/>.</summary>
public static class DefinitionSources
{
    /// <summary><c>code</c>, <c>file</c> or <c>rest</c>.</summary>
    public static string Word(this DefinitionSource source) => source switch
    {
        DefinitionSource.Code => "code",
        DefinitionSource.File => "file",
        _ => "rest",
    };

    /// <summary>The source with that word; null: none.</summary>
    public static DefinitionSource? Of(string word) => word switch
    {
        "code" => DefinitionSource.Code,
        "file" => DefinitionSource.File,
        "rest" => DefinitionSource.Rest,
        _ => null,
    };
}

/// <summary>A definition that is wrong, with all its faults.</summary>
public sealed class DefinitionException(IReadOnlyList<string> faults)
    : Exception(faults.Count == 1 ? faults[0] : $"{faults.Count} faults in saga definitions:{string.Concat(faults.Select(f => "\n  - " + f))}")
{
    /// <summary>Every fault, each a sentence that says what to do.</summary>
    public IReadOnlyList<string> Faults { get; } = faults;
}

using System.Collections.Immutable;

namespace Sagas;

/// <summary>A saga's id: 1 to 128 of <c>A-Z a-z 0-9 . _ : -</c>, the first a letter or digit. Unique over all definitions.</summary>
public readonly record struct SagaId(string Value) : IComparable<SagaId>
{
    /// <summary>Checks a client's text.</summary>
    public static bool TryParse(string? text, out SagaId id)
    {
        id = new SagaId(text ?? "");
        if (text is null || text.Length is 0 or > 128 || !char.IsAsciiLetterOrDigit(text[0])) return false;
        foreach (var c in text)
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or ':' or '-')) return false;
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(SagaId other) => string.CompareOrdinal(Value, other.Value);

    /// <inheritdoc/>
    public override string ToString() => Value;
}

/// <summary>A saga's status as shown. <see cref="Stuck"/> stands over <see cref="Running"/>, <see cref="Confirming"/> or <see cref="Compensating"/> while a step needs an operator.</summary>
public enum SagaStatus
{
    /// <summary>Before the commit point.</summary>
    Running,
    /// <summary>Past the commit point: confirms and forward steps run.</summary>
    Confirming,
    /// <summary>Turned back: cancels and compensations run.</summary>
    Compensating,
    /// <summary>A step that is never given up keeps failing; it is still retried.</summary>
    Stuck,
    /// <summary>Ended completely done.</summary>
    Completed,
    /// <summary>Ended completely undone.</summary>
    Compensated,
    /// <summary>Ended by an operator.</summary>
    Terminated,
}

/// <summary>A step's status.</summary>
public enum StepStatus
{
    /// <summary>Not started.</summary>
    Pending,
    /// <summary>Its Try is out, or waits to be asked again.</summary>
    Trying,
    /// <summary>Reserved; held until the outcome of the saga.</summary>
    Tried,
    /// <summary>Its Confirm is out, or waits to be asked again.</summary>
    Confirming,
    /// <summary>Kept.</summary>
    Confirmed,
    /// <summary>Its Cancel is out, or waits to be asked again.</summary>
    Cancelling,
    /// <summary>Given back.</summary>
    Cancelled,
    /// <summary>Its Do is out, or waits to be asked again.</summary>
    Doing,
    /// <summary>Done.</summary>
    Done,
    /// <summary>Its compensation is out, or waits to be asked again.</summary>
    Compensating,
    /// <summary>Undone.</summary>
    Compensated,
    /// <summary>Waits for a time, a signal or a child.</summary>
    Waiting,
    /// <summary>Left out.</summary>
    Skipped,
    /// <summary>The participant said no, and nothing was done.</summary>
    Refused,
    /// <summary>Given up, and nothing is to be undone.</summary>
    Failed,
}

/// <summary>What went wrong: with which step, a code for programs, a message for people.</summary>
public sealed record SagaError(string? Step, string Code, string Message);

/// <summary>One step of a saga.</summary>
public sealed record StepState
{
    /// <summary>A step that has not started.</summary>
    public static readonly StepState Fresh = new();

    /// <summary>Where it stands.</summary>
    public StepStatus Status { get; init; }

    /// <summary>The number of the attempt last sent in the current phase, from 1; 0: none yet.</summary>
    public int Attempt { get; init; }

    /// <summary>Attempts of the current phase that failed (errors and timeouts; busy is not counted).</summary>
    public int Failures { get; init; }

    /// <summary>Whether the current attempt is out and unanswered.</summary>
    public bool InFlight { get; init; }

    /// <summary>When the attempt in flight times out or, with none in flight, when the next one is sent; null: nothing is due.</summary>
    public DateTimeOffset? Due { get; init; }

    /// <summary>Whether some attempt of Try or Do may have taken effect unheard: it timed out, erred, or was last heard of as busy.</summary>
    public bool Unknown { get; init; }

    /// <summary>Whether it needs an operator.</summary>
    public bool Stuck { get; init; }

    /// <summary>The command, as first sent.</summary>
    public Payload? Command { get; init; }

    /// <summary>The participant's answer to Try or Do; null: none known.</summary>
    public Payload? Result { get; init; }

    /// <summary>The last error; cleared by success.</summary>
    public SagaError? Error { get; init; }

    /// <summary>When it was first sent.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When it reached its last status.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>The phase under way, or null.</summary>
    public Phase? Phase => Status switch
    {
        StepStatus.Trying => Sagas.Phase.Try,
        StepStatus.Doing => Sagas.Phase.Do,
        StepStatus.Confirming => Sagas.Phase.Confirm,
        StepStatus.Cancelling => Sagas.Phase.Cancel,
        StepStatus.Compensating => Sagas.Phase.Compensate,
        _ => null,
    };

    /// <summary>Whether steps after it may start.</summary>
    public bool Succeeded => Status is StepStatus.Tried or StepStatus.Confirming or StepStatus.Confirmed or StepStatus.Done or StepStatus.Skipped;
}

/// <summary>One saga, immutable. Changed only by Decider.</summary>
public sealed record SagaState
{
    /// <summary>Its id.</summary>
    public required SagaId Id { get; init; }

    /// <summary>The name of its definition.</summary>
    public required string Definition { get; init; }

    /// <summary>The version of its definition: the one it started with.</summary>
    public required int DefinitionVersion { get; init; }

    /// <summary>The definition that it brought with it; null: one that is loaded.</summary>
    public InlineDefinition? Inline { get; init; }

    /// <summary>How often it was committed; the store compares and sets it.</summary>
    public long Version { get; init; }

    /// <summary>Where it stands, without regard to stuck steps: never <see cref="SagaStatus.Stuck"/>.</summary>
    public SagaStatus Course { get; init; }

    /// <summary>Whether an operator holds it: nothing new is sent.</summary>
    public bool Paused { get; init; }

    /// <summary>Whether it ended partly done and partly undone.</summary>
    public bool Mixed { get; init; }

    /// <summary>What it was started with.</summary>
    public required Payload Input { get; init; }

    /// <summary>What it ended with.</summary>
    public Payload? Result { get; init; }

    /// <summary>Why it turned back, or what is wrong.</summary>
    public SagaError? Error { get; init; }

    /// <summary>Its steps, in the order of the definition.</summary>
    public ImmutableArray<StepState> Steps { get; init; } = [];

    /// <summary>The client's labels.</summary>
    public ImmutableSortedDictionary<string, string> Tags { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>0 to 9, 9 first; default 5.</summary>
    public int Priority { get; init; } = 5;

    /// <summary>When it was started.</summary>
    public DateTimeOffset StartedAt { get; init; }

    /// <summary>When it last changed.</summary>
    public DateTimeOffset UpdatedAt { get; init; }

    /// <summary>When it passed its commit point.</summary>
    public DateTimeOffset? CommittedAt { get; init; }

    /// <summary>When it ended.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>When it turns back unless it has passed its commit point.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>How many history entries it has.</summary>
    public int HistoryCount { get; init; }

    /// <summary>The W3C trace context it was started under.</summary>
    public string? TraceParent { get; init; }

    /// <summary>The status as shown.</summary>
    public SagaStatus Status => !Ended && Steps.Any(static s => s.Stuck) ? SagaStatus.Stuck : Course;

    /// <summary>Whether it has ended; an ended saga never changes.</summary>
    public bool Ended => Course is SagaStatus.Completed or SagaStatus.Compensated or SagaStatus.Terminated;
}

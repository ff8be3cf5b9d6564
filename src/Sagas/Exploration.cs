using System.Collections.Immutable;

namespace Sagas;

/// <summary>What the explorer may let happen, and how often. Everything within these bounds is explored, in every order.</summary>
public sealed record ExplorerBounds
{
    /// <summary>The most attempts of a try or do; a definition with fewer keeps its own. Default 2.</summary>
    public int Attempts { get; init; } = 2;

    /// <summary>How often the engine dies and starts again: between any two events, or after a commit and before what follows from it. 0 to 7, default 1.</summary>
    public int Crashes { get; init; } = 1;

    /// <summary>How many messages arrive twice. 0 to 7, default 1.</summary>
    public int Duplicates { get; init; } = 1;

    /// <summary>How many messages are lost. 0 to 7, default 1.</summary>
    public int Drops { get; init; } = 1;

    /// <summary>How often another node takes the saga over while the one before goes on with what it remembers. 0 to 7, default 0.</summary>
    public int Takeovers { get; init; }

    /// <summary>Whether an operator may cancel, at any moment and as often as he likes. Default true.</summary>
    public bool Cancel { get; init; } = true;

    /// <summary>How often an operator pauses; a paused saga can always be resumed. 0 to 7, default 0.</summary>
    public int Pauses { get; init; }

    /// <summary>
    /// Whether participants fail without an answer that counts, before or after they took effect, and are called again. Default false: with losses and duplicates besides,
    /// that makes five times as many states. <see cref="WithErrors"/> explores them by themselves.
    /// </summary>
    public bool Errors { get; init; }

    /// <summary>Whether participants may say that they are busy. Default false.</summary>
    public bool Busy { get; init; }

    /// <summary>Whether attempts time out and are asked again. Without, nothing may be lost and all must still end: a retry hides a command that was forgotten. Default true.</summary>
    public bool Retries { get; init; } = true;

    /// <summary>After how many states the search ends without a verdict. Default 20 million.</summary>
    public int MaxStates { get; init; } = 20_000_000;

    /// <summary>The same without retries, and so without what only a retry mends: losses, errors, and replies to a node that no longer owns the saga.</summary>
    public ExplorerBounds WithoutRetries => this with { Retries = false, Drops = 0, Takeovers = 0, Errors = false };

    /// <summary>The same with errors, but without losses and duplicates.</summary>
    public ExplorerBounds WithErrors => this with { Errors = true, Duplicates = 0, Drops = 0 };

    /// <inheritdoc/>
    public override string ToString() => string.Join(", ", new[]
    {
        $"{Attempts} attempts", $"{Crashes} crashes", $"{Duplicates} duplicates", $"{Drops} drops", $"{Takeovers} takeovers", Cancel ? "cancels" : "no cancel",
        Pauses > 0 ? $"{Pauses} pauses" : null, Errors ? "errors" : "no errors", Busy ? "busy" : null, Retries ? null : "no retries",
    }.OfType<string>());
}

/// <summary>What a step has done at its participant, whatever the engine knows of it.</summary>
public enum StepEffect
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Reserved (try), or done.</summary>
    Held,
    /// <summary>Confirmed.</summary>
    Confirmed,
    /// <summary>Cancelled or compensated.</summary>
    Undone,
}

/// <summary>What must hold of the participants' effects in every state, in the user's own words.</summary>
/// <param name="Name">The promise, as a sentence.</param>
/// <param name="Holds">Whether it holds; asked with a function from a step's name to its effect. Must be pure.</param>
public sealed record EffectInvariant(string Name, Func<Func<string, StepEffect>, bool> Holds);

/// <summary>How an exploration ended.</summary>
public enum ExplorerVerdict
{
    /// <summary>Everything within the bounds was explored, and every promise holds.</summary>
    Holds,
    /// <summary>A promise is broken: the counterexample is as short as any.</summary>
    Violated,
    /// <summary>The search was ended before everything was explored; so far every promise holds.</summary>
    Bounded,
}

/// <summary>A line of a counterexample.</summary>
/// <param name="Text">The line. Lines of the engine read <c>what happens → what follows</c>; lines that begin with <c>#</c> tell what the world outside did.</param>
/// <param name="From">Who acts: <c>engine</c>, <c>operator</c>, <c>network</c> or a step's name.</param>
/// <param name="To">Upon whom.</param>
/// <param name="Step">The step, or null.</param>
/// <param name="Phase">The phase, or null.</param>
public sealed record StoryLine(string Text, string From, string To, string? Step = null, Phase? Phase = null);

/// <summary>What the explorer found.</summary>
public sealed record Exploration
{
    /// <summary>The definition's name and version.</summary>
    public required string Definition { get; init; }

    /// <summary>How it ended.</summary>
    public required ExplorerVerdict Verdict { get; init; }

    /// <summary>The bounds.</summary>
    public required ExplorerBounds Bounds { get; init; }

    /// <summary>Different states of engine, store, network and participants.</summary>
    public required int States { get; init; }

    /// <summary>Steps from one state to another.</summary>
    public required long Transitions { get; init; }

    /// <summary>The longest way, in events, that is the shortest to its state.</summary>
    public required int Depth { get; init; }

    /// <summary>Bytes that the states and their index took.</summary>
    public required long Bytes { get; init; }

    /// <summary>The broken promise; null: none is.</summary>
    public string? Violation { get; init; }

    /// <summary>How it comes about, from the start; empty: nothing is broken.</summary>
    public ImmutableArray<StoryLine> Counterexample { get; init; } = [];

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Definition}: {Verdict}; {States:N0} states, {Transitions:N0} transitions, depth {Depth}, {Bytes / 1048576.0:0} MB; {Bounds}"
        + (Violation is null ? "" : $"\n{Violation}\n  {string.Join("\n  ", Counterexample.Select(line => line.Text))}");
}

/// <summary>The verdict of several explorations of one definition.</summary>
/// <param name="Runs">Each with its bounds; the last one broke a promise or did not come to its end, if any did.</param>
public sealed record Verification(ImmutableArray<Exploration> Runs)
{
    /// <summary>The bounds of the runs that were not begun, because the last of <see cref="Runs"/> broke a promise or did not come to its end. Empty: none.</summary>
    public ImmutableArray<ExplorerBounds> NotRun { get; init; } = [];

    /// <summary>Violated: a run broke a promise. Bounded: none did, and one did not come to its end. Holds: every run did, and every promise held.</summary>
    public ExplorerVerdict Verdict => Runs.Any(run => run.Verdict == ExplorerVerdict.Violated) ? ExplorerVerdict.Violated
        : Runs.Any(run => run.Verdict == ExplorerVerdict.Bounded) ? ExplorerVerdict.Bounded : ExplorerVerdict.Holds;

    /// <summary>The broken promise; null: none is.</summary>
    public string? Violation => Runs[^1].Violation;

    /// <summary>How it comes about, from the start; empty: nothing is broken.</summary>
    public ImmutableArray<StoryLine> Counterexample => Runs[^1].Counterexample;

    /// <summary>Different states, of all runs together.</summary>
    public long States => Runs.Sum(run => (long)run.States);

    /// <summary>Steps from one state to another, of all runs together.</summary>
    public long Transitions => Runs.Sum(run => run.Transitions);

    /// <inheritdoc/>
    public override string ToString() => string.Join('\n', [.. Runs.Select(run => run.ToString()), .. NotRun.Select(bounds => $"Not begun: {bounds}")]);
}

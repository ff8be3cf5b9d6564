using System.Collections.Immutable;
using System.Diagnostics;

namespace Sagas.Testing;

/// <summary>
/// Proves a saga before it runs: every order of every event and fault within bounds, with the production engine's decisions, and in each state the promises that
/// every saga has, and yours. Independent of the test framework.
/// </summary>
/// <example><code>
/// SagaVerifier.Explore(new BookTrip())
///     .WithInvariant("money is never captured unless the seat is held", effects => effects["capture"] != StepEffect.Held || effects["seat"] != StepEffect.None)
///     .ShouldHold();
/// </code></example>
public sealed class SagaVerifier
{
    private readonly SagaDefinition _saga;
    private readonly ExplorerBounds _bounds;
    private readonly ImmutableArray<EffectInvariant> _invariants;

    private SagaVerifier(SagaDefinition saga, ExplorerBounds bounds, ImmutableArray<EffectInvariant> invariants) => (_saga, _bounds, _invariants) = (saga, bounds, invariants);

    /// <summary>Begins with a definition in C#.</summary>
    /// <param name="saga">The definition. Steps need no <c>.To</c>: what participants do is what the explorer chooses.</param>
    /// <param name="bounds">What may happen, and how often; null: the defaults.</param>
    /// <exception cref="DefinitionException">The definition is wrong, with all its faults.</exception>
    public static SagaVerifier Explore(Saga saga, ExplorerBounds? bounds = null) => Explore(SagaDefinition.Of(saga), bounds);

    /// <summary>Begins with a definition, such as one in JSON.</summary>
    /// <param name="saga">The definition.</param>
    /// <param name="bounds">What may happen, and how often; null: the defaults.</param>
    public static SagaVerifier Explore(SagaDefinition saga, ExplorerBounds? bounds = null)
    {
        ArgumentNullException.ThrowIfNull(saga);
        return new SagaVerifier(saga, bounds ?? new ExplorerBounds(), []);
    }

    /// <summary>Adds a promise of your own, over what participants have done: in every state it must hold.</summary>
    /// <param name="name">The promise, as a sentence.</param>
    /// <param name="holds">Whether it holds. Must be pure.</param>
    public SagaVerifier WithInvariant(string name, Func<Effects, bool> holds)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(holds);
        var saga = _saga;
        return new SagaVerifier(_saga, _bounds, _invariants.Add(new EffectInvariant(name, effect => holds(new Effects(saga, effect)))));
    }

    /// <summary>Explores, and returns what was found.</summary>
    /// <exception cref="ArgumentException">An invariant asks for a step that the saga does not have.</exception>
    public VerificationReport Report()
    {
        var begun = Stopwatch.GetTimestamp();
        var found = Explorer.Verify(_saga, _bounds, _invariants);
        return new VerificationReport(found, Stopwatch.GetElapsedTime(begun));
    }

    /// <summary>Explores, and throws unless everything was tried and every promise holds.</summary>
    /// <exception cref="SagaTestException">A promise is broken, with the shortest story of how; or not everything could be tried.</exception>
    /// <exception cref="ArgumentException">An invariant asks for a step that the saga does not have.</exception>
    public VerificationReport ShouldHold()
    {
        var report = Report();
        return report.Found.Verdict switch
        {
            ExplorerVerdict.Holds => report,
            ExplorerVerdict.Violated => throw new SagaTestException($"{_saga}: {report.Found.Violation}\n  {string.Join("\n  ", report.Found.Counterexample.Select(line => line.Text))}\n{report}"),
            _ => throw new SagaTestException(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{_saga} has more states than the {_bounds.MaxStates:N0} that were allowed: nothing was found to be broken, but not everything was tried. "
                + $"Lower Attempts, Duplicates or Drops in the bounds, or raise MaxStates.\n{report}")),
        };
    }
}

/// <summary>What participants have done, whatever the engine knows of it.</summary>
public readonly struct Effects
{
    private readonly SagaDefinition _saga;
    private readonly Func<string, StepEffect> _effect;

    internal Effects(SagaDefinition saga, Func<string, StepEffect> effect) => (_saga, _effect) = (saga, effect);

    /// <summary>What the step has done at its participant.</summary>
    /// <exception cref="ArgumentException">There is no such step.</exception>
    public StepEffect this[string step] => _saga.Find(step) is not null ? _effect(step)
        : throw new ArgumentException($"Saga '{_saga.Name}' has no step '{step}'. Its steps are {string.Join(", ", _saga.Steps.Select(known => known.Name))}.", nameof(step));
}

/// <summary>What a verification found, and how long it took.</summary>
/// <param name="Found">Verdict, runs, counterexample.</param>
/// <param name="Elapsed">In real time.</param>
public sealed record VerificationReport(Verification Found, TimeSpan Elapsed)
{
    /// <summary>A line for each run, and the speed.</summary>
    public override string ToString() => string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"{Found}\n{Found.States:N0} states in {Elapsed.TotalSeconds:0.0} s, {Found.States / Math.Max(Elapsed.TotalSeconds, 0.001):N0} a second");
}

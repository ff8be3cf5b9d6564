using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>The unfinished sagas that one node holds, or all do, counted.</summary>
/// <param name="At">When.</param>
/// <param name="ByStatus">All of them, by status.</param>
/// <param name="Definitions">Each version of a definition that has any.</param>
public sealed record InFlight(DateTimeOffset At, ImmutableDictionary<SagaStatus, long> ByStatus, ImmutableArray<InFlightVersion> Definitions)
{
    /// <summary>When the oldest of them was started; null: there is none.</summary>
    public DateTimeOffset? OldestAt => Definitions.IsEmpty ? null : Definitions.Min(version => version.OldestAt);
}

/// <summary>The unfinished sagas of one version of a definition.</summary>
/// <param name="Definition">The definition's name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Sagas">How many.</param>
/// <param name="ByStatus">By status.</param>
/// <param name="Steps">For each step, in the definition's order.</param>
/// <param name="OldestAt">When the oldest was started.</param>
public sealed record InFlightVersion(string Definition, int Version, long Sagas, ImmutableDictionary<SagaStatus, long> ByStatus, ImmutableArray<InFlightStep> Steps, DateTimeOffset OldestAt);

/// <summary>How many sagas have something of a step open.</summary>
/// <param name="First">Its try, do or check is under way, or it waits for a time, a signal or a child.</param>
/// <param name="Second">Its confirm, cancel or compensation is under way.</param>
/// <param name="Held">It is reserved and neither confirmed nor cancelled yet.</param>
/// <param name="Retrying">Of those under way: an attempt failed.</param>
/// <param name="Stuck">Of those under way: an operator is needed.</param>
public readonly record struct InFlightStep(long First, long Second, long Held, long Retrying, long Stuck)
{
    internal InFlightStep With(InFlightStep other) => new(First + other.First, Second + other.Second, Held + other.Held, Retrying + other.Retrying, Stuck + other.Stuck);
}

/// <summary>Why a step does not go on by itself at once.</summary>
public enum WaitKind
{
    /// <summary>An attempt failed or found the participant busy; the next one is due later.</summary>
    Retry,
    /// <summary>A command is out and unanswered, such as one that is to be called back.</summary>
    Reply,
    /// <summary>A time.</summary>
    Timer,
    /// <summary>A signal or a child.</summary>
    Signal,
    /// <summary>An operator: the saga is paused.</summary>
    Operator,
}

/// <summary>A step that waits.</summary>
/// <param name="Saga">Its saga.</param>
/// <param name="Step">The step's index.</param>
/// <param name="Kind">For what.</param>
/// <param name="Since">Since when this phase of the step is under way.</param>
public readonly record struct WaitingStep(SagaState Saga, int Step, WaitKind Kind, DateTimeOffset Since);

/// <summary>Counts and searches sagas in memory, as they are durable.</summary>
internal static class Census
{
    /// <summary>What its definition is counted under. The names that sagas bring are anybody's: together they count as one.</summary>
    public static string NameOf(SagaState saga) => saga.Inline is null ? saga.Definition : "(inline)";

    public static InFlight Count(IEnumerable<SagaState> sagas, DateTimeOffset now)
    {
        var versions = new Dictionary<(string, int), Tally>();
        foreach (var saga in sagas)
        {
            // Definitions that came with their sagas may each have other steps, and be as many as the sagas.
            var (version, steps) = saga.Inline is null ? (saga.DefinitionVersion, saga.Steps.Length) : (0, 0);
            if (!versions.TryGetValue((NameOf(saga), version), out var tally)) versions[(NameOf(saga), version)] = tally = new Tally(steps);
            tally.Add(saga);
        }
        var all = versions.Select(pair => pair.Value.Of(pair.Key.Item1, pair.Key.Item2)).OrderBy(v => v.Definition, StringComparer.Ordinal).ThenBy(v => v.Version).ToImmutableArray();
        var byStatus = all.SelectMany(version => version.ByStatus).GroupBy(pair => pair.Key, pair => pair.Value).ToImmutableDictionary(group => group.Key, group => group.Sum());
        return new InFlight(now, byStatus, all);
    }

    /// <summary>What several nodes hold, added up.</summary>
    public static InFlight Together(IReadOnlyCollection<InFlight> nodes) => new(nodes.Min(static node => node.At), Survey.Sum(nodes.Select(static node => node.ByStatus)),
    [
        .. nodes.SelectMany(static node => node.Definitions).GroupBy(static version => (version.Definition, version.Version)).OrderBy(static group => group.Key.Definition, StringComparer.Ordinal).ThenBy(static group => group.Key.Version)
            .Select(static group => new InFlightVersion(group.Key.Definition, group.Key.Version, group.Sum(static version => version.Sagas), Survey.Sum(group.Select(static version => version.ByStatus)),
                [.. Enumerable.Range(0, group.Min(static version => version.Steps.Length)).Select(i => group.Select(version => version.Steps[i]).Aggregate(static (one, other) => one.With(other)))],
                group.Min(static version => version.OldestAt))),
    ]);

    /// <summary>The steps that wait, the longest first, at most so many; and how many there are of each kind.</summary>
    public static (List<WaitingStep> Longest, long[] Counts) Waiting(IEnumerable<SagaState> sagas, Func<SagaState, int, bool> wanted, WaitKind? kind, int limit, DateTimeOffset before)
    {
        var counts = new long[Enum.GetValues<WaitKind>().Length];
        // The one that waits least is on top, to make room for one that waits longer.
        var longest = new PriorityQueue<WaitingStep, long>();
        foreach (var saga in sagas)
            for (var i = 0; i < saga.Steps.Length; i++)
            {
                if (KindOf(saga, saga.Steps[i]) is not { } what) continue;
                var since = SinceOf(saga, saga.Steps[i]);
                // Every command is unanswered for a moment.
                if ((what == WaitKind.Reply && since > before) || !wanted(saga, i)) continue;
                counts[(int)what]++;
                if (kind is { } only && only != what) continue;
                if (longest.Count < limit) longest.Enqueue(new WaitingStep(saga, i, what, since), -since.UtcTicks);
                else longest.EnqueueDequeue(new WaitingStep(saga, i, what, since), -since.UtcTicks);
            }
        var sorted = longest.UnorderedItems.Select(item => item.Element).OrderBy(step => step.Since).ThenBy(step => step.Saga.Id).ThenBy(step => step.Step).ToList();
        return (sorted, counts);
    }

    /// <summary>For what a step waits; null: it does not.</summary>
    public static WaitKind? KindOf(SagaState saga, StepState step)
    {
        if (step.Phase is null && step.Status != StepStatus.Waiting) return null;
        if (saga.Paused && !step.InFlight) return WaitKind.Operator;
        if (step.Status == StepStatus.Waiting) return step.Due is null ? WaitKind.Signal : WaitKind.Timer;
        return step.InFlight ? WaitKind.Reply : step.Due is null ? null : WaitKind.Retry;
    }

    /// <summary>The second phase begins after the first has ended, where that is known.</summary>
    private static DateTimeOffset SinceOf(SagaState saga, StepState step) =>
        (step.Phase is Phase.Confirm or Phase.Cancel or Phase.Compensate ? step.FinishedAt : null) ?? step.StartedAt ?? saga.StartedAt;

    private sealed class Tally(int steps)
    {
        private readonly long[] _byStatus = new long[Enum.GetValues<SagaStatus>().Length];
        private readonly InFlightStep[] _steps = new InFlightStep[steps];
        private long _sagas;
        private DateTimeOffset _oldest = DateTimeOffset.MaxValue;

        public void Add(SagaState saga)
        {
            _sagas++;
            _byStatus[(int)saga.Status]++;
            if (saga.StartedAt < _oldest) _oldest = saga.StartedAt;
            for (var i = 0; i < Math.Min(_steps.Length, saga.Steps.Length); i++)
            {
                var step = saga.Steps[i];
                var was = _steps[i];
                var second = step.Phase is Phase.Confirm or Phase.Cancel or Phase.Compensate;
                var first = !second && (step.Phase is not null || step.Status == StepStatus.Waiting);
                if (!first && !second && step.Status != StepStatus.Tried) continue;
                _steps[i] = new InFlightStep(was.First + (first ? 1 : 0), was.Second + (second ? 1 : 0), was.Held + (step.Status == StepStatus.Tried ? 1 : 0),
                    was.Retrying + (step.Failures > 0 ? 1 : 0), was.Stuck + (step.Stuck ? 1 : 0));
            }
        }

        public InFlightVersion Of(string definition, int version) => new(definition, version, _sagas,
            _byStatus.Select((count, status) => KeyValuePair.Create((SagaStatus)status, count)).Where(pair => pair.Value > 0).ToImmutableDictionary(), [.. _steps], _oldest);
    }
}

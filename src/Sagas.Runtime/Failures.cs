using System.Collections.Immutable;

namespace Sagas.Runtime;

/// <summary>Sagas that met the same failure: of one definition, at one step and phase, with one code.</summary>
/// <param name="Definition">The definition's name.</param>
/// <param name="Version">The version that met it last.</param>
/// <param name="Step">The step; null: the saga as a whole, such as its timeout.</param>
/// <param name="Phase">The phase; null: the saga as a whole.</param>
/// <param name="Code">The code.</param>
/// <param name="Message">The last message.</param>
/// <param name="Refused">A business no rather than an error.</param>
/// <param name="ByStatus">Where the sagas are now: the unfinished ones that met it, and those that ended within the window after they had.</param>
/// <param name="Attempts">How many answers it was, as far as this node has heard them.</param>
/// <param name="FirstAt">When it was met first.</param>
/// <param name="LastAt">When it was met last.</param>
/// <param name="Series">Sagas that met it for the first time, in each half hour of the window, the oldest first.</param>
public sealed record FailureGroup(string Definition, int Version, string? Step, Phase? Phase, string Code, string Message, bool Refused,
    ImmutableDictionary<SagaStatus, long> ByStatus, long Attempts, DateTimeOffset FirstAt, DateTimeOffset LastAt, ImmutableArray<long> Series)
{
    /// <summary>How many sagas.</summary>
    public long Count => ByStatus.Values.Sum();

    /// <summary>With the same failure at another node. A saga that changed hands counts where it is now; in the series both may have it, when both live.</summary>
    internal FailureGroup With(FailureGroup other)
    {
        var last = other.LastAt > LastAt ? other : this;
        return last with
        {
            Version = Math.Max(Version, other.Version), ByStatus = Survey.Sum([ByStatus, other.ByStatus]), Attempts = Attempts + other.Attempts,
            FirstAt = FirstAt < other.FirstAt ? FirstAt : other.FirstAt, Series = [.. Series.Zip(other.Series, static (one, more) => one + more)],
        };
    }
}

/// <summary>
/// What fails, grouped, in memory: fed by this node's commits, and at its start by the errors that unfinished sagas still have. It knows of every
/// unfinished saga of this node, and of ended ones for 24 hours; what ended before this node started it has not seen.
/// </summary>
internal sealed class Failures(TimeProvider time)
{
    public static readonly TimeSpan Slot = TimeSpan.FromMinutes(30);
    public const int Slots = 48;

    /// <summary>Codes are the participants' own: so many groups are kept, further ones are only counted.</summary>
    public const int MaxGroups = 1000;

    private readonly Lock _lock = new();
    private readonly Dictionary<Key, Group> _groups = [];
    private readonly Dictionary<SagaId, List<Group>> _open = [];
    private volatile int _openCount;
    private long _omitted;

    /// <summary>Failures that belong to no group that is kept.</summary>
    public long Omitted => Volatile.Read(ref _omitted);

    /// <summary>A version became durable. Costs a look at its history unless something failed.</summary>
    public void Committed(SagaCommit commit, Func<SagaDefinition?> definition)
    {
        SagaDefinition? known = null;
        foreach (var entry in commit.History)
        {
            var refused = entry.Outcome == Outcome.Refused;
            if (refused || entry.Outcome == Outcome.Error || entry.Event is "timed-out" or "mapping-failed")
            {
                known ??= definition();
                var error = entry.Step is { } name && known?.Find(name) is { } step && step.Index < commit.State.Steps.Length ? commit.State.Steps[step.Index].Error : null;
                // When the step has succeeded within the same commit its error is gone: the history knows what it was, if not its code.
                var code = entry.Event == "timed-out" ? "timeout" : error?.Code ?? (entry.Event == "mapping-failed" ? entry.Event : entry.Outcome!.Value.Word());
                Met(commit.State, new Key(commit.State.Definition, entry.Step, entry.Phase, code), entry.Detail ?? error?.Message ?? "No answer.", refused, entry.Time);
            }
            else if (entry is { Event: "turned-back", Step: null } && commit.State.Error is { Step: null, Code: not "cancelled" } whole)
                Met(commit.State, new Key(commit.State.Definition, null, null, whole.Code), whole.Message, refused: false, entry.Time);
        }
        if (commit.State.Ended && _openCount > 0) Ended(commit.State);
    }

    /// <summary>A saga that the store handed to this node: the errors it still has.</summary>
    public void Recovered(SagaState saga, SagaDefinition definition)
    {
        for (var i = 0; i < Math.Min(saga.Steps.Length, definition.Steps.Length); i++)
            if (saga.Steps[i] is { Error: { } error } step)
                Met(saga, new Key(saga.Definition, definition.Steps[i].Name, step.Phase ?? definition.Steps[i].ForwardPhase, error.Code), error.Message, step.Status == StepStatus.Refused, saga.UpdatedAt);
        if (saga.Error is { Step: null, Code: not "cancelled" } whole) Met(saga, new Key(saga.Definition, null, null, whole.Code), whole.Message, refused: false, saga.UpdatedAt);
    }

    /// <summary>The groups, those with most sagas first.</summary>
    /// <param name="find">The saga as this node holds it; null: it does not any more.</param>
    public ImmutableArray<FailureGroup> Read(Func<SagaId, SagaState?> find)
    {
        lock (_lock)
        {
            var slot = SlotOf(time.GetUtcNow());
            foreach (var (id, groups) in _open.ToArray())
                if (find(id) is null) Forget_NeedsLock(id, groups);
            var read = ImmutableArray.CreateBuilder<FailureGroup>();
            foreach (var (key, group) in _groups.ToArray())
            {
                var byStatus = ImmutableDictionary.CreateBuilder<SagaStatus, long>();
                foreach (var id in group.Open)
                    if (find(id) is { } saga) byStatus[saga.Status] = byStatus.GetValueOrDefault(saga.Status) + 1;
                var series = new long[Slots];
                foreach (var kept in group.Kept)
                {
                    if (slot - kept.Slot is < 0 or >= Slots) continue;
                    series[Slots - 1 - (slot - kept.Slot)] = kept.Met;
                    for (var i = 0; i < kept.Ended.Length; i++)
                        if (kept.Ended[i] > 0) byStatus[SagaStatus.Completed + i] = byStatus.GetValueOrDefault(SagaStatus.Completed + i) + kept.Ended[i];
                }
                if (byStatus.Count == 0 && series.All(count => count == 0)) _groups.Remove(key);
                else read.Add(new FailureGroup(key.Definition, group.Version, key.Step, key.Phase, key.Code, group.Message, group.Refused, byStatus.ToImmutable(), group.Attempts, group.FirstAt, group.LastAt, [.. series]));
            }
            return [.. read.OrderByDescending(group => group.Count).ThenByDescending(group => group.LastAt)];
        }
    }

    private void Met(SagaState saga, Key key, string message, bool refused, DateTimeOffset at)
    {
        lock (_lock)
        {
            if (!_groups.TryGetValue(key, out var group))
            {
                if (_groups.Count >= MaxGroups)
                {
                    _omitted++;
                    return;
                }
                _groups[key] = group = new Group { FirstAt = at };
            }
            group.Attempts++;
            if (at > group.LastAt) group.LastAt = at;
            if (at < group.FirstAt) group.FirstAt = at;
            (group.Message, group.Refused, group.Version) = (message, refused, saga.DefinitionVersion);
            if (!_open.TryGetValue(saga.Id, out var of)) _open[saga.Id] = of = [];
            if (!of.Contains(group))
            {
                of.Add(group);
                group.Open.Add(saga.Id);
                group.At(SlotOf(at)).Met++;
            }
            _openCount = _open.Count;
        }
    }

    private void Ended(SagaState saga)
    {
        lock (_lock)
        {
            if (!_open.TryGetValue(saga.Id, out var groups)) return;
            Forget_NeedsLock(saga.Id, groups);
            foreach (var group in groups) group.At(SlotOf(saga.FinishedAt ?? saga.UpdatedAt)).Ended[saga.Course - SagaStatus.Completed]++;
        }
    }

    private void Forget_NeedsLock(SagaId id, List<Group> groups)
    {
        _open.Remove(id);
        foreach (var group in groups) group.Open.Remove(id);
        _openCount = _open.Count;
    }

    private static int SlotOf(DateTimeOffset at) => (int)(at.UtcTicks / Slot.Ticks);

    private sealed record Key(string Definition, string? Step, Phase? Phase, string Code);

    private sealed class Group
    {
        public int Version { get; set; }
        public string Message { get; set; } = "";
        public bool Refused { get; set; }
        public long Attempts { get; set; }
        public DateTimeOffset FirstAt { get; set; }
        public DateTimeOffset LastAt { get; set; }
        public HashSet<SagaId> Open { get; } = [];

        /// <summary>The half hours in which something happened, at most as many as the window has.</summary>
        public List<HalfHour> Kept { get; } = [];

        public HalfHour At(int slot)
        {
            if (Kept.Find(kept => kept.Slot == slot) is { } found) return found;
            Kept.RemoveAll(kept => slot - kept.Slot >= Slots);
            var fresh = new HalfHour(slot);
            Kept.Add(fresh);
            return fresh;
        }
    }

    private sealed class HalfHour(int slot)
    {
        public int Slot { get; } = slot;
        public long Met { get; set; }

        /// <summary>Completed, Compensated, Terminated.</summary>
        public long[] Ended { get; } = new long[3];
    }
}

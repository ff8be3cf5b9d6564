using System.Collections.Immutable;
using Sagas.Runtime;

namespace Sagas.Tests.Runtime;

/// <summary>Sagas and their versions made by hand, as the Decider might have made them.</summary>
static class TestSagas
{
    public static readonly DateTimeOffset Noon = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public static SagaCommit Start(string id, string definition = "trip", DateTimeOffset? at = null, string input = """{"n":1}""", params (string Key, string Value)[] tags) =>
        Commit(new SagaState
        {
            Id = new SagaId(id),
            Definition = definition,
            DefinitionVersion = 1,
            Version = 1,
            Input = Payload.Parse(input),
            StartedAt = at ?? Noon,
            UpdatedAt = at ?? Noon,
            Tags = tags.ToImmutableSortedDictionary(static tag => tag.Key, static tag => tag.Value, StringComparer.Ordinal),
            Steps = [new StepState { Status = StepStatus.Trying, Attempt = 1, InFlight = true, StartedAt = at ?? Noon, Due = (at ?? Noon).AddSeconds(5) }, StepState.Fresh],
        }, 0, "started", "sent");

    /// <summary>The version after this one.</summary>
    public static SagaCommit Next(this SagaCommit before, Func<SagaState, SagaState>? change = null, params string[] events)
    {
        var state = before.State with { Version = before.State.Version + 1, UpdatedAt = before.State.UpdatedAt.AddMilliseconds(5) };
        return Commit(change?.Invoke(state) ?? state, before.State.HistoryCount, events.Length == 0 ? ["replied"] : events);
    }

    public static SagaCommit Confirm(this SagaCommit before) => before.Next(state => state with
    {
        Course = SagaStatus.Confirming,
        CommittedAt = state.UpdatedAt,
        Steps = state.Steps.SetItem(0, state.Steps[0] with { Status = StepStatus.Confirming, Result = Payload.Parse("""{"seat":"12A"}""") }),
    }, "replied", "committed");

    public static SagaCommit Stick(this SagaCommit before) => before.Next(static state => state with
    {
        Steps = state.Steps.SetItem(0, state.Steps[0] with { Stuck = true, Error = new SagaError("seat", "down", "no answer") }),
    }, "stuck");

    public static SagaCommit End(this SagaCommit before, SagaStatus status = SagaStatus.Completed, DateTimeOffset? at = null) => before.Next(state => state with
    {
        Course = status,
        UpdatedAt = at ?? state.UpdatedAt,
        FinishedAt = at ?? state.UpdatedAt,
        Result = Payload.Parse("""{"ok":true}"""),
        Steps = [.. state.Steps.Select(static step => step with { Status = StepStatus.Confirmed, InFlight = false, Due = null, Stuck = false })],
    }, status.ToString().ToLowerInvariant());

    /// <summary>As JSON: two states that are stored alike are alike.</summary>
    public static string Text(this SagaState? saga)
    {
        if (saga is null) return "none";
        var bytes = new System.Buffers.ArrayBufferWriter<byte>();
        StateJson.Write(bytes, saga);
        return System.Text.Encoding.UTF8.GetString(bytes.WrittenSpan);
    }

    public static async Task<CommitOutcome> CommitAsync(this ISagaStore store, SagaCommit commit) => (await store.CommitAsync([commit], default))[0];

    /// <summary>Commits each, one after the other; all must succeed. Gives the last.</summary>
    public static async Task<SagaCommit> MustCommitAsync(this ISagaStore store, params SagaCommit[] commits)
    {
        foreach (var commit in commits)
            if (await store.CommitAsync(commit) != CommitOutcome.Committed)
                throw new InvalidOperationException($"{commit.State.Id} version {commit.State.Version} is a conflict.");
        return commits[^1];
    }

    public static async Task<string> IdsAsync(this ISagaStore store, SagaFilter? filter = null, int limit = 100) =>
        string.Join(' ', (await store.ListAsync(filter ?? new SagaFilter(), limit, null, default)).Items.Select(static saga => saga.Id.Value));

    static SagaCommit Commit(SagaState state, int history, params string[] events) =>
        new(state with { HistoryCount = history + events.Length },
            [.. events.Select((name, i) => new HistoryEntry { Seq = history + i + 1, Time = state.UpdatedAt, Event = name, Step = "seat", Phase = Phase.Try, Attempt = 1, Detail = $"{name} of {state.Id}" })]);
}

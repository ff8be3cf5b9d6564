using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sagas.Runtime;

// Rates, failures, what is in flight and what waits are nowhere stored: the node that has the sagas knows of them. Whoever is asked for them asks every node and
// adds up; a node that does not answer in time is left out.

/// <summary>What one node asks the others.</summary>
[JsonDerivedType(typeof(RatesQuestion), "rates")]
[JsonDerivedType(typeof(SeriesQuestion), "series")]
[JsonDerivedType(typeof(InFlightQuestion), "in-flight")]
[JsonDerivedType(typeof(WaitingQuestion), "waiting")]
[JsonDerivedType(typeof(FailuresQuestion), "failures")]
internal abstract record Question;

/// <summary>The last minute of each of these definitions; null: of all sagas.</summary>
internal sealed record RatesQuestion(ImmutableArray<string?> Definitions) : Question;

internal sealed record SeriesQuestion(string? Definition, int Minutes) : Question;

internal sealed record InFlightQuestion : Question;

internal sealed record WaitingQuestion(SagaFilter Filter, WaitKind? Kind, int Limit, TimeSpan Patience) : Question;

internal sealed record FailuresQuestion : Question;

internal sealed record RatesAnswer(ImmutableArray<Minute> Minutes, ImmutableArray<DateTimeOffset?> OldestAt);

/// <summary>Sagas may be large: they are named, and whoever asks reads them from the store.</summary>
internal sealed record WaitingAnswer(ImmutableArray<WaitingAt> Longest, ImmutableDictionary<WaitKind, long> Counts);

internal readonly record struct WaitingAt(string Saga, int Step, WaitKind Kind, DateTimeOffset Since);

internal sealed record FailuresAnswer(ImmutableArray<FailureGroup> Groups, long Omitted);

/// <summary>The numbers of this node, and of all nodes together.</summary>
/// <param name="engine">The engine.</param>
/// <param name="pulse">What happened here.</param>
/// <param name="failures">What failed here.</param>
/// <param name="sagas">The unfinished sagas that this node holds.</param>
/// <param name="find">One of them.</param>
internal sealed class Survey(EngineParts engine, Pulse pulse, Failures failures, Func<IEnumerable<SagaState>> sagas, Func<SagaId, SagaState?> find)
{
    private readonly Lock _counting = new();
    private InFlight? _inFlight;

    /// <summary>Has a question answered by the other nodes; null: nobody shares the store.</summary>
    public Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>>>? Others { get; set; }

    /// <summary>Counts of all that the store has, and rates of the last minute, of each definition; null: of all sagas.</summary>
    public async ValueTask<ImmutableArray<EngineStats>> StatsAsync(ImmutableArray<string?> definitions, CancellationToken cancel)
    {
        var asked = AskAsync<RatesAnswer>(new RatesQuestion(definitions), cancel).AsTask();
        var stats = ImmutableArray.CreateBuilder<EngineStats>(definitions.Length);
        for (var i = 0; i < definitions.Length; i++)
        {
            var byStatus = await engine.Store.CountAsync(new SagaFilter(Definition: definitions[i]), cancel).ConfigureAwait(false);
            var answers = await asked.ConfigureAwait(false);
            var oldest = definitions[i] is null ? await engine.Store.OldestUnfinishedAsync(cancel).ConfigureAwait(false) : answers.Min(answer => answer.OldestAt[i]);
            var minute = answers.Select(answer => answer.Minutes[i]).Aggregate(static (one, other) => one.With(other));
            stats.Add(new EngineStats(byStatus, minute.Started, minute.Completed, minute.Compensated, minute.Quantile(0.5), minute.Quantile(0.95), minute.Quantile(0.99), oldest)
            {
                TerminatedPerSecond = minute.Terminated, FailedPerSecond = minute.Failed,
            });
        }
        return stats.MoveToImmutable();
    }

    public async ValueTask<(TimeSpan Span, ImmutableArray<StatsPoint> Points)> SeriesAsync(int minutes, string? definition, CancellationToken cancel)
    {
        var answers = await AskAsync<ImmutableArray<StatsPoint>>(new SeriesQuestion(definition, minutes), cancel).ConfigureAwait(false);
        // The clocks of two nodes are never the same: what they tell is put together by its time.
        var others = answers.Skip(1).SelectMany(static points => points).ToLookup(static point => point.At);
        return (Pulse.SpanOf(minutes), [.. answers[0].Select(point => others[point.At].Aggregate(point, static (one, other) => one.With(other)))]);
    }

    public async ValueTask<InFlight> InFlightAsync(CancellationToken cancel)
    {
        var answers = await AskAsync<InFlight>(new InFlightQuestion(), cancel).ConfigureAwait(false);
        return answers.Count == 1 ? answers[0] : Census.Together(answers);
    }

    public async ValueTask<(IReadOnlyList<WaitingStep> Longest, ImmutableDictionary<WaitKind, long> Counts)> WaitingAsync(WaitingQuestion question, CancellationToken cancel)
    {
        var answers = await AskAsync<WaitingAnswer>(question, cancel).ConfigureAwait(false);
        var places = answers.SelectMany(static answer => answer.Longest).DistinctBy(static at => (at.Saga, at.Step)).OrderBy(static at => at.Since).Take(question.Limit).ToArray();
        var states = await Task.WhenAll(places.Select(async at => find(new SagaId(at.Saga)) ?? (Others is null ? null : await engine.Store.FindAsync(new SagaId(at.Saga), cancel).ConfigureAwait(false)))).ConfigureAwait(false);
        // One that has gone on since its node was asked does not wait any more.
        var longest = from one in places.Zip(states) where one.Second is { Ended: false } saga && Census.KindOf(saga, saga.Steps[one.First.Step]) == one.First.Kind
                      select new WaitingStep(one.Second, one.First.Step, one.First.Kind, one.First.Since);
        return ([.. longest], Sum(answers.Select(static answer => answer.Counts)));
    }

    public async ValueTask<(ImmutableArray<FailureGroup> Groups, long Omitted)> FailuresAsync(CancellationToken cancel)
    {
        var answers = await AskAsync<FailuresAnswer>(new FailuresQuestion(), cancel).ConfigureAwait(false);
        var groups = answers.SelectMany(static answer => answer.Groups).GroupBy(static group => (group.Definition, group.Step, group.Phase, group.Code))
            .Select(static group => group.Aggregate(static (one, other) => one.With(other)));
        return ([.. groups.OrderByDescending(static group => group.Count).ThenByDescending(static group => group.LastAt)], answers.Sum(static answer => answer.Omitted));
    }

    /// <summary>This node's unfinished sagas, counted at most a second ago.</summary>
    public InFlight CountHere()
    {
        lock (_counting)
        {
            var now = engine.Now;
            if (_inFlight is not { } known || now - known.At >= TimeSpan.FromSeconds(1) || now < known.At) _inFlight = known = Census.Count(sagas(), now);
            return known;
        }
    }

    /// <summary>What this node has to say to another's question; empty: it does not understand it.</summary>
    public ReadOnlyMemory<byte> Answer(ReadOnlyMemory<byte> question)
    {
        try
        {
            return JsonSerializer.SerializeToUtf8Bytes(AnswerHere(JsonSerializer.Deserialize<Question>(question.Span)!));
        }
        catch (JsonException)
        {
            // The other node is of another version.
            return default;
        }
    }

    /// <summary>This node's answer, and after it those of the others.</summary>
    private async ValueTask<List<T>> AskAsync<T>(Question question, CancellationToken cancel)
    {
        var answers = new List<T> { (T)AnswerHere(question) };
        if (Others is not { } others) return answers;
        try
        {
            foreach (var bytes in await others(JsonSerializer.SerializeToUtf8Bytes(question), cancel).ConfigureAwait(false))
                if (!bytes.IsEmpty) answers.Add(JsonSerializer.Deserialize<T>(bytes.Span)!);
        }
        catch (Exception e) when (e is StoreUnavailableException or JsonException)
        {
            // Without the store nobody can be asked: then this node speaks for itself.
        }
        return answers;
    }

    private object AnswerHere(Question question) => question switch
    {
        // The oldest of all is the store's to tell.
        RatesQuestion rates => new RatesAnswer([.. rates.Definitions.Select(pulse.LastMinute)],
            [.. rates.Definitions.Select(name => name is null ? null : CountHere().Definitions.Where(version => version.Definition == name).Min(static version => (DateTimeOffset?)version.OldestAt))]),
        SeriesQuestion series => pulse.Series(series.Definition, series.Minutes),
        InFlightQuestion => CountHere(),
        WaitingQuestion waiting => WaitingHere(waiting),
        FailuresQuestion => new FailuresAnswer(failures.Read(find), failures.Omitted),
        _ => throw new JsonException($"No answer to {question}."),
    };

    private WaitingAnswer WaitingHere(WaitingQuestion question)
    {
        var filter = engine.Definitions.Placed(question.Filter);
        var (longest, counts) = Census.Waiting(sagas().Where(filter.Matches), IsAsked, question.Kind, question.Limit, engine.Now - question.Patience);
        return new WaitingAnswer([.. longest.Select(static step => new WaitingAt(step.Saga.Id.Value, step.Step, step.Kind, step.Since))],
            counts.Select(static (count, what) => KeyValuePair.Create((WaitKind)what, count)).ToImmutableDictionary());

        bool IsAsked(SagaState saga, int step) => filter.Step is null || engine.DefinitionOf(saga)?.Find(filter.Step)?.Index == step;
    }

    /// <summary>The counts of each, added up.</summary>
    public static ImmutableDictionary<TKey, long> Sum<TKey>(IEnumerable<ImmutableDictionary<TKey, long>> counts) where TKey : notnull =>
        counts.SelectMany(static one => one).GroupBy(static pair => pair.Key, static pair => pair.Value).ToImmutableDictionary(static group => group.Key, static group => group.Sum());
}

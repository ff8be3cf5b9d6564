using System.Collections.Immutable;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Sagas.Journal;

namespace Sagas.Runtime;

/// <summary>The engine's public face. Registered by <c>AddSagas</c>; starts and stops with the host.</summary>
public sealed class SagaEngine : IHostedLifecycleService, IDisposable
{
    private readonly EngineParts _parts;
    private readonly Processor[] _workers;
    private readonly Waiters _waiters;
    private readonly Pulse _pulse;
    private readonly Nodes? _nodes;
    private DateTimeOffset _startedAt;
    private int _verifying;
    private long _verifyingSince;
    private readonly Failures _failures;
    private readonly Survey _survey;
    private ITimer? _sampling;
    private Meter? _gauges;
    private Task[] _running = [];
    private volatile bool _open;
    private readonly Operations _operations;
    private long _lookedAt;
    private volatile RecentStats? _stats;

    internal SagaEngine(DefinitionCatalog definitions, ISagaStore store, ITransport transport, IOptions<SagasOptions> options, TimeProvider time, ILogger<SagaEngine> log)
    {
        _pulse = new Pulse(time);
        _waiters = new Waiters(time);
        _failures = new Failures(time);
        _parts = new EngineParts(definitions, store, new Outbox(transport, new HttpTransport(options.Value, definitions.Of, PostAsync, time, log), time, log), new TimerPump(time, mail => WorkerOf(mail.Id).TryPost(mail)),
            options.Value, time, log, Committed);
        _workers = [.. Enumerable.Range(0, options.Value.Workers).Select(_ => new Processor(_parts))];
        _survey = new Survey(_parts, _pulse, _failures, () => _workers.SelectMany(static worker => worker.Sagas), id => WorkerOf(id).Find(id));
        if (_parts.Shared is { } shared)
        {
            _nodes = new Nodes(shared, _parts, Feed, _waiters, id => WorkerOf(id).Find(id) is not null, AdoptAsync, (mail, cancel) => WorkerOf(mail.Id).PostAsync(mail, cancel),
                async cancel => _parts.Definitions.Load(await shared.DefinitionsAsync(cancel).ConfigureAwait(false), Unread), _survey.Answer);
            _survey.Others = _nodes.AskAsync;
        }
        _operations = new Operations(this, _parts);
    }

    /// <summary>The definitions this engine runs, all versions.</summary>
    public IReadOnlyCollection<SagaDefinition> Definitions => _parts.Definitions.All;

    /// <summary>Tells what becomes of sagas, as it happens.</summary>
    public SagaFeed Feed { get; } = new();

    /// <summary>How the store is.</summary>
    public StoreHealth StoreHealth => _parts.Store.Health;

    /// <summary>Whether the store is open and the workers run.</summary>
    public bool IsReady => _open && _running.All(static worker => !worker.IsCompleted);

    /// <summary>The definition of that name, the newest version unless one is given; null: none.</summary>
    public SagaDefinition? FindDefinition(string name, int? version = null) => _parts.Definitions.Find(name, version);

    /// <summary>The definition that a saga runs, which may be its own; null: this node does not have it.</summary>
    public SagaDefinition? DefinitionOf(SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        return _parts.Definitions.Of(saga);
    }

    /// <summary>The definition of that name; one that is not known here is looked for in the store: another node may have put it there.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public async ValueTask<SagaDefinition?> FindDefinitionAsync(string name, int? version = null, CancellationToken cancel = default)
    {
        if (FindDefinition(name, version) is { } known) return known;
        if (!_open || Interlocked.Read(ref _lookedAt) is var looked && _parts.Time.GetElapsedTime(looked) < EngineParts.StoreRetryDelay
            || Interlocked.CompareExchange(ref _lookedAt, _parts.Time.GetTimestamp(), looked) != looked) return null;
        _parts.Definitions.Load(await _parts.Store.DefinitionsAsync(cancel).ConfigureAwait(false), Unread);
        return FindDefinition(name, version);
    }

    /// <summary>
    /// Takes a definition in JSON and keeps it in the store. The first of a name and version stays. It may call HTTP participants on this machine, and those
    /// that <see cref="HttpOptions.RestHosts"/> names.
    /// </summary>
    /// <exception cref="StoreUnavailableException">Whether it is kept is unknown: repeat.</exception>
    /// <exception cref="DefinitionJsonException">It has steps that this node does not reach.</exception>
    public async ValueTask<DefinitionResult> PutDefinitionAsync(SagaDefinition definition, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(definition);
        RequireReached(definition);
        if (definition.Json is not { } json) throw new ArgumentException($"'{definition}' is written in C#. Add it with AddSaga.", nameof(definition));
        if (!_open) throw new StoreUnavailableException("The engine is not running. Repeat later.");
        definition.Source = DefinitionSource.Rest;
        var outcome = DefinitionOutcome.Exists;
        if (FindDefinition(definition.Name, definition.Version) is null)
        {
            outcome = await _parts.Store.SaveDefinitionAsync(
                new StoredDefinition(definition.Name, definition.Version, definition.Fingerprint, json, DefinitionSource.Rest), cancel).ConfigureAwait(false);
            // Another node was first: what it put counts here too.
            if (outcome != DefinitionOutcome.Saved) _parts.Definitions.Load(await _parts.Store.DefinitionsAsync(cancel).ConfigureAwait(false), Unread);
        }
        // One that this program cannot read has the version all the same.
        var other = outcome == DefinitionOutcome.Conflict ? FindDefinition(definition.Name, definition.Version) ?? definition : _parts.Definitions.TryAdd(definition);
        if (other is null)
            return new DefinitionResult(outcome, FindDefinition(definition.Name, definition.Version)!);
        return new DefinitionResult(DefinitionOutcome.Conflict, other,
            $"Version {other.Version} of '{other.Name}' is there with another graph ({other.Source switch { DefinitionSource.Code => "written in C#", DefinitionSource.File => "from a file", _ => "put over REST" }}), "
            + $"and sagas may have begun under it. Nothing was changed. Put this one as version {(FindDefinition(other.Name) ?? other).Version + 1L}.");
    }

    private void RequireReached(SagaDefinition definition)
    {
        if (_parts.Definitions.Unreachable(definition).ToArray() is { Length: > 0 } unreachable)
            throw new DefinitionJsonException([.. unreachable.Select(fault => new DefinitionFault($"$.steps['{fault.Step.Name}']", fault.Message))]);
    }

    /// <summary>Starts a saga. When it returns Started or Exists, the saga is durable.</summary>
    /// <exception cref="StoreUnavailableException">Whether it was started is unknown: repeat with the same id.</exception>
    /// <exception cref="DefinitionJsonException">It brings a definition with steps that this node does not reach.</exception>
    public async ValueTask<StartResult> StartAsync(StartRequest request, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        var inline = request.Inline is { } own ? new InlineDefinition(own) : null;
        if (inline?.Definition is { } brought) RequireReached(brought);
        if ((inline is null ? await FindDefinitionAsync(request.Definition, request.Version, cancel).ConfigureAwait(false) : inline.Definition) is not { } definition)
            return new StartResult(StartOutcome.UnknownDefinition, Problem: request.Version is { } version
                ? $"There is no version {version} of definition '{request.Definition}'. GET /definitions lists what there is."
                : $"There is no definition '{request.Definition}'. GET /definitions lists what there is.");
        if (Misfit(definition, request) is { } misfit) return misfit;
        if (!request.Id.HasValue && _parts.Store.Health.Level != StoreLevel.Good)
            return new StartResult(StartOutcome.Busy, Problem: $"The store takes no new sagas: {_parts.Store.Health.Detail}");
        var id = request.Id ?? new SagaId(Guid.CreateVersion7(_parts.Now).ToString("N"));
        using var span = StartSpan(definition, request, id);
        if ((span ?? Activity.Current) is { IdFormat: ActivityIdFormat.W3C } activity && (span is not null || request.TraceParent is null))
            request = request with { TraceParent = activity.Id };
        var mail = new StartMail(definition, request, id, _parts.Time) { Inline = inline };
        if (!_open || !WorkerOf(id).TryStart(mail))
            return new StartResult(StartOutcome.Busy, Problem: _open ? "The engine has as much work as it can hold. Repeat later." : "The engine is not running. Repeat later.");
        return await mail.Answer.WaitAsync(cancel).ConfigureAwait(false);
    }

    /// <summary>Starts a saga with an input of the definition's type.</summary>
    /// <exception cref="StoreUnavailableException">Whether it was started is unknown: repeat with the same id.</exception>
    public ValueTask<StartResult> StartAsync<TInput>(string definition, TInput input, SagaId? id = null, CancellationToken cancel = default) =>
        StartAsync(new StartRequest(definition, Payload.From(input)) { Id = id }, cancel);

    /// <summary>The saga as it is durable, or null.</summary>
    public ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel = default) => _parts.Store.FindAsync(id, cancel);

    /// <summary>The saga as soon as it has ended, or as it stands when <paramref name="patience"/> is over; null: no such saga.</summary>
    public async ValueTask<SagaState?> WaitAsync(SagaId id, TimeSpan patience, CancellationToken cancel = default)
    {
        using var wait = _waiters.For(id);
        var saga = _nodes is null || patience <= TimeSpan.Zero ? await FindAsync(id, cancel).ConfigureAwait(false) : await _nodes.FindWatchedAsync(id, cancel).ConfigureAwait(false);
        if (saga is null or { Ended: true } || patience <= TimeSpan.Zero) return saga;
        try
        {
            return await wait.End.WaitAsync(patience, _parts.Time, cancel).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            return await FindAsync(id, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>An operator's request: one of <see cref="SagaEvent"/>'s <c>…Requested</c> or <c>StepResolved</c>.</summary>
    /// <exception cref="StoreUnavailableException">Whether it was done is unknown: look, and repeat.</exception>
    public async ValueTask<RequestResult> RequestAsync(SagaId id, SagaEvent request, CancellationToken cancel = default)
    {
        var mail = new RequestMail(id, request, _parts.Time);
        if (!_open || !WorkerOf(id).TryPost(mail)) return new RequestResult(RequestOutcome.Busy, Problem: "The engine has as much work as it can hold. Repeat later.");
        return await mail.Answer.WaitAsync(cancel).ConfigureAwait(false);
    }

    /// <summary>Asks the same of all sagas that match and have started by now, in the background; a restart does not end it. Null: too many run already.</summary>
    /// <exception cref="StoreUnavailableException">Whether it began is unknown: look.</exception>
    public async ValueTask<Operation?> OperateAsync(OperationAction action, SagaFilter filter, string reason, string by, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return _open ? await _operations.StartAsync(action, filter, reason, by, cancel).ConfigureAwait(false) : null;
    }

    /// <summary>The operation as it stands, its progress up to now; null: none.</summary>
    public ValueTask<Operation?> FindOperationAsync(string id, CancellationToken cancel = default) => _operations.FindAsync(id, cancel);

    /// <summary>All operations that are kept, newest first.</summary>
    public ValueTask<IReadOnlyList<Operation>> ListOperationsAsync(CancellationToken cancel = default) => _operations.ListAsync(cancel);

    /// <summary>Stops an operation; sagas that were asked stay as they are. Gives it as it stands, and whether this has stopped it; null: none.</summary>
    public ValueTask<(Operation? Operation, bool Stopped)> CancelOperationAsync(string id, string reason, string by, CancellationToken cancel = default) =>
        _operations.CancelAsync(id, reason, by, cancel);

    /// <summary>
    /// Keeps what an operator did, so that it is found beside what was done to others. It was done whether or not this succeeds: false says that the
    /// store could not keep the line.
    /// </summary>
    /// <param name="action">What was done, as <see cref="AuditEntry.Action"/> has it.</param>
    /// <param name="kind">To what, as <see cref="AuditEntry.Kind"/> has it.</param>
    /// <param name="target">Its id or name.</param>
    /// <param name="detail">More about it; null: nothing.</param>
    /// <param name="reason">Why.</param>
    /// <param name="by">Who.</param>
    public async ValueTask<bool> AuditAsync(string action, string kind, string target, string? detail, string reason, string by)
    {
        var now = _parts.Now;
        try
        {
            // Whoever hangs up has done it all the same.
            await _parts.Store.SaveAuditAsync(new AuditEntry
            {
                Id = Guid.CreateVersion7(now).ToString("N"), At = now, By = by, Action = action, Kind = kind, Target = target, Detail = detail, Reason = reason,
            }, CancellationToken.None).ConfigureAwait(false);
            return true;
        }
        catch (StoreUnavailableException)
        {
            return false;
        }
    }

    /// <summary>What operators did, newest first, at most so many; before the entry of that id, or up to now.</summary>
    public ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel = default) => _parts.Store.AuditAsync(limit, before, cancel);

    /// <summary>A page of history: entries after number <paramref name="after"/>; null: no such saga.</summary>
    public ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel = default) =>
        _parts.Store.HistoryAsync(id, after, limit, cancel);

    /// <summary>A page of sagas, newest first.</summary>
    /// <exception cref="FormatException">The cursor is none.</exception>
    public ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel = default) =>
        _parts.Store.ListAsync(_parts.Definitions.Placed(filter), limit, cursor, cancel);

    /// <summary>How many sagas match, by status.</summary>
    public ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel = default) =>
        _parts.Store.CountAsync(_parts.Definitions.Placed(filter), cancel);

    /// <summary>
    /// Explores a definition within bounds, time and memory (<see cref="SagasOptions.Verify"/>), beside the engine's own work. Null: this node is at another one.
    /// </summary>
    /// <param name="saga">The definition.</param>
    /// <param name="bounds">What may happen; their <see cref="ExplorerBounds.MaxStates"/> count only below the option's.</param>
    /// <param name="cancel">Ends it without a verdict.</param>
    public async Task<Verification?> VerifyAsync(SagaDefinition saga, ExplorerBounds bounds, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(bounds);
        if (Interlocked.Exchange(ref _verifying, 1) != 0) return null;
        try
        {
            var (begun, limit) = (_parts.Time.GetTimestamp(), _parts.Options.Verify);
            Volatile.Write(ref _verifyingSince, begun);
            return await Task.Run(() => Explorer.Verify(saga, bounds with { MaxStates = Math.Min(bounds.MaxStates, limit.MaxStates) },
                stop: () => cancel.IsCancellationRequested || _parts.Time.GetElapsedTime(begun) > limit.TimeLimit), CancellationToken.None).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref _verifying, 0);
        }
    }

    /// <summary>How long the verification under way here may take yet. Zero: none is, or its time is over.</summary>
    public TimeSpan VerificationLeft => Volatile.Read(ref _verifying) != 0 && _parts.Options.Verify.TimeLimit - _parts.Time.GetElapsedTime(Volatile.Read(ref _verifyingSince)) is { Ticks: > 0 } left ? left : TimeSpan.Zero;

    /// <summary>How many committed commands wait on this node to be sent, by destination: a participant or a host.</summary>
    public IEnumerable<(string Destination, int Waiting)> Outgoing => _parts.Outbox.Depths;

    /// <summary>The nodes that share the store; this one alone when nobody shares it.</summary>
    public async ValueTask<IReadOnlyList<EngineNode>> NodesAsync(CancellationToken cancel = default) => _nodes is null
        ? [new EngineNode(_parts.Options.Node, _startedAt, _parts.Now, _workers.Sum(static worker => (long)worker.OpenSagas), IsReady)]
        : await _nodes.ListAsync(cancel).ConfigureAwait(false);

    /// <summary>Numbers for the dashboard: counts of all that the store has, rates of what all nodes did in the last minute.</summary>
    public async ValueTask<EngineStats> StatsAsync(CancellationToken cancel = default) => (await StatsAsync([null], cancel).ConfigureAwait(false))[0];

    /// <summary>Numbers of each of these definitions; null stands for all sagas.</summary>
    public ValueTask<ImmutableArray<EngineStats>> StatsAsync(ImmutableArray<string?> definitions, CancellationToken cancel = default) => _survey.StatsAsync(definitions, cancel);

    /// <summary>Numbers of all sagas, counted at most <paramref name="maxAge"/> ago: those who watch share them.</summary>
    public async ValueTask<EngineStats> StatsAsync(TimeSpan maxAge, CancellationToken cancel = default)
    {
        var now = _parts.Now;
        if (_stats is { } recent && now - recent.At <= maxAge) return recent.Stats;
        var stats = await StatsAsync(cancel).ConfigureAwait(false);
        _stats = new RecentStats(stats, now);
        return stats;
    }

    /// <summary>What the nodes did in the last so many minutes (1 to 1440), each since it started, the oldest span first; of one definition, or of all.</summary>
    public ValueTask<(TimeSpan Span, ImmutableArray<StatsPoint> Points)> StatsSeriesAsync(int minutes, string? definition = null, CancellationToken cancel = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(minutes, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minutes, 1440);
        return _survey.SeriesAsync(minutes, definition, cancel);
    }

    /// <summary>The unfinished sagas of all nodes by definition, version, status and step, counted at most a second ago.</summary>
    public ValueTask<InFlight> CountInFlightAsync(CancellationToken cancel = default) => _survey.InFlightAsync(cancel);

    /// <summary>The steps of unfinished sagas that wait, the longest first; those that wait for a reply only after <paramref name="patience"/>.</summary>
    /// <param name="filter">Which sagas; with a step, that step.</param>
    /// <param name="kind">For what they wait; null: anything.</param>
    /// <param name="limit">The most.</param>
    /// <param name="patience">How long a reply may take before its step counts as waiting.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The steps, and how many there are of each kind.</returns>
    public ValueTask<(IReadOnlyList<WaitingStep> Longest, ImmutableDictionary<WaitKind, long> Counts)> WaitingAsync(SagaFilter filter, WaitKind? kind, int limit, TimeSpan patience,
        CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        return _survey.WaitingAsync(new WaitingQuestion(filter, kind, limit, patience), cancel);
    }

    /// <summary>What fails, grouped, and how many failures belong to no group that is kept.</summary>
    public ValueTask<(ImmutableArray<FailureGroup> Groups, long Omitted)> FailuresAsync(CancellationToken cancel = default) => _survey.FailuresAsync(cancel);

    /// <summary>Listens to the sagas that match, and to those that no longer do with the change that made them leave. Dispose it. Null: too many listen already.</summary>
    public FeedListener? Listen(SagaFilter filter)
    {
        ArgumentNullException.ThrowIfNull(filter);
        filter = _parts.Definitions.Placed(filter);
        // Of another node's change the version before is not known: it may have matched.
        var lasting = filter with { Statuses = null, Step = null, Error = null };
        return Feed.Listen((before, saga) => filter.Matches(saga) || (before is null ? saga.Version > 1 && lasting.Matches(saga) : filter.Matches(before)));
    }

    /// <summary>Takes replies from the bus. Returns once they wait in a worker's mailbox; waits while that is full.</summary>
    public async ValueTask ReceiveAsync(ReplyBatch batch, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        Telemetry.ReplyEnvelopes.Add(1);
        foreach (var item in batch.Items)
        {
            var id = new SagaId(item.Saga);
            var mail = new EventMail(id, new SagaEvent.Replied(item.Step, item.Phase, item.Attempt, item.Outcome, item.Payload, item.Code, item.Message, item.RetryAfter) { InDoubt = item.InDoubt });
            if (!WorkerOf(id).TryPost(mail)) await WorkerOf(id).PostAsync(mail, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>The outcome that a participant posts after a 202. Accepted: it is durable, or was too late to matter.</summary>
    /// <exception cref="StoreUnavailableException">Whether it was heard is unknown: repeat.</exception>
    public ValueTask<RequestResult> CallbackAsync(SagaId id, SagaEvent.Replied outcome, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(outcome);
        return RequestAsync(id, outcome, cancel);
    }

    /// <summary>The door for what the engine's own transport hears. After the engine has stopped nobody listens: the saga is asked again when it is opened.</summary>
    internal async ValueTask PostAsync(SagaId id, SagaEvent happened, CancellationToken cancel)
    {
        try
        {
            await WorkerOf(id).PostAsync(new EventMail(id, happened), cancel).ConfigureAwait(false);
        }
        catch (System.Threading.Channels.ChannelClosedException)
        {
            Telemetry.RepliesIgnored.Add(1);
        }
    }

    /// <summary>Opens the store, takes up its unfinished sagas and lets the workers run.</summary>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var unfinished = await _parts.Store.OpenAsync(cancellationToken).ConfigureAwait(false);
        await LoadDefinitionsAsync(cancellationToken).ConfigureAwait(false);
        _running = [.. _workers.Select(worker => _parts.Time.Run(() => RunAsync(worker)))];
        foreach (var saga in unfinished) await AdoptAsync(saga, cancellationToken).ConfigureAwait(false);
        _startedAt = _parts.Now;
        _nodes?.Start();
        _sampling = _parts.Time.CreateTimer(_ => _pulse.Sample(_survey.CountHere()), null, SampleEvery, SampleEvery);
        _gauges = Gauges();
        _open = true;
        await _operations.OpenAsync().ConfigureAwait(false);
        _parts.Log.Opened(_parts.Options.Node, unfinished.Count);
    }

    /// <summary>Goes on with a saga from the store; false: this node does not have its definition.</summary>
    private async ValueTask<bool> AdoptAsync(SagaState saga, CancellationToken cancel)
    {
        if (DefinitionOf(saga) is not { } definition)
        {
            _parts.Log.DefinitionMissing(saga.Id, saga.Definition, saga.DefinitionVersion);
            return false;
        }
        _failures.Recovered(saga, definition);
        await WorkerOf(saga.Id).PostAsync(new RecoveredMail(saga, definition), cancel).ConfigureAwait(false);
        return true;
    }

    /// <summary>Takes in the definitions that the store keeps, and has it keep those from files. Throws <see cref="DefinitionException"/> with every clash of the two.</summary>
    private async Task LoadDefinitionsAsync(CancellationToken cancel)
    {
        var faults = new List<string>(_parts.Definitions.Load(await _parts.Store.DefinitionsAsync(cancel).ConfigureAwait(false), Unread));
        if (faults.Count == 0)
            foreach (var file in _parts.Definitions.FromFiles.ToArray())
            {
                var kept = new StoredDefinition(file.Name, file.Version, file.Fingerprint, file.Json!, DefinitionSource.File);
                if (await _parts.Store.SaveDefinitionAsync(kept, cancel).ConfigureAwait(false) == DefinitionOutcome.Conflict) faults.Add(_parts.Definitions.Clash(file, DefinitionSource.File));
            }
        if (faults.Count > 0) throw new DefinitionException(faults);
    }

    private void Unread(StoredDefinition definition, Exception why) => _parts.Log.DefinitionUnread(why, definition.Name, definition.Version);

    /// <summary>Meters are the program's: one of an engine that is dropped without being stopped would hold all of it for ever.</summary>
    internal void CloseGauges() => _gauges?.Dispose();

    /// <summary>The end of a host that was not stopped before, or was: nothing goes on behind its back. What is unfinished goes on when a node opens the store again, as after a crash.</summary>
    public void Dispose()
    {
        Close();
        _nodes?.Stop();
        _operations.Stop();
        Feed.Stop();
    }

    /// <summary>Takes nothing new, finishes what waits, and stops. What is unfinished goes on when a node opens the store again.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        // What an operation has asked is answered while the workers still run.
        await Task.WhenAny(_operations.DisposeAsync().AsTask(), Task.Delay(_parts.Options.DrainTimeout, _parts.Time, cancellationToken)).ConfigureAwait(false);
        Close();
        await Task.WhenAny(Task.WhenAll(_running), Task.Delay(_parts.Options.DrainTimeout, _parts.Time, cancellationToken)).ConfigureAwait(false);
        await _parts.Outbox.DrainAsync(_parts.Options.DrainTimeout).ConfigureAwait(false);
        // After the last commit: now others may go on.
        if (_nodes is not null) await _nodes.LeaveAsync().ConfigureAwait(false);
        Feed.Stop();
        _parts.Log.Stopped(_parts.Options.Node);
    }

    /// <summary>Takes nothing new; the workers end with what waits.</summary>
    private void Close()
    {
        _open = false;
        _sampling?.Dispose();
        CloseGauges();
        _parts.Pump.Dispose();
        foreach (var worker in _workers) worker.Complete();
    }

    private static readonly TimeSpan SampleEvery = TimeSpan.FromSeconds(5);

    private sealed record RecentStats(EngineStats Stats, DateTimeOffset At);

    Task IHostedLifecycleService.StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    Task IHostedLifecycleService.StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    Task IHostedService.StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    Task IHostedLifecycleService.StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>The saga's first span; its commands and their handlers go on from it. Null when nobody listens.</summary>
    private static Activity? StartSpan(SagaDefinition definition, StartRequest request, SagaId id)
    {
        if (!Telemetry.Source.HasListeners()) return null;
        var parent = ActivityContext.TryParse(request.TraceParent, null, isRemote: true, out var context) ? context : Activity.Current?.Context ?? default;
        return Telemetry.Source.StartActivity($"saga {definition.Name}", ActivityKind.Producer, parent)?.SetTag("sagas.saga", id.Value).SetTag("sagas.definition", definition.Name);
    }

    private static StartResult? Misfit(SagaDefinition definition, StartRequest request)
    {
        if (request.Input.Utf8.Length > Decider.MaxPayload)
            return new StartResult(StartOutcome.BadInput, Problem: $"The input has {request.Input.Utf8.Length} bytes; at most {Decider.MaxPayload} are taken.", Path: "$");
        if (definition.InputType is null) return null;
        try
        {
            request.Input.Require(definition.InputType);
            return null;
        }
        catch (JsonException e)
        {
            return new StartResult(StartOutcome.BadInput, Problem: $"The input does not fit '{definition.Name}': {e.Message}", Path: e.Path ?? "$");
        }
        // An input type's own constructor or setters may throw anything: they say no to the input.
        catch (Exception e)
        {
            return new StartResult(StartOutcome.BadInput, Problem: $"The input does not fit '{definition.Name}': {e.GetType().Name}: {e.Message}", Path: "$");
        }
    }

    private async Task RunAsync(Processor worker)
    {
        try
        {
            await worker.RunAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _parts.Log.WorkerStopped(e);
            // Half a node is worse than none: as long as it renews its lease nobody takes over what lies with that worker.
            if (_nodes is not null) await _nodes.LeaveAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Called by the workers once a saga's next version is durable.</summary>
    private void Committed(SagaState? before, SagaCommit commit)
    {
        var saga = commit.State;
        if (saga.Version == 1)
        {
            _pulse.Started(Census.NameOf(saga));
            Telemetry.Started.Add(1, new KeyValuePair<string, object?>("definition", Census.NameOf(saga)));
        }
        CountFailed(commit);
        if (Feed.IsHeard) Feed.Committed(before, saga);
        if (saga.Ended) Ended(saga);
    }

    private void CountFailed(SagaCommit commit)
    {
        var failed = 0;
        foreach (var entry in commit.History)
        {
            if (entry.Outcome is not (Outcome.Refused or Outcome.Error) && entry.Event is not ("timed-out" or "mapping-failed")) continue;
            failed++;
            Telemetry.Failed.Add(1, new("definition", Census.NameOf(commit.State)), new("step", entry.Step), new("phase", entry.Phase?.Word()), new("outcome", entry.Outcome?.Word() ?? entry.Event));
        }
        if (failed > 0) _pulse.Failed(Census.NameOf(commit.State), failed);
        _failures.Committed(commit, () => DefinitionOf(commit.State));
    }

    private void Ended(SagaState saga)
    {
        var duration = saga.FinishedAt!.Value - saga.StartedAt;
        _pulse.Ended(Census.NameOf(saga), saga.Course, duration);
        Telemetry.Ended.Add(1, new("definition", Census.NameOf(saga)), new("status", saga.Course.ToString()));
        Telemetry.Duration.Record(duration.TotalSeconds, new("definition", Census.NameOf(saga)), new("status", saga.Course.ToString()));
        _parts.Log.SagaEnded(saga.Id, saga.Definition, saga.Course);
        _waiters.Ended(saga);
    }

    /// <summary>What is to be looked up when somebody asks. This engine is their scope: a process may have several.</summary>
    private Meter Gauges()
    {
        var meter = new Meter(new MeterOptions(Telemetry.Meter.Name) { Scope = this });
        meter.CreateObservableGauge("sagas.in_flight", () => Enum.GetValues<SagaStatus>().Where(status => status < SagaStatus.Completed)
            .Select(status => new Measurement<long>(_survey.CountHere().ByStatus.GetValueOrDefault(status), new KeyValuePair<string, object?>("status", status.ToString()))),
            "{saga}", "Unfinished sagas that this node holds, by status.");
        meter.CreateObservableGauge("sagas.oldest_unfinished.age", () => _survey.CountHere().OldestAt is { } oldest ? Math.Max(0, (_parts.Now - oldest).TotalSeconds) : 0,
            "s", "How long ago the oldest unfinished saga of this node was started; 0: there is none.");
        meter.CreateObservableGauge("sagas.mailbox.depth", () => _workers.Select((worker, i) => new Measurement<long>(worker.MailboxDepth, new KeyValuePair<string, object?>("worker", i))),
            "{event}", "Events that wait for a worker.");
        meter.CreateObservableGauge("sagas.outbox.depth", () => _parts.Outbox.Depths.Select(lane => new Measurement<long>(lane.Depth, new KeyValuePair<string, object?>("destination", lane.Destination))),
            "{command}", "Committed commands that wait to be sent, by destination.");
        meter.CreateObservableGauge("sagas.store.level", () => Enum.GetValues<StoreLevel>().Select(level =>
            new Measurement<long>(StoreHealth.Level == level ? 1 : 0, new KeyValuePair<string, object?>("level", level.ToString().ToLowerInvariant()))),
            null, "1 for the level at which the store is: good, low (no new sagas), down.");
        meter.CreateObservableGauge("sagas.feed.listeners", () => (long)Feed.Listeners, "{listener}", "Streams of live changes that are open.");
        if (_parts.Store is JournalStore journal) meter.CreateObservableGauge("sagas.journal.size", () => journal.BytesOnDisk, "By", "The journal's files on disk.");
        return meter;
    }

    /// <summary>Always the same worker for the same saga (FNV-1a, so that it is the same in every process too).</summary>
    private Processor WorkerOf(SagaId id)
    {
        var hash = 2166136261u;
        foreach (var c in id.Value) hash = (hash ^ c) * 16777619u;
        return _workers[hash % (uint)_workers.Length];
    }
}

/// <summary>What a worker needs of its engine.</summary>
internal sealed record EngineParts(DefinitionCatalog Definitions, ISagaStore Store, Outbox Outbox, TimerPump Pump, SagasOptions Options, TimeProvider Time,
    ILogger Log, Action<SagaState?, SagaCommit> Committed)
{
    public static readonly TimeSpan StoreRetryDelay = TimeSpan.FromSeconds(1);

    /// <summary>Now, in whole milliseconds as stores keep it, so that a saga read back is the saga that was written.</summary>
    public DateTimeOffset Now => DateTimeOffset.FromUnixTimeMilliseconds(Time.GetUtcNow().ToUnixTimeMilliseconds());

    public SagaDefinition? DefinitionOf(SagaState saga) => Definitions.Of(saga);

    /// <summary>The store, if other nodes use it too.</summary>
    public ISharedSagaStore? Shared { get; } = Store as ISharedSagaStore;

    /// <summary>The saga as last committed, and the node that owns it if that is another one.</summary>
    public async ValueTask<(SagaState? Saga, string? Owner)> LoadAsync(SagaId id)
    {
        if (Shared is null) return (await Store.FindAsync(id, CancellationToken.None).ConfigureAwait(false), null);
        var found = await Shared.FindOwnedAsync(id, CancellationToken.None).ConfigureAwait(false);
        return (found?.Saga, found?.Owner == Shared.Node ? null : found?.Owner);
    }
}

using System.Collections.Immutable;
using System.Globalization;
using Sagas.Runtime;

namespace Sagas.Testing.Simulator;

// A store that nodes share, as it is with Redis: a server that nobody's crash touches and whose every script is one moment, and in each process a client that
// reaches it over a network. What the server does with a commit, a lease or a claim is what the Lua scripts do; what is lost, late or cut is the network's.

/// <summary>The server: sagas and their owners, leases by its own clock, and who is told what.</summary>
internal sealed class StoreServer(World world)
{
    public const string Name = "store";
    public const int Partitions = 4;
    private readonly Dictionary<string, Kept> _kept = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SortedSet<string>> _owned = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, Held> _leases = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SharedStore> _clients = new(StringComparer.Ordinal);
    private readonly Dictionary<string, DateTimeOffset> _watched = new(StringComparer.Ordinal);

    // What the replica may lack yet, from the oldest on: a commit, or an owner without one.
    private readonly List<(DateTimeOffset At, string Saga, SagaCommit? Commit, string CommitId, string? Owner)> _written = [];
    private readonly List<Operation> _operations = [];

    /// <summary>What is stored, for reading.</summary>
    public MemoryStore Sagas { get; private set; } = new();

    private DateTimeOffset Now => world.Scheduler.Now;

    /// <summary>From now on this client hears what is told to its node.</summary>
    public void Subscribe(SharedStore client) => _clients[client.Node] = client;

    /// <summary>One version of one saga: compared with the stored version and owner, and written with its history, or not at all.</summary>
    public CommitOutcome Commit(SharedStore by, string commitId, SagaCommit commit)
    {
        var saga = commit.State;
        var id = saga.Id.Value;
        var from = commit.TakenFrom ?? by.Node;
        var kept = _kept.GetValueOrDefault(id);
        // The same commit again, because its answer was lost.
        if (kept is not null && kept.Version == saga.Version && kept.CommitId == commitId) return CommitOutcome.Committed;
        if (world.Mutant == Mutant.RaceOverwrites && kept is { Ended: false } && saga.Version <= kept.Version && saga.Version > 1)
        {
            world.Audit.Committed(saga, by.Node, from);
            return CommitOutcome.Committed;
        }
        if ((kept?.Version ?? 0) != saga.Version - 1 || kept?.Ended == true) return CommitOutcome.Conflict;
        // The fence: whoever lost the saga to another node since it last looked must look again.
        if (kept?.Owner is { } owner && owner != from && world.Mutant is not (Mutant.NoOwnerCheck or Mutant.OthersTimers)) return CommitOutcome.Conflict;
        if (Read(Sagas.CommitAsync([commit], CancellationToken.None))[0] != CommitOutcome.Committed) throw new InvalidOperationException("The simulated store is at odds with itself.");
        world.Audit.Committed(saga, by.Node, from);
        var before = kept?.Owner;
        kept ??= _kept[id] = new Kept();
        (kept.Version, kept.CommitId, kept.Ended) = (saga.Version, commitId, saga.Ended);
        Own(id, kept, saga.Ended ? null : by.Node);
        _written.Add((Now, id, commit, commitId, kept.Owner));
        if (before is not null && before != by.Node) Tell(before, listener => listener.Taken(saga.Id));
        if (IsWatched("") || IsWatched(id))
            foreach (var node in _clients.Keys)
                if (node != by.Node) Tell(node, listener => listener.Heard(saga));
        return CommitOutcome.Committed;
    }

    public bool SaveOperation(Operation operation)
    {
        var saved = Read(Sagas.SaveOperationAsync(operation, CancellationToken.None));
        if (saved) _operations.Add(operation);
        return saved;
    }

    /// <summary>
    /// A replica takes over that lacks the last writes of some sagas. Every node finds that out when it next looks at the store. What customers and operators ask for once only
    /// is not lost in here: a saga that would be paused again would wait for ever.
    /// </summary>
    public void FailOver()
    {
        var since = Now - world.Faults.Time(Fault.WritesLost, 5.Seconds());
        // One server may have all partitions, or one of them.
        var part = world.Faults.Roll(Fault.WritesLost, 2 * Partitions);
        var lost = _written.Where(write => write.At > since && (part >= Partitions || write.Saga[^1] % Partitions == part)).Select(write => write.Saga).ToHashSet(StringComparer.Ordinal);
        foreach (var id in lost.ToArray())
            if (_written.FindLast(write => write.Saga == id && write.Commit is not null && write.At <= since).Commit?.State.Paused == true) lost.Remove(id);
        if (lost.Count == 0)
        {
            // No fault at all.
            world.Faults.Hits[(int)Fault.WritesLost]--;
            return;
        }
        _written.RemoveAll(write => write.At > since && lost.Contains(write.Saga));
        Sagas = new MemoryStore();
        foreach (var write in _written.Where(write => write.Commit is not null)) Read(Sagas.CommitAsync([write.Commit!], CancellationToken.None));
        foreach (var operation in _operations) Read(Sagas.SaveOperationAsync(operation, CancellationToken.None));
        foreach (var id in lost.Order(StringComparer.Ordinal))
        {
            Own(id, _kept[id], null);
            _kept.Remove(id);
            world.Audit.WentBack(id);
            if (_written.FindLast(write => write.Saga == id && write.Commit is not null) is not { Commit: { } last } write) continue;
            var kept = _kept[id] = new Kept { Version = last.State.Version, CommitId = write.CommitId, Ended = last.State.Ended };
            Own(id, kept, last.State.Ended ? null : _written.FindLast(owned => owned.Saga == id).Owner);
        }
        world.Trace("failover", Name, lost.Count);
        foreach (var client in _clients.Values) client.FindLoss();
    }

    public OwnedSaga? Find(SagaId id, SharedStore by)
    {
        if (Read(Sagas.FindAsync(id, CancellationToken.None)) is not { } saga) return null;
        return new OwnedSaga(saga, world.Mutant == Mutant.OthersTimers && !saga.Ended ? by.Node : _kept[id.Value].Owner);
    }

    /// <summary>Renews a lease, unless another process is alive under the node's name; says which nodes there are.</summary>
    public IReadOnlyList<NodeLease>? Renew(SharedStore by)
    {
        if (_leases.TryGetValue(by.Node, out var held) && held.Life != by.Life && held.Ends > Now) return null;
        _leases[by.Node] = new Held(by.Life, by.StartedAt, Now, Now + by.Lease);
        return [.. _leases.Select(lease => new NodeLease(lease.Key, lease.Value.StartedAt, lease.Value.HeartbeatAt, lease.Value.Ends > Now))];
    }

    /// <summary>Gives some of a node's sagas to another.</summary>
    public IReadOnlyList<SagaState> Claim(SharedStore by, string node, int most)
    {
        if (world.Mutant == Mutant.NobodyTakesOver || !_owned.TryGetValue(node, out var theirs)) return [];
        var claimed = new List<SagaState>();
        foreach (var id in theirs.Take(most).ToArray())
        {
            var saga = Read(Sagas.FindAsync(new SagaId(id), CancellationToken.None))!;
            Own(id, _kept[id], by.Node);
            _written.Add((Now, id, null, "", by.Node));
            world.Audit.Claimed(saga, by.Node);
            // Should it be alive after all.
            if (node != by.Node) Tell(node, listener => listener.Taken(saga.Id));
            claimed.Add(saga);
        }
        return claimed;
    }

    public IReadOnlyList<SagaState> Owned(string node, Predicate<SagaId> which) =>
        _owned.TryGetValue(node, out var ids) ? [.. ids.Select(static id => new SagaId(id)).Where(id => which(id)).Select(id => Read(Sagas.FindAsync(id, CancellationToken.None))!)] : [];

    public long Count(string node) => _owned.TryGetValue(node, out var ids) ? ids.Count : 0;

    /// <summary>Ends a node's lease at once.</summary>
    public void Release(SharedStore by)
    {
        if (!_leases.TryGetValue(by.Node, out var held) || held.Life != by.Life) return;
        _leases[by.Node] = held with { Ends = default };
    }

    public void Forget(NodeLease node)
    {
        if (_leases.TryGetValue(node.Id, out var held) && held.Ends < Now - TimeSpan.FromDays(1)) _leases.Remove(node.Id);
    }

    public void Watch(SagaId? saga, TimeSpan time) => _watched[saga?.Value ?? ""] = Now + time;

    public void TellAll(Action<INodeListener> what)
    {
        foreach (var node in _clients.Keys) Tell(node, what);
    }

    private bool IsWatched(string what) => _watched.TryGetValue(what, out var until) && until > Now;

    /// <summary>What the server says by itself is said once: a node that does not hear it finds out by looking.</summary>
    private void Tell(string node, Action<INodeListener> what)
    {
        if (!_clients.TryGetValue(node, out var client) || world.Faults.Strikes(Fault.NewsLost) || world.Bus.IsCut(Name, node)) return;
        client.Hear(what);
    }

    private void Own(string id, Kept kept, string? owner)
    {
        if (kept.Owner == owner) return;
        if (kept.Owner is { } before) _owned[before].Remove(id);
        kept.Owner = owner;
        if (owner is null) return;
        if (!_owned.TryGetValue(owner, out var mine)) _owned[owner] = mine = new SortedSet<string>(StringComparer.Ordinal);
        mine.Add(id);
    }

    private static T Read<T>(ValueTask<T> answer) => answer.IsCompleted ? answer.Result : throw new InvalidOperationException("A store in memory answers at once.");

    private sealed record Held(string Life, DateTimeOffset StartedAt, DateTimeOffset HeartbeatAt, DateTimeOffset Ends);

    private sealed class Kept
    {
        public long Version { get; set; }
        public string CommitId { get; set; } = "";
        public bool Ended { get; set; }
        public string? Owner { get; set; }
    }
}

/// <summary>One process's way to the shared store.</summary>
internal sealed class SharedStore : ISharedSagaStore
{
    private static readonly TimeSpan RepeatDelay = TimeSpan.FromMilliseconds(100), Patience = TimeSpan.FromSeconds(3);
    private readonly World _world;
    private readonly StoreServer _server;
    private readonly SharedNode _node;
    private readonly Process _process;
    private INodeListener? _listener;
    private int _commits;
    private bool _isOpen, _isGone;

    public SharedStore(World world, StoreServer server, SharedNode node, Process process)
    {
        (_world, _server, _node, _process) = (world, server, node, process);
        Life = string.Create(CultureInfo.InvariantCulture, $"{node.Name}.{world.Lives++}");
        StartedAt = process.GetUtcNow();
    }

    public string Node => _node.Name;

    /// <summary>Tells this process from those before it under the same name.</summary>
    public string Life { get; }

    public DateTimeOffset StartedAt { get; }

    public TimeSpan Lease => _world.Settings.Lease;

    public StoreHealth Health => StoreHealth.Good;

    public void Listen(INodeListener listener) => _listener = listener;

    public void Hear(Action<INodeListener> what)
    {
        if (_process.Alive && _listener is { } listener) _world.Scheduler.After(_process, TimeSpan.FromMilliseconds(0.1 + _world.Chance.NextDouble()), () => what(listener));
    }

    /// <summary>When it next reaches the store it sees that its last writes are gone.</summary>
    public void FindLoss() => _world.Scheduler.After(_process, 1.Seconds() * _world.Chance.NextDouble(), () =>
    {
        if (_world.Bus.IsCut(Node, StoreServer.Name) || _world.Bus.IsCut(StoreServer.Name, Node)) FindLoss();
        else _listener?.WritesLost();
    });

    public async ValueTask<IReadOnlyList<SagaState>> OpenAsync(CancellationToken cancel)
    {
        _server.Subscribe(this);
        IReadOnlyList<NodeLease> nodes;
        // The process before may have crashed a moment ago: its lease runs out first.
        for (var until = _world.Scheduler.Now + Lease + 1.Seconds(); ;)
        {
            try
            {
                nodes = await RenewAsync(cancel);
                break;
            }
            catch (NodeNameTakenException) when (_world.Scheduler.Now < until)
            {
                await _world.PassAsync(_process, 200.Milliseconds());
            }
        }
        await AskAsync(() => Told(static listener => listener.NodesChanged()));
        foreach (var node in nodes.Where(static node => !node.IsAlive))
            while ((await ClaimAsync(node.Id, int.MaxValue, cancel)).Count > 0)
            {
            }
        var unfinished = await OwnedAsync(static _ => true, cancel);
        _isOpen = true;
        if (_world.Mutant == Mutant.SkipRecovery) return [];
        if (_world.Faults.Strikes(Fault.CrashAfterRecovery))
            _world.Scheduler.After(_process, _world.Faults.Time(Fault.CrashAfterRecovery, 50.Milliseconds()), () => _node.Crash(Fault.CrashAfterRecovery));
        return unfinished;
    }

    public async ValueTask<ImmutableArray<CommitOutcome>> CommitAsync(IReadOnlyList<SagaCommit> commits, CancellationToken cancel)
    {
        if (!_process.Alive) await World.Never;
        if (_world.Faults.Strikes(Fault.CrashBeforeCommit)) await _world.CrashHereAsync(_process, Fault.CrashBeforeCommit);
        if (_isGone) _world.Audit.Fault("P12", commits[0].State.Id.Value, $"version {commits[0].State.Version} is committed by '{Node}', which has said that it is gone");
        var pending = commits.Select(commit => new Pending(commit, string.Create(CultureInfo.InvariantCulture, $"{Life}.{_commits++}"))).ToArray();
        var open = pending;
        for (var until = _world.Scheduler.Now + Patience; ;)
        {
            // Each partition is a message of its own.
            await Task.WhenAll(open.GroupBy(one => one.Commit.State.Id.Value[^1] % StoreServer.Partitions).Select(part => SendAsync([.. part])));
            open = Array.FindAll(open, static one => one.Outcome == CommitOutcome.Unknown);
            if (open.Length == 0 || _world.Scheduler.Now + RepeatDelay >= until) break;
            await _world.PassAsync(_process, RepeatDelay);
        }
        _world.Trace("commit", Node, commits.Count);
        if (_world.Faults.Strikes(Fault.CrashAfterCommit)) await _world.CrashHereAsync(_process, Fault.CrashAfterCommit);
        if (open.Length > 0 && open.Length == pending.Length) throw new StoreUnavailableException("The store does not answer.");
        return [.. pending.Select(static one => one.Outcome)];
    }

    private async Task SendAsync(Pending[] part)
    {
        try
        {
            var outcomes = await AskAsync(() => Array.ConvertAll(part, one => _server.Commit(this, one.Id, one.Commit)));
            for (var i = 0; i < part.Length; i++) part[i].Outcome = outcomes[i];
        }
        catch (StoreUnavailableException)
        {
            // It may have been done: asked again under the same commit id, the server says so.
        }
    }

    public async ValueTask<IReadOnlyList<NodeLease>> RenewAsync(CancellationToken cancel) =>
        await AskAsync(() => _server.Renew(this)) ?? throw new NodeNameTakenException($"Another process is alive under the name of this node, '{Node}'.");

    public async ValueTask<IReadOnlyList<SagaState>> ClaimAsync(string node, int most, CancellationToken cancel)
    {
        var claimed = await AskAsync(() => _server.Claim(this, node, Math.Min(most, 100)));
        if (claimed.Count > 0 && _world.Faults.Strikes(Fault.CrashInTakeover)) await _world.CrashHereAsync(_process, Fault.CrashInTakeover);
        return claimed;
    }

    public async ValueTask<IReadOnlyList<SagaState>> OwnedAsync(Predicate<SagaId> which, CancellationToken cancel) => await AskAsync(() => _server.Owned(Node, which));

    public async ValueTask<IReadOnlyDictionary<string, long>> OwnersAsync(IReadOnlyList<string> nodes, CancellationToken cancel) =>
        await AskAsync(() => nodes.ToDictionary(node => node, _server.Count));

    public async ValueTask ReleaseAsync(CancellationToken cancel)
    {
        // One whose work did not end in time, as when it was paused, goes with commits still on their way: versions and owners see to those.
        _isGone = _world.Scheduler.Now - _node.StoppingSince < _world.Settings.Engine(Node).DrainTimeout;
        await AskAsync(() =>
        {
            _server.Release(this);
            return Told(static listener => listener.NodesChanged());
        });
    }

    public async ValueTask ForgetAsync(NodeLease node, CancellationToken cancel) => await AskAsync(() =>
    {
        _server.Forget(node);
        return true;
    });

    public async ValueTask<OwnedSaga?> FindOwnedAsync(SagaId id, CancellationToken cancel) => await AskAsync(() => _server.Find(id, this));

    public async ValueTask WatchAsync(SagaId? saga, CancellationToken cancel) => await AskAsync(() =>
    {
        _server.Watch(saga, Lease);
        return true;
    });

    /// <summary>Nobody looks at numbers here.</summary>
    public ValueTask<IReadOnlyList<ReadOnlyMemory<byte>>> AskAsync(IReadOnlyCollection<string> nodes, ReadOnlyMemory<byte> question, TimeSpan patience, CancellationToken cancel) => new([]);

    public async ValueTask<SagaState?> FindAsync(SagaId id, CancellationToken cancel) => await AskAsync(() => _server.Sagas.FindAsync(id, cancel).Result);

    public async ValueTask<IReadOnlyList<HistoryEntry>?> HistoryAsync(SagaId id, int after, int limit, CancellationToken cancel) =>
        await AskAsync(() => _server.Sagas.HistoryAsync(id, after, limit, cancel).Result);

    public async ValueTask<SagaPage> ListAsync(SagaFilter filter, int limit, string? cursor, CancellationToken cancel) => await AskAsync(() => _server.Sagas.ListAsync(filter, limit, cursor, cancel).Result);

    public async ValueTask<ImmutableDictionary<SagaStatus, long>> CountAsync(SagaFilter filter, CancellationToken cancel) => await AskAsync(() => _server.Sagas.CountAsync(filter, cancel).Result);

    public async ValueTask<DateTimeOffset?> OldestUnfinishedAsync(CancellationToken cancel) => await AskAsync(() => _server.Sagas.OldestUnfinishedAsync(cancel).Result);

    public async ValueTask<DefinitionOutcome> SaveDefinitionAsync(StoredDefinition definition, CancellationToken cancel) => await AskAsync(() => _server.Sagas.SaveDefinitionAsync(definition, cancel).Result);

    public async ValueTask<IReadOnlyList<StoredDefinition>> DefinitionsAsync(CancellationToken cancel) => await AskAsync(() => _server.Sagas.DefinitionsAsync(cancel).Result);

    public async ValueTask<bool> SaveOperationAsync(Operation operation, CancellationToken cancel) => await AskAsync(() => _server.SaveOperation(operation));

    public async ValueTask<IReadOnlyList<Operation>> OperationsAsync(CancellationToken cancel) => await AskAsync(() => _server.Sagas.OperationsAsync(cancel).Result);

    public async ValueTask SaveAuditAsync(AuditEntry entry, CancellationToken cancel) => await AskAsync(() =>
    {
        _server.Sagas.SaveAuditAsync(entry, cancel).GetAwaiter().GetResult();
        return true;
    });

    public async ValueTask<IReadOnlyList<AuditEntry>> AuditAsync(int limit, string? before, CancellationToken cancel) => await AskAsync(() => _server.Sagas.AuditAsync(limit, before, cancel).Result);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private bool Told(Action<INodeListener> what)
    {
        _server.TellAll(what);
        return true;
    }

    /// <summary>There and back. Whoever hears nothing for too long cannot know whether it was done, or will be yet.</summary>
    private async Task<T> AskAsync<T>(Func<T> ask)
    {
        if (!_process.Alive) await World.Never;
        var faults = _world.Faults;
        if (!_isOpen && faults.Strikes(Fault.CrashInRecovery)) await _world.CrashHereAsync(_process, Fault.CrashInRecovery);
        var answer = new TaskCompletionSource<T>();
        var patience = _world.Scheduler.After(_process, Patience, () => answer.TrySetException(new StoreUnavailableException("The store does not answer.")));
        if (faults.Strikes(Fault.StoreError)) _world.Scheduler.After(_process, Moment(), () => answer.TrySetException(new StoreUnavailableException("The store refuses.")));
        else if (!_world.Bus.IsCut(Node, StoreServer.Name))
            _world.Scheduler.After(null, faults.Strikes(Fault.StoreLate) ? Moment() + faults.Time(Fault.StoreLate, 20.Seconds()) : Moment(), Arrive);
        try
        {
            return await answer.Task;
        }
        finally
        {
            patience.Due = null;
        }

        void Arrive()
        {
            var done = ask();
            if (_world.Bus.IsCut(StoreServer.Name, Node)) return;
            if (faults.Strikes(Fault.CommitAnswerLost)) _world.Scheduler.After(_process, Moment(), () => answer.TrySetException(new StoreUnavailableException("The connection was cut.")));
            else _world.Scheduler.After(_process, Moment(), () => answer.TrySetResult(done));
        }
    }

    private TimeSpan Moment() => TimeSpan.FromMilliseconds(0.05 + _world.Chance.NextDouble());

    private sealed class Pending(SagaCommit commit, string id)
    {
        public SagaCommit Commit { get; } = commit;
        public string Id { get; } = id;
        public CommitOutcome Outcome { get; set; } = CommitOutcome.Unknown;
    }
}
